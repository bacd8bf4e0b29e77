"""The page behind a proxy that serves it under a path of its own host, or by https."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from shared.client import Client
from tests.integration.conftest import client, gateway, guarded, hand, worker
from tests.integration.keyholders import PAGE_KEY, make_key
from tests.integration.serving import Serving
from ui.app import create_app

__all__ = ["client", "gateway", "guarded", "hand", "worker"]

PREFIX = "/darkroom"
HOME = "http://example.org"


@pytest.fixture(scope="module")
def app(guarded: Serving) -> Iterator[FastAPI]:
    with Client(guarded.url, api_key=PAGE_KEY) as page:
        yield create_app(page, secret="a secret of the page's", loopback_only=False, prefix=PREFIX)


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    """At the proxy, which takes the prefix away; the server puts it before each path again."""
    return TestClient(app, base_url=HOME, root_path=PREFIX, headers={"Origin": HOME}, follow_redirects=False)


class TestUnderAPrefix:
    def test_signing_in_and_out_leads_back_to_the_page(self, guarded: Serving, browser: TestClient) -> None:
        key = make_key(guarded, "ann").key
        answers = [
            browser.post(f"{PREFIX}/{form}", data={"key": said})
            for form, said in (("sign-in", key), ("sign-in", "wrong"), ("sign-out", ""))
        ]

        assert [urljoin(str(answer.url), answer.headers["Location"]) for answer in answers] == [
            f"{HOME}{PREFIX}/",
            f"{HOME}{PREFIX}/?key-refused",
            f"{HOME}{PREFIX}/",
        ]

    def test_a_page_that_was_not_told_its_prefix_does_not_lead_out_of_it_either(self, app: FastAPI) -> None:
        untold = TestClient(app, base_url=HOME, headers={"Origin": HOME}, follow_redirects=False)

        answer = untold.post("/sign-out")

        assert urljoin(f"{HOME}{PREFIX}/sign-out", answer.headers["Location"]) == f"{HOME}{PREFIX}/"

    def test_the_cookies_are_for_the_page_alone(self, guarded: Serving, browser: TestClient) -> None:
        opened = browser.get(f"{PREFIX}/")
        entered = browser.post(f"{PREFIX}/sign-in", data={"key": make_key(guarded, "ann").key})
        left = browser.post(f"{PREFIX}/sign-out")

        for answer in (opened, entered, left):
            assert f"Path={PREFIX};" in answer.headers["Set-Cookie"]

    @pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Host": "example.org"}])
    def test_what_the_page_fetches_is_under_it(self, browser: TestClient, headers: dict[str, str]) -> None:
        config = browser.get(f"{PREFIX}/config", headers=headers)

        assert config.json()["root"] == f"{HOME}{PREFIX}"
        assert browser.get(f"{PREFIX}/gradio_api/info").status_code == HTTPStatus.OK


class TestByHttps:
    def test_what_the_proxy_says_makes_the_cookies_secure(self, browser: TestClient) -> None:
        for said, is_secure in (("https", True), ("https, http", True), ("http", False), ("", False)):
            cookie = browser.get(f"{PREFIX}/", headers={"X-Forwarded-Proto": said}).headers["Set-Cookie"]
            assert ("; Secure" in cookie) is is_secure

    def test_a_key_is_safe_though_the_proxy_says_nothing(self, guarded: Serving, browser: TestClient) -> None:
        origin = {"Origin": HOME.replace("http:", "https:")}
        entered = browser.post(f"{PREFIX}/sign-in", data={"key": make_key(guarded, "ann").key}, headers=origin)

        assert "; Secure" in entered.headers["Set-Cookie"]
