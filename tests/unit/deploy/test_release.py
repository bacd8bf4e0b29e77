"""A release is made of a clean tree, in a copy of this one with a history of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from deploy.release import TELLS_TAG, NotReady, checked_version, dated, naming_tags, tagged
from shared.version import VERSION
from tests.servers import free_port
from tests.unit.deploy.advisers import Adviser, advising

ROOT = Path(__file__).parents[3]
COMMAND = ["-m", "deploy.release"]
NEXT = "9.9.9"
SOMEBODY = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
}  # fmt: skip


class Copy:
    """The files of this tree that a release looks at, in a repository of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = self._run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout
        for name in listed.rstrip("\0").split("\0"):
            if (ROOT / name).is_file() and not name.startswith(("bench/", "tests/", "worker/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "docker-compose.tags.yml").write_text(
            "services:\n"
            f"  gateway: {{ image: 'darkroom-gateway:${{DARKROOM_VERSION:-{VERSION}}}' }}\n"
            f"  valkey: {{ image: 'docker.io/valkey/valkey:{VERSION}' }}\n"
        )
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All that there is")

    def git(self, *words: str) -> str:
        return self._run("git", *words, cwd=self.folder).stdout

    def release(self, version: str, audit_url: str) -> subprocess.CompletedProcess[str]:
        environment = {"DARKROOM_AUDIT_URL": audit_url, "PYTHONPATH": ""}
        command = [sys.executable, *COMMAND, version]
        return self._run(*command, cwd=self.folder, environment=environment, check=False)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    @staticmethod
    def _run(
        *command: str, cwd: Path, environment: dict[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        said = {**os.environ, **SOMEBODY, **(environment or {})}
        return subprocess.run(command, cwd=cwd, env=said, capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("release"))


def test_a_release_is_a_dated_section_a_version_and_an_annotated_tag(copy: Copy) -> None:
    (copy.folder / "left.txt").write_text("over")
    with advising(Adviser()) as adviser:
        refused = copy.release(NEXT, adviser.url)
        (copy.folder / "left.txt").unlink()
        unscanned = copy.release(NEXT, f"http://127.0.0.1:{free_port()}")
        untouched = copy.git("status", "--porcelain") + copy.git("tag", "--list")
        done = copy.release(NEXT, adviser.url)
        again = copy.release(NEXT, adviser.url)

    assert (refused.returncode, "not committed" in refused.stderr) == (1, True)
    assert (unscanned.returncode, "not scanned: " in unscanned.stdout, untouched) == (1, True, "")
    assert (done.returncode, done.stderr) == (0, "")
    assert (again.returncode, "never changes" in again.stderr) == (1, True)
    assert copy.git("status", "--porcelain") == ""
    assert copy.git("log", "-1", "--format=%s").strip() == f"Release {NEXT}"
    assert copy.git("cat-file", "-t", f"v{NEXT}").strip() == "tag"
    assert copy.git("rev-parse", f"v{NEXT}^{{commit}}") == copy.git("rev-parse", "HEAD")
    assert f"## {NEXT} (" in copy.git("tag", "--list", "--format=%(contents)", f"v{NEXT}")
    assert f"## Unreleased\n\n## {NEXT} (" in copy.read("CHANGELOG.md")
    assert f'VERSION: Final = "{NEXT}"' in copy.read("shared/version.py")
    assert f"darkroom-gateway:${{DARKROOM_VERSION:-{NEXT}}}" in copy.read("docker-compose.tags.yml")
    assert f"valkey:{VERSION}" in copy.read("docker-compose.tags.yml")
    assert sorted(file.name for file in (copy.folder / "build" / "sbom").iterdir()) == [
        f"darkroom-{image}-{NEXT}.cdx.json" for image in ("courier", "gateway", "page", "worker")
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "three numbers"),
        ("1.0", "three numbers"),
        ("v1.0.0", "three numbers"),
        ("1.0.0", "already"),
        ("0.8.9", "before"),
    ],
)
def test_a_version_that_can_not_be_is_refused(said: str, why: str) -> None:
    with pytest.raises(NotReady, match=why):
        checked_version(said, "0.9.0", frozenset({"v1.0.0"}))


def test_the_first_release_may_be_the_version_that_there_is() -> None:
    assert checked_version("0.9.0", "0.9.0", frozenset()) == "0.9.0"


def test_only_the_coming_section_is_named() -> None:
    text, section = dated(
        "# Changelog\n\n## Unreleased\n\nNew.\n\n## 0.1.0 (2026-01-01)\n\nOld.\n", "0.2.0", date(2026, 2, 3)
    )

    assert section == "## 0.2.0 (2026-02-03)\n\nNew.\n"
    assert text == ("# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-02-03)\n\nNew.\n\n## 0.1.0 (2026-01-01)\n\nOld.\n")


@pytest.mark.parametrize("changelog", ["# Changelog\n", "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\nOld.\n"])
def test_nothing_to_tell_is_no_release(changelog: str) -> None:
    with pytest.raises(NotReady, match="Unreleased"):
        dated(changelog, "0.2.0", date(2026, 2, 3))


def test_the_images_tags_are_the_version() -> None:
    lines = [line for file in naming_tags() for line in file.read_text().splitlines() if TELLS_TAG.search(line)]

    assert [line for line in lines if set(re.findall(r"\d+\.\d+\.\d+", line)) - {VERSION}] == []


def test_only_our_images_tags_change() -> None:
    text = 'image: darkroom-page:0.1.0\nimage: other:0.1.0\nnewTag: "0.1.0"\nnewTag: "10.1.0"\nnewTag: "0.1.0.1"\n'

    assert tagged(text, "0.1.0", "0.2.0") == (
        'image: darkroom-page:0.2.0\nimage: other:0.1.0\nnewTag: "0.2.0"\nnewTag: "10.1.0"\nnewTag: "0.1.0.1"\n'
    )
