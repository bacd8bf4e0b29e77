"""docker-compose.yml: what .env offers reaches the part that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    return cast("dict[str, Any]", yaml.safe_load(text)["services"]["page"])


@pytest.mark.parametrize(
    "setting", ["DARKROOM_PAGE_KEY", "DARKROOM_VISITOR_SECRET", "DARKROOM_UI_PREFIX", "DARKROOM_LOG_LEVEL"]
)
def test_the_page_takes_what_dot_env_says(page: dict[str, Any], setting: str) -> None:
    assert page["environment"][setting].startswith(f"${{{setting}:")


def test_the_page_sees_the_styles_that_dot_env_names(page: dict[str, Any]) -> None:
    (styles,) = page["volumes"]

    assert styles["source"] == "${DARKROOM_STYLES_FILE:-./ui/styles.toml}"
    assert (styles["type"], styles["read_only"]) == ("bind", True)
    assert styles["target"] == page["environment"]["DARKROOM_STYLES_FILE"]


def test_a_styles_file_that_is_not_there_keeps_the_page_from_starting(page: dict[str, Any]) -> None:
    assert page["volumes"][0]["bind"] == {"create_host_path": False}  # else it would be an empty folder
