"""What a visitor sees, from a real gateway; scripted answers only where a failure must happen."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from shared.client import Client
from shared.connection import run
from shared.generation import Scheduler
from shared.jobs import JobId, JobStatus, new_job_id
from shared.scripts import announce
from tests.integration.serving import CARD, Hand, Serving
from tests.unit.ui.pressing import form_of
from ui.handlers import BUSY_POLL_S, IDLE_POLL_S, Handlers, View
from ui.styles import read_styles

JPEG = b"\xff\xd8 a preview"


class TestOpening:
    def test_the_form_has_the_models_sizes_limits_and_defaults(self, first: View) -> None:
        controls = first.controls

        assert controls["size"].choices == (("Square 1:1\n64 \N{MULTIPLICATION SIGN} 64", "64x64"),)
        assert (controls["num_inference_steps"].value, controls["num_inference_steps"].maximum) == (4, 50)
        assert (controls["guidance_scale"].value, controls["guidance_scale"].maximum) == (2.0, 30.0)
        assert controls["scheduler"].choices == (("Euler", "euler"), ("DDIM", "ddim"))
        assert controls["num_images"].maximum == CARD.max_images
        assert first.can_generate
        assert first.poll_s == IDLE_POLL_S

    def test_it_says_which_model_is_served_and_by_how_many(self, first: View) -> None:
        assert "<strong>Tiny</strong> <span>test/tiny</span> <span>1 worker ready</span>" in first.served
        assert first.notices == ""

    def test_a_demo_model_is_called_one_and_offers_prompts_that_it_understands(
        self, hand: Hand, gateway: Serving, handlers: Handlers
    ) -> None:
        hand.forget_all()
        card = CARD.model_copy(update={"is_demo": True, "example_prompts": ('a "big" circle',)})
        with Hand(gateway.settings, card):
            view = handlers.look(View(), None, {})

        assert "Demo model:" in view.notices
        assert 'data-value="a &quot;big&quot; circle"' in view.examples

    def test_the_form_comes_back_as_this_browser_left_it(self, hand: Hand, handlers: Handlers) -> None:
        assert hand.card.id == CARD.id
        draft = {"model": CARD.id, "prompt": "half a thought", "num_inference_steps": 9, "seed": 5, "size": "1x1"}

        controls = handlers.look(View(), None, draft).controls

        assert controls["prompt"].value == "half a thought"
        assert controls["num_inference_steps"].value == 9
        assert controls["seed"].value == 5
        assert controls["size"].value == "64x64", "a size that the model does not have is left out"

    def test_another_models_settings_are_not_taken_over(self, hand: Hand, handlers: Handlers) -> None:
        assert hand.card.id == CARD.id
        draft = {"model": "some/other", "prompt": "kept", "num_inference_steps": 9, "num_images": 3}

        controls = handlers.look(View(), None, draft).controls

        assert (controls["prompt"].value, controls["num_images"].value) == ("kept", 3)
        assert controls["num_inference_steps"].value == CARD.defaults.num_inference_steps

    def test_a_form_in_use_is_left_alone_when_workers_come_and_go(
        self, hand: Hand, first: View, handlers: Handlers
    ) -> None:
        draft = {"model": CARD.id, "num_inference_steps": 9}
        hand.forget_all()
        run(hand.redis, announce(CARD))
        gone = handlers.look(first, None, draft)
        hand.arrive(ready=False)
        warming = handlers.look(gone, None, draft)

        assert "No worker is ready." in gone.notices
        assert "A worker is loading the model." in warming.notices
        for later in (gone, warming):
            assert "no workers ready" in later.served
            assert later.controls == first.controls
            assert later.can_generate, "what is sent waits for a worker"

    def test_another_choice_of_model_brings_its_limits_and_keeps_the_words(
        self, first: View, gateway: Serving, handlers: Handlers
    ) -> None:
        defaults = CARD.defaults.model_copy(update={"num_inference_steps": 8})
        bigger = CARD.model_copy(update={"id": "test/bigger", "title": "Bigger", "defaults": defaults})
        draft = {"model": CARD.id, "prompt": "kept", "num_inference_steps": 9, "seed": 3}
        with Hand(gateway.settings, bigger):
            both = handlers.look(first, None, draft)
            chosen = handlers.look(both, None, {**draft, "model": bigger.id})
            stays = handlers.look(chosen, None, {**draft, "model": bigger.id, "num_inference_steps": 11})

        assert set(both.controls["model"].choices or ()) == {("Tiny", CARD.id), ("Bigger", bigger.id)}
        assert both.controls["num_inference_steps"].value == 9
        assert (chosen.controls["prompt"].value, chosen.controls["seed"].value) == ("kept", 3)
        assert chosen.controls["num_inference_steps"].value == 8
        assert "Bigger" in chosen.served
        assert stays.controls == chosen.controls

    @pytest.mark.parametrize(
        ("states", "shown"),
        [
            ((None, "ready"), "test/successor"),
            ((None, "warming"), "test/successor"),
            (("warming", "ready"), "test/successor"),
            (("warming", "warming"), CARD.id),
            ((None, None), CARD.id),
        ],
    )
    def test_the_model_of_the_last_visit_is_kept_unless_only_others_are_served(
        self, hand: Hand, gateway: Serving, handlers: Handlers, states: tuple[str | None, str | None], shown: str
    ) -> None:
        successor = CARD.model_copy(update={"id": "test/successor", "title": "Successor"})
        with Hand(gateway.settings, successor) as other:
            hand.forget_all()
            for one, state in zip((hand, other), states, strict=True):
                run(one.redis, announce(one.card))
                if state is not None:
                    one.arrive(ready=state == "ready")

            view = handlers.look(View(), None, {"model": CARD.id, "prompt": "kept"})

        assert view.card is not None
        assert view.card.id == view.controls["model"].value == shown
        assert view.controls["prompt"].value == "kept"
        assert (CARD.id in {model.id for model in view.models}) == (shown == CARD.id), "nor offered"

    def test_a_job_that_is_gone_leaves_an_empty_tray(self, first: View, handlers: Handlers) -> None:
        view = handlers.look(first, new_job_id(), {})

        assert view.job is None
        assert 'class="tray empty"' in view.tray
        assert view.can_generate


class TestWatching:
    def test_a_waiting_job_shows_its_place(
        self, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        ahead, behind = generate(), generate()

        assert "You are next" in handlers.look(first, ahead, {}).tray
        view = handlers.look(first, behind, {})

        assert "1 before you" in view.tray
        assert (view.is_busy, view.can_generate, view.poll_s) == (True, False, BUSY_POLL_S)

    def test_a_running_job_shows_its_step_and_a_preview(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate(num_inference_steps=20)
        taken = hand.take()
        starting = handlers.look(first, job_id, {})
        hand.show(taken, 7, JPEG)
        drawing = handlers.look(starting, job_id, {})

        assert "Starting" in starting.tray
        assert "data:image" not in starting.tray
        assert "Drawing: step 7 of 20" in drawing.tray
        assert 'aria-valuenow="35"' in drawing.tray
        assert "data:image/jpeg;base64," in drawing.tray

    def test_each_picture_appears_as_it_is_done(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate(num_images=3, seed=10)
        taken = hand.take()
        hand.draw(taken, 0, b"first")

        view = handlers.look(first, job_id, {})

        assert f'src="pictures/{job_id}/0.png"' in view.tray
        assert f"pictures/{job_id}/1.png" not in view.tray
        assert "1 of 3 pictures done" in view.tray
        assert view.tray.count("<li class=") == 3

    def test_a_finished_job_offers_pictures_files_and_seeds_and_is_not_asked_for_again(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate(num_images=2, seed=10, output_format="jpeg")
        taken = hand.take()
        for index in range(2):
            hand.draw(taken, index, b"picture")
        hand.finish(taken)
        done = handlers.look(first, job_id, {})
        hand.forget_all()
        hand.arrive()
        later = handlers.look(done, job_id, {})

        assert f'download="darkroom-{job_id}-1.jpg"' in done.tray
        assert 'data-pick="seed" data-value="11"' in done.tray
        assert (done.is_busy, done.can_generate) == (False, True)
        assert later.tray == done.tray

    def test_a_failure_says_its_code_and_its_message(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        job_id = generate()
        hand.fail(hand.take(), "out_of_memory", "Ask for a <smaller> one.")

        tray = handlers.look(first, job_id, {}).tray

        assert "Failed: out_of_memory" in tray
        assert "Ask for a &lt;smaller&gt; one." in tray

    @pytest.mark.parametrize("is_running", [False, True])
    def test_cancel_ends_a_job(
        self, hand: Hand, first: View, handlers: Handlers, generate: Callable[..., JobId], is_running: bool
    ) -> None:
        job_id = generate()
        if is_running:
            hand.take()

        assert handlers.cancel(job_id).problems == ""
        view = handlers.look(first, job_id, {})

        assert view.job is not None
        assert view.job.status is JobStatus.CANCELED
        assert "Canceled" in view.tray

    @pytest.mark.usefixtures("hand")
    def test_cancel_of_nothing_is_nothing(self, handlers: Handlers) -> None:
        assert handlers.cancel(None).problems == ""
        assert handlers.cancel(new_job_id()).problems == ""

    def test_two_visitors_see_their_own_jobs(
        self, first: View, handlers: Handlers, generate: Callable[..., JobId]
    ) -> None:
        mine, yours = generate(prompt="mine"), generate(prompt="yours")

        my_view, your_view = handlers.look(first, mine, {}), handlers.look(first, yours, {})

        assert ("mine" in my_view.tray, "yours" in my_view.tray) == (True, False)
        assert ("mine" in your_view.tray, "yours" in your_view.tray) == (False, True)


class TestRefusals:
    def test_every_wrong_field_is_named_as_its_control_is(self, first: View, handlers: Handlers) -> None:
        wrong = form_of(first, prompt="  ", num_inference_steps=99, seed=2**32, size="63x64")

        known, unknown = handlers.generate(wrong, first.card), handlers.generate(wrong, None)

        assert known.job_id is unknown.job_id is None
        assert known.by_slot.keys() == {"prompt", "num_inference_steps", "seed", "size"}
        assert known.by_slot == unknown.by_slot, "the page knows what the gateway would say"

    def test_a_value_of_the_wrong_kind_is_a_problem_too(self, first: View, handlers: Handlers) -> None:
        answer = handlers.generate(form_of(first, prompt="fine", seed=1.5, scheduler="nonsense"), None)

        assert answer.by_slot.keys() == {"seed", "scheduler"}

    @pytest.mark.parametrize("seed", [None, "", -1])
    def test_no_seed_and_minus_one_draw_a_new_one_each_time(
        self, first: View, handlers: Handlers, client: Client, seed: object
    ) -> None:
        ids = [handlers.generate(form_of(first, prompt="x", seed=seed), first.card).job_id for _ in range(2)]

        seeds = {client.job(str(job_id)).params.seed for job_id in ids}

        assert len(seeds) == 2

    def test_everything_in_the_form_is_asked_for(self, first: View, handlers: Handlers, client: Client) -> None:
        said = {
            "prompt": "a cube",
            "negative_prompt": "a sphere",
            "size": "64x64",
            "num_inference_steps": 7,
            "guidance_scale": 3.5,
            "seed": 42,
            "num_images": 2,
            "scheduler": "ddim",
            "output_format": "webp",
            "output_size": "512x512",
        }

        params = client.job(str(handlers.generate(form_of(first, **said), first.card).job_id)).params

        assert (params.prompt, params.negative_prompt, str(params.size)) == ("a cube", "a sphere", "64x64")
        assert (params.num_inference_steps, params.guidance_scale, params.seed) == (7, 3.5, 42)
        assert (params.num_images, params.scheduler, params.output_format) == (2, Scheduler.DDIM, "webp")
        assert str(params.output_size) == "512x512"

    def test_a_full_queue_says_when_to_come_back(self, first: View) -> None:
        problem = {
            "type": "about:blank",
            "title": "Too many requests",
            "status": 429,
            "detail": "9 jobs are waiting already. Try again in 7 s.",
            "code": "queue_full",
        }

        def refuse(_request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(429, json=problem, headers={"Retry-After": "7"})

        with Client("http://gateway.test", transport=httpx2.MockTransport(refuse)) as client:
            answer = Handlers(client, read_styles()).generate(form_of(first, prompt="x"), first.card)

        assert answer.job_id is None
        assert 'data-code="queue_full"' in answer.problems
        assert "Try again in 7 s." in answer.problems
