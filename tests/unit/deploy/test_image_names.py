"""Whose images we stand on: each by its tag, for people, and by its digest, for what really runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.compose_files import ROOT, read

DOCKERFILE: Final = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE_FILES: Final = sorted(ROOT.glob("docker-compose*.yml"))

WITHOUT_DIGEST: Final[dict[str, str]] = {}
"""Image and tag, and why there is no digest."""

PINNED: Final = re.compile(r"[a-z0-9.-]+\.[a-z]+/[a-z0-9/-]+:[A-Za-z0-9][\w.-]*@sha256:[0-9a-f]{64}")


def others_images(file: Path) -> list[str]:
    """The images of a compose file that it doesn't build."""
    services = read(file.name)["services"]
    return [
        service["image"]
        for service in services.values()
        if isinstance(service, dict) and "image" in service and "build" not in service
    ]


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_an_image_that_we_do_not_build_has_registry_tag_and_digest(file: Path) -> None:
    loose = [image for image in others_images(file) if not PINNED.fullmatch(image) and image not in WITHOUT_DIGEST]

    assert loose == []


def test_images_of_others_are_found() -> None:
    named = {image.split("@")[0].rsplit("/", 1)[1] for file in COMPOSE_FILES for image in others_images(file)}

    assert {name.split(":")[0] for name in named} >= {"valkey", "seaweedfs", "minio", "caddy"}
    assert not any(name.endswith(":latest") for name in named)


def test_the_dockerfile_stands_on_pinned_bases_and_its_own_stages_alone() -> None:
    text = DOCKERFILE.read_text()
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE))
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    stood_on = re.findall(r"^FROM (\S+)", text, re.MULTILINE)

    assert bases
    assert [base for base in bases.values() if not PINNED.fullmatch(base)] == []
    assert set(stood_on) <= {*stages, *(f"${{{name}}}" for name in bases)}


@pytest.mark.parametrize("target", ["gateway", "page", "courier", "worker"])
def test_an_image_of_ours_runs_as_nobody_special_and_says_how_it_is(target: str) -> None:
    stage = DOCKERFILE.read_text().split(f" AS {target}\n")[1].split("\nFROM ")[0]

    assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE) == ["10001"]
    (check,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", stage, re.MULTILINE)
    assert "deploy.health" in check
    assert re.search(r'^CMD \["python", "-m", ', stage, re.MULTILINE)  # the program itself: it gets the signals


def test_an_image_of_ours_carries_no_installer() -> None:
    text = DOCKERFILE.read_text()

    assert "venv --without-pip /opt/venv" in text
    base = text.split(" AS base\n")[1].split("\nFROM ")[0]
    assert "rm -rf /usr/local/bin/pip*" in base
    assert "pip install" not in base
