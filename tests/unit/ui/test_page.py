"""The page as a browser gets it: headers, pictures, what it refuses, how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from starlette.testclient import TestClient

from shared.client import Client
from shared.generation import OutputFormat
from shared.jobs import new_job_id
from tests.integration.serving import Hand, Serving, serving
from tests.servers import free_port
from ui.__main__ import main
from ui.app import create_app
from ui.theme import darkroom_theme
from ui.visitors import VISITOR_COOKIE

PICTURE = b"\x89PNG\r\n not a picture, but these very bytes \x00\xff"


@pytest.fixture(scope="module")
def page_client(client: Client) -> Iterator[TestClient]:
    with TestClient(create_app(client), base_url="http://127.0.0.1:7860") as browser:
        browser.get("/")
        yield browser


def as_visitor(client: Client, browser: TestClient) -> Client:
    """Ask the gateway as the page does for this browser."""
    return client.acting(visitor=browser.cookies[VISITOR_COOKIE].partition(".")[0])


class TestPictures:
    @pytest.mark.parametrize("output_format", list(OutputFormat))
    def test_are_the_gateways_bytes(
        self, hand: Hand, client: Client, page_client: TestClient, output_format: OutputFormat
    ) -> None:
        job = as_visitor(client, page_client).submit("a cube", output_format=output_format)
        hand.draw(hand.take(), 0, PICTURE)

        answer = page_client.get(f"/pictures/{job.id}/0.{output_format.suffix}")

        assert answer.content == PICTURE
        assert answer.headers["Content-Type"] == output_format.media_type
        assert "immutable" in answer.headers["Cache-Control"]

    def test_come_through_the_gateway_where_browsers_alone_reach_the_store(self, gateway: Serving, hand: Hand) -> None:
        public = f"http://127.0.0.1:{free_port()}"
        with (
            serving(gateway.settings.model_copy(update={"s3_public_endpoint": public})) as served,
            Client(served.url) as client,
            TestClient(create_app(client), base_url="http://127.0.0.1:7860") as browser,
        ):
            browser.get("/")
            job = as_visitor(client, browser).submit("a cube")
            hand.draw(hand.take(), 0, PICTURE)

            answer = browser.get(f"/pictures/{job.id}/0.png")

        assert answer.content == PICTURE

    @pytest.mark.parametrize("path", [f"{new_job_id()}/0.png", "nonsense/0.png", "../../v1/models/0.png"])
    @pytest.mark.usefixtures("hand")
    def test_of_nobody_are_not_found(self, page_client: TestClient, path: str) -> None:
        assert page_client.get(f"/pictures/{path}").status_code == 404

    def test_have_no_other_ending(self, page_client: TestClient) -> None:
        assert page_client.get(f"/pictures/{new_job_id()}/0.svg").status_code == 422

    def test_come_later_when_the_gateway_is_away(self) -> None:
        with (
            Client(f"http://127.0.0.1:{free_port()}") as nobody,
            TestClient(create_app(nobody), base_url="http://127.0.0.1:7860") as browser,
        ):
            browser.get("/")
            answer = browser.get(f"/pictures/{new_job_id()}/0.png")

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert "127.0.0.1" not in answer.text, "the gateway's address is the operator's business"


class TestPage:
    def test_lets_a_browser_load_from_here_only(self, page_client: TestClient) -> None:
        policy = page_client.get("/").headers["Content-Security-Policy"]

        assert policy.startswith("default-src 'self'")
        assert "http" not in policy
        assert "*" not in policy

    def test_fetches_its_fonts_from_here(self, page_client: TestClient) -> None:
        style = page_client.get("/theme.css").text
        fonts = re.findall(r"url\('([^']+)'\)", style)

        assert fonts
        assert not [font for font in fonts if font.startswith(("http", "//"))]
        assert {page_client.get(f"/{font}").status_code for font in fonts} == {200}

    @pytest.mark.parametrize("path", ["/", "/studio/studio.css", "/studio/studio.js"])
    def test_is_packed_on_its_way(self, page_client: TestClient, path: str) -> None:
        answer = page_client.get(path, headers={"Accept-Encoding": "gzip"})

        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.text == page_client.get(path, headers={"Accept-Encoding": "identity"}).text

    def test_keeps_what_has_a_hash_in_its_name_and_asks_about_the_rest(self, page_client: TestClient) -> None:
        assets: list[str] = re.findall(r"\./(assets/[\w.-]+)", page_client.get("/").text)

        assert assets
        for asset in assets:
            assert "immutable" in page_client.get(f"/{asset}").headers["Cache-Control"]
        assert "immutable" not in page_client.get("/assets/no-such.js").headers.get("Cache-Control", "")
        assert page_client.get("/studio/studio.js").headers["Cache-Control"] == "no-cache"

    def test_has_no_api_of_its_own(self, page_client: TestClient) -> None:
        assert page_client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}

    def test_takes_no_files(self, page_client: TestClient) -> None:
        answer = page_client.post("/gradio_api/upload", files={"files": ("big.txt", b"more than a byte")})

        assert answer.status_code >= 400

    def test_refuses_another_hosts_name(self, page_client: TestClient) -> None:
        assert page_client.get("/", headers={"Host": "evil.example"}).status_code == 400
        for name in ("localhost:7860", "127.0.0.1", "[::1]:7860", "darkroom.localhost"):
            assert page_client.get("/theme.css", headers={"Host": name}).status_code == 200

    def test_serves_any_name_once_the_network_is_open(self, client: Client) -> None:
        app = create_app(client, loopback_only=False)
        with TestClient(app, base_url="http://studio.example") as browser:
            assert browser.get("/theme.css").status_code == 200

    def test_does_not_start_on_an_open_network_unasked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DARKROOM_UI_HOST", "0.0.0.0")  # noqa: S104 what must be refused

        with pytest.raises(SystemExit, match="DARKROOM_ALLOW_OPEN_NETWORK"):
            main()


PAGE_CSS: Final = Path(__file__).parents[3] / "ui" / "page.css"


def palette(selector: str) -> dict[str, str]:
    """Read the colours that `page.css` gives under a selector."""
    found = re.search(rf"^{re.escape(selector)} {{(.*?)^}}", PAGE_CSS.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6});", found[1]))


NIGHT: Final = palette(":root")
DAY: Final = NIGHT | palette(":root.light")


class TestTheme:
    @pytest.mark.parametrize("colours", [NIGHT, DAY], ids=["darkroom", "daylight"])
    @pytest.mark.parametrize(
        ("text", "ground"),
        [
            ("body_text_color", "body_background_fill"),
            ("body_text_color", "block_background_fill"),
            ("block_info_text_color", "block_background_fill"),
            ("block_title_text_color", "block_background_fill"),
            ("input_placeholder_color", "input_background_fill"),
            ("button_primary_text_color", "button_primary_background_fill"),
            ("button_primary_text_color", "button_primary_background_fill_hover"),
            ("button_secondary_text_color", "button_secondary_background_fill"),
            ("button_cancel_text_color", "button_cancel_background_fill"),
            ("neutral_300", "neutral_950"),
            ("neutral_400", "neutral_800"),
            ("primary_300", "neutral_900"),
            ("neutral_100", "primary_950"),
            ("neutral_300", "neutral_900"),
            ("neutral_50", "neutral_800"),
            ("var(--film-words)", "var(--film)"),
            ("var(--film-edge)", "var(--film)"),
            ("var(--on-glow)", "var(--glow-600)"),
        ],
    )
    def test_text_stands_out_as_wcag_aa_asks(self, text: str, ground: str, colours: dict[str, str]) -> None:
        assert contrast(colour(text, colours), colour(ground, colours)) >= 4.5

    @pytest.mark.parametrize("colours", [NIGHT, DAY], ids=["darkroom", "daylight"])
    @pytest.mark.parametrize("edge", ["var(--tone-600)", "var(--glow-300)"])
    def test_edges_of_fields_and_focus_stand_out(self, edge: str, colours: dict[str, str]) -> None:
        assert contrast(colour(edge, colours), colour("neutral_900", colours)) >= 3

    def test_both_palettes_have_every_colour_of_the_ramps(self) -> None:
        ramps = {name for name in NIGHT if name.startswith(("tone-", "glow-"))}

        assert len(ramps) == 22
        assert ramps <= palette(":root.light").keys()

    def test_has_one_set_of_rules_whatever_the_browser_prefers(self) -> None:
        assert not [name for name in vars(darkroom_theme()) if name.endswith("_dark")]


def colour(name: str, colours: dict[str, str]) -> str:
    """Follow the theme's references (`*neutral_900`), and then the palette's, to a colour."""
    value = name if name.startswith("var(") else str(getattr(darkroom_theme(), name))
    while value.startswith("*"):
        value = str(getattr(darkroom_theme(), value[1:]))
    if found := re.match(r"var\(--([a-z0-9-]+)", value):
        value = colours[found[1]]
    return f"#{''.join(2 * digit for digit in value[1:])}" if len(value) == len("#fff") else value


def contrast(one: str, other: str) -> float:
    """Contrast ratio, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(hexadecimal: str) -> float:
    """Relative luminance of `#rrggbb`, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    channels = [int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
