"""What a visitor sees while the gateway or the queue is away, hangs or answers nonsense, and afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx2

from shared.client import Client
from shared.jobs import JobId
from tests.integration.keyholders import PAGE_KEY, guarded
from tests.integration.serving import CARD, Hand, Serving
from tests.servers import free_port, wait_until
from tests.unit.ui.pressing import form_of
from ui.handlers import Handlers, View
from ui.styles import read_styles

JPEG = b"\xff\xd8 a preview"


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
        self, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate()
        waiting = handlers.look(first, job_id, {})
        with Client(f"http://127.0.0.1:{free_port()}") as nobody:
            away = Handlers(nobody, read_styles()).look(waiting, job_id, {})
            refused = Handlers(nobody, read_styles()).generate(form_of(first, prompt="x"), first.card)
            not_canceled = Handlers(nobody, read_styles()).cancel(job_id)
        back = handlers.look(away, job_id, {})

        assert "The gateway does not answer." in away.notices
        assert "tries again by itself" in away.notices
        assert "127.0.0.1" not in away.notices, "its address is the operator's business"
        assert away.tray == waiting.tray
        assert '<span class="lamp off"></span><strong>Tiny</strong>' in away.served
        assert "ready" not in away.served
        assert back.served == first.served
        assert 'data-code="gateway_unavailable"' in refused.problems
        assert "may have been accepted" in refused.problems
        assert "may have been accepted" not in not_canceled.problems
        assert 'data-code="gateway_unavailable"' in not_canceled.problems
        assert back.notices == ""

    def test_a_gateway_that_hangs_holds_one_look_up_and_not_every_visitors(self, first: View, gateway: Serving) -> None:
        freezer = Freezer()
        with Client(gateway.url, transport=freezer) as client:
            handlers = Handlers(client, read_styles())
            handlers.look(first, None, {})
            freezer.wait_s = 60
            held = threading.Thread(target=handlers.look, args=(first, None, {}))
            held.start()
            wait_until(lambda: freezer.asked == 2, limit_s=20, what="a look hangs")

            told = handlers.look(first, None, {})
            asked = freezer.asked
            freezer.thaw.set()
            held.join()
            back = handlers.look(told, None, {})

        assert "The gateway does not answer." in told.notices
        assert asked == 2, "it was told by the look that failed"
        assert (back.notices, back.served) == ("", first.served)

    def test_an_answer_of_something_else_is_said_without_its_address(self, first: View) -> None:
        def stumble(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(404, html="<h1>Nothing here</h1>")

        with Client("http://gateway.test", transport=httpx2.MockTransport(stumble)) as client:
            away = Handlers(client, read_styles()).look(first, None, {})
            refused = Handlers(client, read_styles()).generate(form_of(first, prompt="x"), first.card)

        assert "makes no sense here" in away.notices
        assert 'data-code="unexpected_answer"' in refused.problems
        assert "gateway.test" not in away.notices + refused.problems

    def test_a_proxy_whose_gateway_is_away_is_as_if_it_were_away_itself(self, first: View) -> None:
        def stumble(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(502, html="<h1>Bad gateway</h1>")

        with Client("http://gateway.test", transport=httpx2.MockTransport(stumble)) as client:
            away = Handlers(client, read_styles()).look(first, None, {})

        assert "Out of reach" in away.notices

    def test_a_page_whose_key_the_gateway_does_not_know_says_who_can_mend_that(self, gateway: Serving) -> None:
        with guarded(gateway.settings) as asks_for_keys:
            for key in (None, "another-than-the-gateways"):
                with Client(asks_for_keys.url, api_key=key) as client:
                    assert "DARKROOM_PAGE_KEY" in Handlers(client, read_styles()).look(View(), None, {}).notices
            with Client(asks_for_keys.url, api_key=PAGE_KEY) as client:
                assert "DARKROOM_PAGE_KEY" not in Handlers(client, read_styles()).look(View(), None, {}).notices

    def test_a_page_opened_before_any_worker_fills_itself_in(self, hand: Hand, handlers: Handlers) -> None:
        hand.forget_all()
        before = handlers.look(View(), None, {})
        hand.arrive()
        after = handlers.look(before, None, {})

        assert "No model yet." in before.notices
        assert not before.can_generate
        assert after.can_generate
        assert after.notices == ""
        assert after.controls["size"].value == "64x64"

    def test_a_gateway_that_has_lost_its_models_puts_the_lamp_out(
        self, hand: Hand, first: View, handlers: Handlers
    ) -> None:
        hand.forget_all()

        lost = handlers.look(first, None, {})

        assert '<span class="lamp off"></span><strong>Tiny</strong>' in lost.served
        assert "ready" not in lost.served

    def test_a_lost_answer_in_the_middle_keeps_the_last_preview(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate(num_inference_steps=20)
        taken = hand.take()
        hand.show(taken, 3, JPEG)
        seen = handlers.look(first, job_id, {})
        with Client(f"http://127.0.0.1:{free_port()}") as nobody:
            away = Handlers(nobody, read_styles()).look(seen, job_id, {})

        assert away.preview == JPEG
        assert away.tray == seen.tray

    def test_words_written_before_there_was_a_model_are_kept_and_nothing_else(
        self, hand: Hand, handlers: Handlers
    ) -> None:
        assert hand.card.id == CARD.id
        placeholders = {"model": None, "prompt": "early bird", "seed": 0, "num_images": 1, "num_inference_steps": 20}

        controls = handlers.look(View(), None, placeholders).controls

        assert (controls["prompt"].value, controls["seed"].value) == ("early bird", None)
        assert controls["num_inference_steps"].value == CARD.defaults.num_inference_steps
