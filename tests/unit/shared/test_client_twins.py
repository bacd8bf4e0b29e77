"""`Client` and `AsyncClient` are the same client, and base packages are enough for both and for the command."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from shared.client import AsyncClient, Client

ROOT = Path(__file__).parents[3]
VERBS = sorted(name for name in vars(Client) if not name.startswith("_"))

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not installed here")
sys.meta_path.insert(0, Blocker())
"""
SERVICES_OWN = (
    "torch",
    "diffusers",
    "gradio",
    "fastapi",
    "starlette",
    "uvicorn",
    "celery",
    "redis",
    "boto3",
    "tokenizers",
    "PIL",
)


def test_they_have_the_same_verbs() -> None:
    assert sorted(name for name in vars(AsyncClient) if not name.startswith("_")) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_and_gives_the_same_in_both(verb: str) -> None:
    one, other = (inspect.signature(getattr(kind, verb), eval_str=True) for kind in (Client, AsyncClient))
    assert one.parameters == other.parameters
    if verb in {"follow", "batch_results"}:
        ((event,), (same,)) = one.return_annotation.__args__[:1], other.return_annotation.__args__[:1]
        assert (one.return_annotation.__origin__, other.return_annotation.__origin__) == (Generator, AsyncGenerator)
        assert event == same
    else:
        assert one.return_annotation == other.return_annotation
        assert inspect.iscoroutinefunction(getattr(AsyncClient, verb)) == (verb != "acting")


@pytest.mark.parametrize(
    "program",
    [
        "import shared.client; shared.client.Client().close()",
        "from shared.cli.app import main; sys.argv = ['darkroom', '--version']; main()",
        "from shared.cli.app import main; sys.argv = ['darkroom', 'jobs', '--help']; main()",
        "import shared.cli.doctor, shared.cli.batch, shared.cli.preview",
    ],
    ids=["client", "command", "help", "all_of_it"],
)
def test_client_and_command_need_nothing_of_the_services(program: str) -> None:
    code = BLOCKER.format(blocked=SERVICES_OWN) + program

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_needs_neither_queue_nor_store() -> None:
    blocked = ("torch", "celery", "redis", "boto3")
    code = BLOCKER.format(blocked=blocked) + "import ui.app, ui.__main__, deploy.health"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_what_is_installed_without_extras_is_what_they_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.partition("==")[0] for requirement in project["dependencies"]}

    assert names == {"httpx2", "pydantic", "pydantic-settings", "rich", "typer"}
