"""What a visitor sees while the gateway or the queue is away, hangs or answers nonsense, and afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus

import httpx2
import pytest
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from shared.client import Client
from shared.client.http import RETRY_DELAYS_S
from shared.contract import JobBody
from shared.errors import GatewayUnavailable, JobNotFound
from shared.jobs import new_job_id
from tests.integration.keyholders import PAGE_KEY, make_key
from tests.integration.serving import CARD, Hand, Serving
from tests.servers import free_port, wait_until
from tests.unit.ui.pressing import form_of
from ui.app import create_app
from ui.feed import Asked, news
from ui.handlers import Handlers, View
from ui.outage import MOST_ASKING, Outage, SteadyClient
from ui.visitors import KEY_COOKIE, Person, Visitors


class Freezer(httpx2.HTTPTransport):
    """Holds requests back until it thaws, and loses them after `wait_s`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.thaw = threading.Event()
        self.wait_s = 0.0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if not self.thaw.wait(self.wait_s):
            raise httpx2.ReadTimeout("frozen", request=request)
        return super().handle_request(request)


class TestOutages:
    def test_a_gateway_that_is_away_is_said_and_its_return_seen(
        self, first: View, handlers: Handlers, person: Person, generate: Callable[..., JobBody]
    ) -> None:
        job = generate()
        waiting = handlers.look(person, first, Asked(), {})
        with Client(f"http://127.0.0.1:{free_port()}") as nobody:
            lost = Person(nobody)
            away = handlers.look(lost, waiting, Asked(), {})
            refused = handlers.generate(lost, first.card, form_of(first, prompt="x"))
            not_canceled = handlers.act(lost, waiting, "cancel", job.id, 0)
        back = handlers.look(person, away, Asked(), {})

        assert "The gateway does not answer." in away.notices
        assert "tries again by itself" in away.notices
        assert "127.0.0.1" not in away.notices, "its address is the operator's business"
        assert away.feed == waiting.feed, "what was there stays there"
        assert '<span class="lamp off"></span><strong>Tiny</strong>' in away.served
        assert "ready" not in away.served
        assert back.served == first.served
        assert 'data-code="gateway_unavailable"' in refused.refusal
        assert "may have been accepted" in refused.refusal
        assert "may have been accepted" not in not_canceled.refusal
        assert 'data-code="gateway_unavailable"' in not_canceled.refusal
        assert back.notices == ""

    def test_a_page_that_forgets_in_an_outage_takes_no_card_from_the_browser(
        self, handlers: Handlers, person: Person, generate: Callable[..., JobBody]
    ) -> None:
        job = generate()
        forgetful = View()
        with Client(f"http://127.0.0.1:{free_port()}") as nobody:
            away = handlers.look(Person(nobody), forgetful, Asked(), {})
        back = handlers.look(person, away, Asked(), {})

        told_away = news([forgetful.feed], away.feed)
        told_back = news([away.feed], back.feed)

        assert told_away is None
        assert told_back is not None
        assert told_back["order"] == [job.id] == list(told_back["cards"])

    def test_a_gateway_that_hangs_holds_one_look_up_and_not_every_visitors(
        self, first: View, handlers: Handlers, gateway: Serving
    ) -> None:
        freezer = Freezer()
        with SteadyClient(gateway.url, transport=freezer) as client:
            person = Person(client)
            handlers.look(person, first, Asked(), {})
            before = freezer.asked
            freezer.wait_s = 60
            held = threading.Thread(target=handlers.look, args=(person, first, Asked(), {}))
            held.start()
            wait_until(lambda: freezer.asked == before + 1, limit_s=20, what="a look hangs")

            told = handlers.look(person, first, Asked(), {})
            asked = freezer.asked
            freezer.thaw.set()
            held.join()
            back = handlers.look(person, told, Asked(), {})

        assert "The gateway does not answer." in told.notices
        assert asked == before + 1, "it was told by the look that failed"
        assert (back.notices, back.served) == ("", first.served)

    def test_an_answer_of_something_else_is_said_without_its_address(self, first: View, handlers: Handlers) -> None:
        def stumble(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(404, html="<h1>Nothing here</h1>")

        with Client("http://gateway.test", transport=httpx2.MockTransport(stumble)) as client:
            away = handlers.look(Person(client), first, Asked(), {})
            refused = handlers.generate(Person(client), first.card, form_of(first, prompt="x"))

        assert "makes no sense here" in away.notices
        assert 'data-code="unexpected_answer"' in refused.refusal
        assert "gateway.test" not in away.notices + refused.refusal

    def test_a_proxy_whose_gateway_is_away_is_as_if_it_were_away_itself(self, first: View, handlers: Handlers) -> None:
        def stumble(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(502, html="<h1>Bad gateway</h1>")

        with Client("http://gateway.test", transport=httpx2.MockTransport(stumble)) as client:
            away = handlers.look(Person(client), first, Asked(), {})

        assert "Out of reach" in away.notices

    def test_a_page_whose_key_the_gateway_does_not_know_says_who_can_mend_that(
        self, handlers: Handlers, guarded: Serving
    ) -> None:
        with Client(guarded.url, api_key="another-than-the-gateways") as client:
            assert "DARKROOM_PAGE_KEY" in handlers.look(Person(client), View(), Asked(), {}).notices
        with Client(guarded.url, api_key=PAGE_KEY) as client:
            assert "DARKROOM_PAGE_KEY" not in handlers.look(Person(client), View(), Asked(), {}).notices

    def test_a_page_without_a_key_asks_visitors_to_sign_in_where_keys_are_needed(
        self, handlers: Handlers, guarded: Serving
    ) -> None:
        with Client(guarded.url) as client:
            view = handlers.look(Person(client), View(), Asked(), {})

        assert "Sign in to draw." in view.notices

    def test_a_key_that_was_revoked_says_to_sign_in_with_another(self, handlers: Handlers, guarded: Serving) -> None:
        with Client(guarded.url, api_key="darkroom_no_longer") as client:
            view = handlers.look(Person(client, key="darkroom_no_longer"), View(), Asked(), {})

        assert "Sign out, and in again" in view.notices

    def test_a_key_that_may_not_do_something_is_told_so_and_not_of_the_pages_key(
        self, first: View, handlers: Handlers, guarded: Serving
    ) -> None:
        reads, submits = (make_key(guarded, "ann", scopes=[scope]).key for scope in ("read", "submit"))
        with Client(guarded.url, api_key=submits) as client:
            job = client.submit("a cube")
            unseen = handlers.look(Person(client, submits), View(), Asked(), {})
        with Client(guarded.url, api_key=reads) as client:
            reader = Person(client, reads)
            seen = handlers.look(reader, View(), Asked(), {})
            refused = handlers.generate(reader, first.card, form_of(first, prompt="a cube"))
            kept = handlers.act(reader, seen, "cancel", job.id, 0)

        assert seen.notices == ""
        told = [(unseen.notices, "read"), (refused.refusal, "submit"), (kept.refusal, "submit"), (kept.words, "submit")]
        for words, scope in told:
            assert "Your key may not do this" in words
            assert f"`{scope}`" in words
            assert "DARKROOM_PAGE_KEY" not in words

    def test_a_revoked_key_is_named_where_something_is_refused(
        self, first: View, handlers: Handlers, guarded: Serving
    ) -> None:
        with Client(guarded.url, api_key="darkroom_no_longer") as client:
            refused = handlers.generate(Person(client, "darkroom_no_longer"), first.card, form_of(first, prompt="x"))

        assert "Your key is not known any longer" in refused.refusal
        assert "DARKROOM_PAGE_KEY" not in refused.refusal

    def test_a_browser_that_keeps_no_cookies_is_told_what_to_do(self, first: View, handlers: Handlers) -> None:
        view = handlers.look(None, first, Asked(), {})
        answer = handlers.generate(None, first.card, form_of(first, prompt="x"))

        assert "Allow cookies" in view.notices
        assert "Allow cookies" in answer.refusal
        assert answer.job is None

    def test_a_page_opened_before_any_worker_fills_itself_in(
        self, hand: Hand, handlers: Handlers, person: Person
    ) -> None:
        hand.forget_all()
        before = handlers.look(person, View(), Asked(), {})
        hand.arrive()
        after = handlers.look(person, before, Asked(), {})

        assert "No model yet." in before.notices
        assert not before.can_generate
        assert after.can_generate
        assert after.notices == ""
        assert after.controls["size"].value == "64x64"

    def test_a_gateway_that_has_lost_its_models_puts_the_lamp_out(
        self, hand: Hand, first: View, handlers: Handlers, person: Person
    ) -> None:
        hand.forget_all()

        lost = handlers.look(person, first, Asked(), {})

        assert '<span class="lamp off"></span><strong>Tiny</strong>' in lost.served
        assert "ready" not in lost.served

    def test_words_written_before_there_was_a_model_are_kept_and_nothing_else(
        self, hand: Hand, handlers: Handlers, person: Person
    ) -> None:
        assert hand.card.id == CARD.id
        placeholders = {"model": None, "prompt": "early bird", "seed": 0, "num_images": 1, "num_inference_steps": 20}

        controls = handlers.look(person, View(), Asked(), placeholders).controls

        assert (controls["prompt"].value, controls["seed"].value) == ("early bird", None)
        assert controls["num_inference_steps"].value == CARD.defaults.num_inference_steps


LIMIT_S = 60
HOME = "http://127.0.0.1:7860"


@dataclass(frozen=True)
class Silence:
    """Where a gateway should be: a port that takes connections and says nothing."""

    listening: socket.socket
    client: SteadyClient

    def take(self) -> socket.socket:
        """Wait for a connection; whoever made it waits until this socket is closed."""
        return self.listening.accept()[0]

    def has_another(self) -> bool:
        self.listening.setblocking(False)
        try:
            self.take().close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def silence() -> Iterator[Silence]:
    with socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_ASKING) as listening:
        listening.settimeout(LIMIT_S)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with SteadyClient(url, timeout=httpx2.Timeout(LIMIT_S)) as client:
            yield Silence(listening, client)


def asking(client: Client) -> threading.Thread:
    """Ask for the models as somebody, in a thread; nobody answers."""

    def ask() -> None:
        with pytest.raises(GatewayUnavailable):
            client.acting(visitor="somebody").models()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.fixture
def outage(silence: Silence) -> Iterator[Silence]:
    """The last request got no answer, and another one waits for its own."""
    first = asking(silence.client)
    for _ in (None, *RETRY_DELAYS_S):
        silence.take().close()
    first.join()
    scout = asking(silence.client)
    with silence.take():
        yield silence
        assert scout.is_alive()
        silence.listening.close()
    scout.join()


class TestAGatewayThatHangs:
    @pytest.mark.parametrize("path", ["pictures/{}/0.png", "thumbnails/{}/0.webp", "previews/{}", "sheets/{}.png"])
    def test_holds_up_no_picture(self, outage: Silence, path: str) -> None:
        browser = TestClient(create_app(outage.client), base_url=HOME)
        browser.get("/")

        answer = browser.get(f"/{path.format(new_job_id())}")

        assert (answer.status_code, answer.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "2")
        assert not outage.has_another()

    def test_holds_up_nobody_who_comes_or_signs_in(self, outage: Silence, handlers: Handlers) -> None:
        browser = TestClient(create_app(outage.client), base_url=HOME, headers={"Origin": HOME})
        holder = Person(outage.client.acting(api_key="a-key"), "a-key")

        assert browser.get("/").status_code == HTTPStatus.OK
        assert browser.post("/sign-in", data={"key": "a-key"}).status_code == HTTPStatus.SERVICE_UNAVAILABLE
        with pytest.raises(GatewayUnavailable):
            handlers.tenant_of(holder)
        with pytest.raises(GatewayUnavailable):
            Visitors(outage.client, "a secret").operator(from_browser(key="a-key"))
        assert not outage.has_another()

    def test_holds_up_nobody_who_types_or_presses(
        self, outage: Silence, first: View, handlers: Handlers, generate: Callable[..., JobBody], person: Person
    ) -> None:
        job = generate()
        seen = handlers.look(person, first, Asked(), {})
        lost = Person(outage.client.acting(visitor="somebody"))

        counted = handlers.count(lost, first.card, form_of(first, prompt="x"))
        sent = handlers.generate(lost, first.card, form_of(first, prompt="x"))
        canceled = handlers.act(lost, seen, "cancel", job.id, 0)

        assert set(counted.values()) == {""}
        assert "No answer" in sent.refusal
        assert "may have been accepted" not in sent.refusal, "it was not sent"
        assert "No answer" in canceled.refusal
        assert not outage.has_another()

    def test_is_known_to_hang_once_many_wait_for_it(self, silence: Silence) -> None:
        waiting = [asking(silence.client) for _ in range(MOST_ASKING)]
        with ExitStack() as held:
            for _ in waiting:
                held.enter_context(silence.take())

            asking(silence.client).join()
            waiting.append(asking(silence.client))  # to see whether it has come back
            held.enter_context(silence.take())
            asking(silence.client).join()

            assert all(thread.is_alive() for thread in waiting)
            assert not silence.has_another()
            silence.listening.close()
        for thread in waiting:
            thread.join()

    def test_is_not_taken_for_well_because_of_what_was_never_sent(self) -> None:
        outage = Outage()
        with pytest.raises(GatewayUnavailable), outage.turn():
            raise GatewayUnavailable("No answer.")
        with pytest.raises(JobNotFound), outage.turn():
            raise JobNotFound("x-y")

        with outage.turn(), pytest.raises(GatewayUnavailable), outage.turn():  # one asks, and nobody else
            pass


def from_browser(*, key: str) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [(b"cookie", f"{KEY_COOKIE}={key}".encode())]})
