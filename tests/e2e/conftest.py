"""The whole system as processes, and a real browser: every test is a visitor or several.

Redis, gateway, worker and page are started once for a module, on a Redis that no other test sees; a test that stops one
starts it again. Nothing here lives on after its module: Playwright keeps an event loop running in the main thread, and
a worker left over would take other tests' jobs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from deploy.probe import Gateway, answers, has_warmed_up
from deploy.process import Process, Program
from shared.client import Client
from tests.conftest import settings_for
from tests.e2e.visitor import Visitor
from tests.servers import RedisServer, S3Server, free_port
from ui.visitors import VISITOR_COOKIE

ROOT: Final = Path(__file__).parents[2]
STARTS_WITHIN_S: Final = 400
GRACE_S: Final = 30

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DESKTOP: Final = (1280, 860)
PHONE: Final = (390, 844)
SMALL_PHONE: Final = (360, 740)


OPERATOR_KEY: Final = "the-operators-key-of-the-tests"
PAGE_KEY: Final = "the-pages-key-of-the-tests"


class Darkroom:
    """The running system; `gateway` and `page` may be stopped and started again."""

    page_key = PAGE_KEY

    def __init__(self, folder: Path, redis: RedisServer, s3: S3Server) -> None:
        self.gateway_url = f"http://127.0.0.1:{free_port()}"
        self.page_url = f"http://127.0.0.1:{free_port()}"
        self.settings = settings_for(redis)
        self._folder = folder
        self._environment = {
            "DARKROOM_REDIS_URL": redis.url,
            "DARKROOM_S3_ENDPOINT": s3.endpoint,
            "DARKROOM_S3_ACCESS_KEY": s3.access_key,
            "DARKROOM_S3_SECRET_KEY": s3.secret_key,
            "DARKROOM_S3_BUCKET": "e2e",
            "DARKROOM_MODEL": "demo",
            # As in containers: the gateway asks for keys, and the page has its own.
            "DARKROOM_REQUIRE_KEYS": "true",
            "DARKROOM_OPERATOR_KEY": OPERATOR_KEY,
            "DARKROOM_PAGE_KEY": PAGE_KEY,
            "DARKROOM_API_URL": self.gateway_url,
            "DARKROOM_API_PORT": self.gateway_url.rpartition(":")[2],
            "DARKROOM_UI_PORT": self.page_url.rpartition(":")[2],
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        asked = Gateway(self.gateway_url)
        self.gateway = self._part("api", lambda _pid: asked.is_up())
        self.worker = self._part("worker", lambda pid: has_warmed_up(self.settings, pid))
        self.page = self._part("ui", lambda _pid: answers(self.page_url))

    def _part(self, module: str, ready: Callable[[int], bool]) -> Process:
        command = (sys.executable, "-m", module)
        log = self._folder / f"{module}.log"
        return Process(Program(module, command, log, ready=ready, environment=self._environment, cwd=ROOT))

    def start(self, *parts: Process) -> None:
        """Start the parts and wait until each is ready."""
        for part in parts:
            part.start()
        for part in parts:
            part.wait_ready(STARTS_WITHIN_S)


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Darkroom]:
    folder = tmp_path_factory.mktemp("darkroom")
    with RedisServer(folder / "redis") as redis_server:
        system = Darkroom(folder, redis_server, s3_server)
        parts = (system.gateway, system.worker, system.page)
        try:
            system.start(*parts)
            yield system
        finally:
            for part in parts:
                part.stop(GRACE_S)


@contextmanager
def as_visitor(darkroom: Darkroom, visitor: Visitor) -> Generator[Client]:
    """Ask the gateway as the page does for this browser."""
    cookies = {cookie.get("name", ""): cookie.get("value", "") for cookie in visitor.page.context.cookies()}
    said = next(value for name, value in cookies.items() if name.startswith(VISITOR_COOKIE))
    name = said.partition(".")[0]
    with Client(darkroom.gateway_url, api_key=darkroom.page_key, visitor=name) as client:
        yield client


def chromium_path(playwright: Playwright) -> str:
    """Find a Chromium: the system's, or the one that Playwright has fetched."""
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), playwright.chromium.executable_path)
    if not Path(found).exists():
        pytest.fail(
            "The end-to-end tests need Chromium, and there is none. Install it: `apt install chromium` on Debian, "
            "or `python -m playwright install chromium`; `make test` does so by itself."
        )
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(playwright), args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_visitor(browser: Browser, darkroom: Darkroom) -> Iterator[Callable[..., Visitor]]:
    """Let another visitor, with a browser of their own, open the page.

    Afterwards nobody's browser may have asked another host for anything, or met an error.
    """
    visitors: list[tuple[Visitor, BrowserContext]] = []

    def come(size: tuple[int, int] = DESKTOP) -> Visitor:
        width, height = size
        is_phone = size != DESKTOP
        context = browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=is_phone,
            has_touch=is_phone,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        visitor = Visitor(context.new_page(), darkroom.page_url)
        visitors.append((visitor, context))
        visitor.open()
        return visitor

    yield come
    for visitor, context in visitors:
        foreign, errors = visitor.foreign_requests, visitor.script_errors
        context.close()
        assert foreign == []
        assert errors == [], visitor.failed_requests


@pytest.fixture
def visitor(new_visitor: Callable[..., Visitor]) -> Visitor:
    return new_visitor()
