"""What the page turns away at its door, over a real gateway and Gradio's own routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from shared.client import Client
from ui.app import create_app
from ui.fence import MOST_BYTES, Fence, is_foreign

HERE = "http://127.0.0.1:7860"
JOIN = "/gradio_api/queue/join"
PRESS: dict[str, object] = {"data": [], "fn_index": 0, "session_hash": "s"}


@pytest.fixture(scope="module")
def browser(client: Client) -> Iterator[TestClient]:
    with TestClient(create_app(client), base_url=HERE) as browser:
        browser.get("/")
        yield browser


class TestGradiosRoutes:
    @pytest.mark.parametrize(
        "route",
        [
            "file=https://example.org/",
            "file=/etc/passwd",
            "file/etc/passwd",
            "proxy=https://example.org/",
            "stream/s/0/1/playlist.m3u8",
            "custom_component/a/client/component/style.css",
            "upload_progress?upload_id=1",
            "deep_link?session_hash=s",
            "vibe-code",
            "run-history/buckets",
            "queue%2f..%2ffile=https://example.org/",
        ],
    )
    def test_what_reads_for_others_is_not_there(self, browser: TestClient, route: str) -> None:
        assert browser.get(f"/gradio_api/{route}").status_code == HTTPStatus.NOT_FOUND

    @pytest.mark.parametrize("route", ["upload", "upload/", "component_server", "process_recording", "vibe-edit"])
    def test_what_takes_files_is_not_there(self, browser: TestClient, route: str) -> None:
        answer = browser.post(f"/gradio_api/{route}", files={"files": ("a.txt", b"x")})

        assert (answer.status_code, answer.text) == (HTTPStatus.NOT_FOUND, "There is no such address.")

    def test_nor_under_a_prefix(self, client: Client) -> None:
        app = create_app(client, loopback_only=False, prefix="/darkroom")
        with TestClient(app, base_url=HERE, root_path="/darkroom") as browser:
            for path in ("/darkroom/gradio_api/file=https://example.org/", "/gradio_api/file=https://example.org/"):
                assert browser.get(path).status_code == HTTPStatus.NOT_FOUND


class TestOtherPages:
    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "http://127.0.0.1:3000", "http://localhost:7860", "null"]
    )
    def test_may_not_press_and_may_not_read(self, browser: TestClient, origin: str) -> None:
        pressed = browser.post(JOIN, json=PRESS, headers={"Origin": origin})
        read = browser.get("/config", headers={"Origin": origin})
        asked = browser.options(JOIN, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})

        for answer in (pressed, read, asked):
            assert answer.status_code == HTTPStatus.FORBIDDEN
            assert "Access-Control-Allow-Origin" not in answer.headers

    def test_may_not_where_the_browser_tells_though_it_names_no_origin(self, browser: TestClient) -> None:
        for site in ("cross-site", "same-site"):
            assert browser.post(JOIN, json=PRESS, headers={"Sec-Fetch-Site": site}).status_code == HTTPStatus.FORBIDDEN

    def test_may_lead_here(self, browser: TestClient) -> None:
        answer = browser.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})

        assert answer.status_code == HTTPStatus.OK
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"

    def test_the_page_itself_may(self, browser: TestClient) -> None:
        for said in ({"Origin": HERE}, {"Sec-Fetch-Site": "same-origin", "Origin": HERE}, {}):
            assert browser.post(JOIN, json=PRESS, headers=said).status_code != HTTPStatus.FORBIDDEN

    def test_behind_a_proxy_the_browsers_host_counts(self) -> None:
        asked = {"host": "page:7860", "origin": "http://studio.example"}

        assert is_foreign("POST", asked)
        assert not is_foreign("POST", {**asked, "x-forwarded-host": "studio.example, inner"})
        assert not is_foreign("POST", {**asked, "sec-fetch-site": "same-origin"})
        assert is_foreign("POST", {"host": "page:7860", "origin": "http://[half"})


class TestBodies:
    def test_a_large_one_is_refused_by_its_length_alone(self, browser: TestClient) -> None:
        for length in (str(MOST_BYTES + 1), "9" * 5000):
            answer = browser.post(JOIN, content=b"", headers={"Content-Length": length})

            assert (answer.status_code, answer.text) == (413, "A request may have 1 MB at most.")

    def test_gradios_routes_have_no_larger_limit_for_being_called_settings(self, browser: TestClient) -> None:
        answer = browser.post("/gradio_api/run/settings", content=b"", headers={"Content-Length": str(MOST_BYTES + 1)})

        assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def test_one_of_unsaid_length_is_refused(self, browser: TestClient) -> None:
        assert browser.post(JOIN, content=iter([b"{}"])).status_code == HTTPStatus.LENGTH_REQUIRED

    @pytest.mark.parametrize("path", [JOIN, "/settings", "/sign-in"])
    def test_one_with_two_lengths_is_refused(self, browser: TestClient, path: str) -> None:
        both = {"Content-Length": "2", "Transfer-Encoding": "chunked"}

        assert browser.post(path, content=b"{}", headers=both).status_code == HTTPStatus.LENGTH_REQUIRED

    def test_one_that_comes_in_pieces_is_passed_on_whole(self) -> None:
        said, sent = asyncio.run(_asked([b"a", b"b", b"c"], patience_s=60))

        assert said == [b"abc"]
        assert sent[0]["status"] == HTTPStatus.OK

    def test_one_that_never_ends_is_given_up(self) -> None:
        said, sent = asyncio.run(_asked([b"a"], patience_s=0.01))

        assert said == []
        assert sent[0]["status"] == HTTPStatus.REQUEST_TIMEOUT


async def _asked(pieces: list[bytes], *, patience_s: float) -> tuple[list[bytes], list[Message]]:
    """Send three bytes in pieces; tell what came through, and what was answered."""
    came: list[bytes] = []
    sent: list[Message] = []
    waiting = list(pieces)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        came.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting) or len(pieces) < len("abc")}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/sign-in", "headers": [(b"content-length", b"3")]}
    await Fence(app, patience_s=patience_s)(scope, receive, send)
    return came, sent
