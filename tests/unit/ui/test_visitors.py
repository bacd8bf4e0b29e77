"""Who a browser belongs to: cookies that can't be made up, keys that open what they open, and nothing of another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.types import Receive, Send
from starlette.types import Scope as Exchange

from shared.access import Scope
from shared.client import Client
from tests.integration.conftest import client, gateway, guarded, hand, worker
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, make_key
from tests.integration.serving import Hand, Serving
from ui.app import create_app
from ui.visitors import KEPT_S, KEY_COOKIE, VISITOR_COOKIE

__all__ = ["client", "gateway", "guarded", "hand", "worker"]

HOME = "http://127.0.0.1:7860"
PICTURE = b"\x89PNG\r\n not a picture, but these very bytes"

MADE_UP = ["x", "darkroom", f"darkroom_{'0' * 12}_{'0' * 32}"]
"""Of nobody's form, and of ours."""

Browsers = Callable[[], TestClient]


@pytest.fixture
def page(guarded: Serving) -> Iterator[Client]:
    """What the page asks with."""
    with Client(guarded.url, api_key=PAGE_KEY) as one:
        yield one


@pytest.fixture
def new_browser(page: Client) -> Browsers:
    app = create_app(page, secret="a secret of the page's")

    def come() -> TestClient:
        browser = TestClient(app, base_url=HOME, headers={"Origin": HOME}, follow_redirects=False)
        browser.get("/")
        return browser

    return come


def name_of(browser: TestClient) -> str:
    """The visitor whom this browser's cookie names."""
    return browser.cookies[visitor_cookie(browser)].partition(".")[0]


def visitor_cookie(browser: TestClient) -> str:
    """What the cookie is called that the page has given this browser."""
    (name,) = (name for name in browser.cookies if name.startswith(VISITOR_COOKIE))
    return name


def has_key(browser: TestClient) -> bool:
    return any(name.startswith(KEY_COOKIE) for name in browser.cookies)


def draw_for(asker: Client, hand: Hand) -> str:
    """Have a picture drawn; its path on the page."""
    job = asker.submit("a cube")
    hand.draw(hand.take(), 0, PICTURE)
    return f"/pictures/{job.id}/0.png"


def test_a_browser_gets_a_name_with_the_page_and_keeps_it(new_browser: Browsers) -> None:
    browser = new_browser()
    first = name_of(browser)

    again = browser.get("/")

    assert name_of(browser) == first
    assert name_of(new_browser()) != first
    cookie = again.headers["Set-Cookie"]
    assert f"Max-Age={KEPT_S}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_only_the_page_itself_brings_a_name(page: Client) -> None:
    browser = TestClient(create_app(page, secret="s"), base_url=HOME)

    assert "Set-Cookie" not in browser.get("/theme.css").headers


def test_a_name_outlives_the_page(page: Client, new_browser: Browsers, hand: Hand) -> None:
    browser = new_browser()
    path = draw_for(page.acting(visitor=name_of(browser)), hand)
    restarted = TestClient(
        create_app(page, secret="a secret of the page's"), base_url=HOME, cookies=dict(browser.cookies)
    )

    assert restarted.get(path).content == PICTURE


def test_a_picture_is_its_visitors_alone(page: Client, new_browser: Browsers, hand: Hand) -> None:
    one, other = new_browser(), new_browser()
    path = draw_for(page.acting(visitor=name_of(one)), hand)

    assert one.get(path).content == PICTURE
    assert other.get(path).status_code == 404


@pytest.mark.parametrize("forged", ["{name}", "{name}.", "{name}.00", "{name}.{signature}0", ".{signature}", "\u00e4"])
def test_a_name_that_was_made_up_opens_nothing(page: Client, new_browser: Browsers, hand: Hand, forged: str) -> None:
    browser = new_browser()
    path = draw_for(page.acting(visitor=name_of(browser)), hand)
    name, _, signature = browser.cookies[visitor_cookie(browser)].partition(".")
    stranger = TestClient(create_app(page, secret="a secret of the page's"), base_url=HOME)

    cookie = f"{visitor_cookie(browser)}={forged.format(name=name, signature=signature)}"
    answer = stranger.get(path, headers=[(b"cookie", cookie.encode())])

    assert answer.status_code == 404


def test_another_pages_signature_is_none(page: Client, new_browser: Browsers, hand: Hand) -> None:
    browser = new_browser()
    path = draw_for(page.acting(visitor=name_of(browser)), hand)
    other = TestClient(create_app(page, secret="another"), base_url=HOME, cookies=dict(browser.cookies))

    assert other.get(path).status_code == 404


def test_two_pages_of_one_host_know_a_browser_each_by_its_own_cookie(guarded: Serving, page: Client) -> None:
    pages = {port: create_app(page, secret=f"of the page at {port}") for port in ("7860", "7861")}

    async def host(scope: Exchange, receive: Receive, send: Send) -> None:
        await pages[Headers(scope=scope)["Host"].rpartition(":")[2]](scope, receive, send)

    browser = TestClient(host, follow_redirects=False)
    here, there = (f"http://127.0.0.1:{port}" for port in pages)
    for home in (here, there):
        browser.get(home)
    first = dict(browser.cookies)
    browser.post(f"{here}/sign-in", data={"key": make_key(guarded, "ann").key}, headers={"Origin": here})
    browser.post(f"{there}/sign-out", headers={"Origin": there})
    for home in (here, there):
        browser.get(home)

    assert len(first) == len(pages)
    assert dict(browser.cookies) | first == dict(browser.cookies)
    assert has_key(browser)


def test_a_cookie_of_before_pages_had_names_is_known_once_more(page: Client, new_browser: Browsers, hand: Hand) -> None:
    browser = new_browser()
    path = draw_for(page.acting(visitor=name_of(browser)), hand)
    name = visitor_cookie(browser)
    said = browser.cookies[name]
    browser.cookies.clear()
    browser.cookies.set(VISITOR_COOKIE, said)

    assert browser.get(path).content == PICTURE
    browser.get("/")
    assert browser.cookies[name] == said


class TestSigningIn:
    def test_with_a_key_shows_that_keys_pictures_and_out_again_ones_own(
        self, guarded: Serving, page: Client, new_browser: Browsers, hand: Hand
    ) -> None:
        key = make_key(guarded, "ann").key
        browser = new_browser()
        with Client(guarded.url, api_key=key) as ann:
            anns = draw_for(ann, hand)
        own = draw_for(page.acting(visitor=name_of(browser)), hand)

        entered = browser.post("/sign-in", data={"key": f" {key} "})
        signed_in = [browser.get(path).status_code for path in (anns, own)]
        left = browser.post("/sign-out")
        signed_out = [browser.get(path).status_code for path in (anns, own)]

        assert (entered.status_code, entered.headers["Location"]) == (303, "./")
        assert "HttpOnly" in entered.headers["Set-Cookie"]
        assert left.status_code == 303
        assert (signed_in, signed_out) == ([200, 404], [404, 200])

    def test_with_a_wrong_key_is_refused_and_says_so(self, new_browser: Browsers) -> None:
        browser = new_browser()

        answer = browser.post("/sign-in", data={"key": "darkroom_nobody_knows"})

        assert answer.headers["Location"] == "./?key-refused"
        assert not has_key(browser)

    def test_with_blanks_is_refused_and_asks_as_nobody_else(self, new_browser: Browsers) -> None:
        browser = new_browser()

        answer = browser.post("/sign-in", data={"key": "   "})

        assert answer.headers["Location"] == "./?key-refused"
        assert not has_key(browser)

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
    @pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
    def test_is_no_other_sites_business(
        self, guarded: Serving, new_browser: Browsers, path: str, origin: str | None
    ) -> None:
        browser = new_browser()
        del browser.headers["Origin"]
        headers = {} if origin is None else {"Origin": origin}

        answer = browser.post(path, data={"key": make_key(guarded, "ann").key}, headers=headers)

        assert answer.status_code == 403
        assert not has_key(browser)

    def test_with_a_key_that_was_revoked_later_shows_nothing(
        self, guarded: Serving, new_browser: Browsers, hand: Hand
    ) -> None:
        made = make_key(guarded, "ann")
        browser = new_browser()
        with Client(guarded.url, api_key=made.key) as ann:
            path = draw_for(ann, hand)
        browser.post("/sign-in", data={"key": made.key})
        with Client(guarded.url, api_key=OPERATOR_KEY) as operator:
            operator.revoke_key(made.id)

        assert browser.get(path).status_code != 200

    @pytest.mark.parametrize("key", ["", "x" * 600])
    def test_with_what_can_be_no_key_is_refused(self, new_browser: Browsers, key: str) -> None:
        assert new_browser().post("/sign-in", data={"key": key}).status_code == 422


class TestTheOperatorsTab:
    """Asked by hand: that the tab is hidden keeps nobody from its events."""

    @pytest.fixture
    def operators(self, guarded: Serving) -> Iterator[Client]:
        with Client(guarded.url, api_key=OPERATOR_KEY) as one:
            yield one
            one.direct_all("resume")

    @pytest.mark.parametrize("who", ["nobody", "a visitor", "a key without the scope"])
    def test_hears_no_one_else(self, guarded: Serving, new_browser: Browsers, operators: Client, who: str) -> None:
        browser = new_browser()
        if who == "a key without the scope":
            sign_in(browser, make_key(guarded, "someone").key)
        if who == "nobody":
            browser.cookies.clear()

        said = [press(browser, {"do": do}) for do in ("pause", "open", "span")]

        assert operators.queue().mode == "work"
        assert not any("Workers" in answer for answer in said)

    def test_hears_an_operator(self, new_browser: Browsers, operators: Client) -> None:
        browser = new_browser()
        sign_in(browser, OPERATOR_KEY)

        said = press(browser, {"do": "pause"})

        assert operators.queue().mode == "paused"
        assert "Every worker" in said

    @pytest.mark.parametrize(
        "what",
        [
            {},
            {"do": "dance"},
            {"do": "span"},
            {"do": "span", "minutes": "an hour"},
            {"do": "span", "minutes": [60]},
            {"do": "failed"},
            {"do": "resend"},
            {"do": "pause", "worker": []},
        ],
    )
    def test_makes_nothing_of_a_press_that_makes_no_sense(
        self, new_browser: Browsers, operators: Client, what: dict[str, object]
    ) -> None:
        browser = new_browser()
        sign_in(browser, OPERATOR_KEY)

        assert "Workers" not in press(browser, what)
        assert operators.queue().mode == "work"

    def test_hears_an_operator_no_longer_than_the_gateway_does(self, new_browser: Browsers, operators: Client) -> None:
        made = operators.create_key("for a day", "an-operator", scopes=["admin"])
        browser = new_browser()
        sign_in(browser, made.key)
        press(browser, {"do": "pause"})
        operators.revoke_key(made.id)

        said = press(browser, {"do": "resume"})

        assert operators.queue().mode == "paused"
        assert "again." not in said


class TestAtAGatewayThatNeedsNoKeys:
    """On loopback, where it takes whoever asks for an operator; the page is open to the network."""

    @pytest.fixture
    def keyless(self, gateway: Serving) -> Iterator[Client]:
        with Client(gateway.url) as one:
            yield one
            one.direct_all("resume")

    @pytest.fixture
    def browser(self, keyless: Client) -> TestClient:
        app = create_app(keyless, secret="a secret of the page's", loopback_only=False)
        browser = TestClient(app, base_url=HOME, headers={"Origin": HOME}, follow_redirects=False)
        browser.get("/")
        return browser

    @pytest.mark.parametrize("key", MADE_UP)
    def test_nobody_signs_in_with_a_key_that_was_made_up(self, browser: TestClient, key: str) -> None:
        answer = browser.post("/sign-in", data={"key": key})

        assert answer.headers["Location"].endswith("?key-refused")
        assert not has_key(browser)

    @pytest.mark.parametrize("key", MADE_UP)
    def test_a_cookie_with_such_a_key_opens_nothing(
        self, keyless: Client, browser: TestClient, hand: Hand, key: str
    ) -> None:
        path = draw_for(keyless, hand)
        browser.cookies.set(visitor_cookie(browser).replace(VISITOR_COOKIE, KEY_COOKIE), key)

        said = [press(browser, {"do": do}) for do in ("pause", "open", "span")]

        assert browser.get(path).status_code == 404
        assert keyless.queue().mode == "work"
        assert not any("Workers" in answer for answer in said)

    def test_a_key_that_was_made_there_is_good(self, keyless: Client, browser: TestClient, hand: Hand) -> None:
        key = keyless.create_key("ann's", tenant="ann", scopes=[*Scope]).key
        path = draw_for(keyless.acting(api_key=key), hand)
        sign_in(browser, key)

        said = press(browser, {"do": "pause"})

        assert browser.get(path).content == PICTURE
        assert keyless.queue().mode == "paused"
        assert "Every worker" in said


def sign_in(browser: TestClient, key: str) -> None:
    assert browser.post("/sign-in", data={"key": key}).headers["Location"] == "./"


def press(browser: TestClient, what: Mapping[str, object]) -> str:
    """Tell the control room what was pressed, as its script does; the answer as it stands there."""
    page = browser.get("/config").json()
    number = next(one["id"] for one in page["dependencies"] if one["api_name"] == "_on_press")
    answer = browser.post(
        "/gradio_api/run/predict",
        json={"fn_index": number, "data": [None], "event_data": what, "session_hash": "made-up"},
    )
    assert answer.status_code == HTTPStatus.OK
    return answer.text
