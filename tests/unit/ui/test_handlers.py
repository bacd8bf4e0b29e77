"""What a visitor sees, from a real gateway; scripted answers only where a failure must happen."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from shared.client import Client
from shared.connection import run
from shared.contract import JobBody
from shared.errors import JobNotFound
from shared.generation import STRONG_VARIATION, SUBTLE_VARIATION, Scheduler
from shared.jobs import JobStatus
from shared.scripts import announce, leave
from tests.integration.keyholders import guarded, make_key
from tests.integration.serving import CARD, Hand, Serving
from tests.unit.ui.pressing import form_of
from ui.feed import Asked
from ui.handlers import BUSY_POLL_S, IDLE_POLL_S, Answer, Handlers, View
from ui.visitors import Person

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
        assert '<strong>Tiny</strong> <span>1 worker ready</span> <span class="words">test/tiny</span>' in first.served
        assert first.notices == ""

    def test_a_demo_model_is_called_one_and_offers_prompts_that_it_understands(
        self, hand: Hand, gateway: Serving, handlers: Handlers, person: Person
    ) -> None:
        hand.forget_all()
        card = CARD.model_copy(update={"is_demo": True, "example_prompts": ('a "big" circle',)})
        with Hand(gateway.settings, card):
            view = handlers.look(person, View(), Asked(), {})

        assert "Draws simple shapes. For real pictures see the README." in view.served
        assert 'data-value="a &quot;big&quot; circle"' in view.examples

    def test_the_form_comes_back_as_this_browser_left_it(self, hand: Hand, handlers: Handlers, person: Person) -> None:
        assert hand.card.id == CARD.id
        draft = {"model": CARD.id, "prompt": "half a thought", "num_inference_steps": 9, "seed": 5, "size": "1x1"}

        controls = handlers.look(person, View(), Asked(), draft).controls

        assert controls["prompt"].value == "half a thought"
        assert controls["num_inference_steps"].value == 9
        assert controls["seed"].value == 5
        assert controls["size"].value == "64x64", "a size that the model does not have is left out"

    def test_another_models_settings_are_not_taken_over(self, hand: Hand, handlers: Handlers, person: Person) -> None:
        assert hand.card.id == CARD.id
        draft = {"model": "some/other", "prompt": "kept", "num_inference_steps": 9, "num_images": 3}

        controls = handlers.look(person, View(), Asked(), draft).controls

        assert (controls["prompt"].value, controls["num_images"].value) == ("kept", 3)
        assert controls["num_inference_steps"].value == CARD.defaults.num_inference_steps

    def test_a_form_in_use_is_left_alone_when_workers_come_and_go(
        self, hand: Hand, first: View, handlers: Handlers, person: Person
    ) -> None:
        draft = {"model": CARD.id, "num_inference_steps": 9}
        hand.forget_all()
        run(hand.redis, announce(CARD))
        gone = handlers.look(person, first, Asked(), draft)
        hand.arrive(ready=False)
        warming = handlers.look(person, gone, Asked(), draft)

        assert "No worker is ready." in gone.notices
        assert "A worker is loading the model." in warming.notices
        for later in (gone, warming):
            assert "no workers ready" in later.served
            assert later.controls == first.controls
            assert later.can_generate, "what is sent waits for a worker"

    def test_another_choice_of_model_brings_its_limits_and_keeps_the_words(
        self, first: View, gateway: Serving, handlers: Handlers, person: Person
    ) -> None:
        defaults = CARD.defaults.model_copy(update={"num_inference_steps": 8})
        bigger = CARD.model_copy(update={"id": "test/bigger", "title": "Bigger", "defaults": defaults})
        draft = {"model": CARD.id, "prompt": "kept", "num_inference_steps": 9, "seed": 3}
        with Hand(gateway.settings, bigger):
            both = handlers.look(person, first, Asked(), draft)
            chosen = handlers.look(person, both, Asked(), {**draft, "model": bigger.id})
            stays = handlers.look(person, chosen, Asked(), {**draft, "model": bigger.id, "num_inference_steps": 11})

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
        self,
        hand: Hand,
        gateway: Serving,
        handlers: Handlers,
        person: Person,
        *,
        states: tuple[str | None, str | None],
        shown: str,
    ) -> None:
        successor = CARD.model_copy(update={"id": "test/successor", "title": "Successor"})
        with Hand(gateway.settings, successor) as other:
            hand.forget_all()
            for one, state in zip((hand, other), states, strict=True):
                run(one.redis, announce(one.card))
                if state is not None:
                    one.arrive(ready=state == "ready")

            view = handlers.look(person, View(), Asked(), {"model": CARD.id, "prompt": "kept"})

        assert view.card is not None
        assert view.card.id == view.controls["model"].value == shown
        assert view.controls["prompt"].value == "kept"
        assert (CARD.id in {model.id for model in view.models}) == (shown == CARD.id), "nor offered"

    def test_a_form_in_use_stays_with_its_model_while_its_worker_restarts(
        self, hand: Hand, gateway: Serving, handlers: Handlers, person: Person
    ) -> None:
        first = handlers.look(person, View(), Asked(), {"model": CARD.id, "negative_prompt": "mine"})
        with Hand(gateway.settings, CARD.model_copy(update={"id": "test/successor"})) as other:
            run(other.redis, announce(other.card))
            other.arrive(ready=True)
            run(hand.redis, leave(hand.worker, CARD.id))

            view = handlers.look(person, first, Asked(), {"model": CARD.id, "negative_prompt": "mine"})

        assert view.card is not None
        assert (view.card.id, view.controls["negative_prompt"].value) == (CARD.id, "mine")
        assert "no workers ready" in view.served


Generate = Callable[..., JobBody]
Pressed = Callable[..., Answer]


def card_of(view: View, job: JobBody) -> str:
    return view.feed.cards[job.id]


class TestWatching:
    def test_a_waiting_job_shows_its_place(
        self, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        ahead, behind = generate(), generate()

        view = handlers.look(person, first, Asked(), {})

        assert "You are next" in card_of(view, ahead)
        assert "1 before you" in card_of(view, behind)
        assert (view.poll_s, view.can_generate) == (BUSY_POLL_S, True), "the next one may be asked for at once"

    def test_a_running_job_shows_its_step_and_a_preview(
        self, hand: Hand, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        job = generate(num_inference_steps=20)
        taken = hand.take()
        starting = handlers.look(person, first, Asked(), {})
        hand.show(taken, 7, JPEG)
        drawing = handlers.look(person, starting, Asked(), {})

        assert "Starting" in card_of(starting, job)
        assert "previews/" not in card_of(starting, job)
        assert "Drawing: step 7 of 20" in card_of(drawing, job)
        assert f'src="previews/{job.id}?version=1-7"' in card_of(drawing, job)

    def test_each_picture_appears_as_it_is_done(
        self, hand: Hand, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        job = generate(num_images=3)
        taken = hand.take()
        hand.draw(taken, 0, b"first")

        html = card_of(handlers.look(person, first, Asked(), {}), job)

        assert f'data-file="pictures/{job.id}/0.png"' in html
        assert f"pictures/{job.id}/1.png" not in html
        assert "1 of 3 pictures done" in html

    def test_a_page_without_jobs_under_way_looks_less_often(
        self, hand: Hand, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        job = generate(num_images=2, output_format="jpeg")
        taken = hand.take()
        for index in range(2):
            hand.draw(taken, index, b"picture")
        hand.finish(taken)

        done = handlers.look(person, first, Asked(), {})

        assert f'download="darkroom-{job.id}-1.jpg"' in card_of(done, job)
        assert done.poll_s == IDLE_POLL_S

    def test_a_failure_says_its_code_and_its_message(
        self, hand: Hand, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        job = generate()
        hand.fail(hand.take(), "out_of_memory", "Ask for a <smaller> one.")

        html = card_of(handlers.look(person, first, Asked(), {}), job)

        assert "Ask for a &lt;smaller&gt; one. (out_of_memory)" in html


class TestPressing:
    @pytest.fixture
    def pressed(self, handlers: Handlers, person: Person, first: View) -> Pressed:
        def press(what: str, job: JobBody, index: int = 0) -> Answer:
            return handlers.act(person, handlers.look(person, first, Asked(), {}), what, job.id, index)

        return press

    @pytest.mark.parametrize("is_running", [False, True])
    def test_cancel_ends_a_job(self, pressed: Pressed, hand: Hand, generate: Generate, *, is_running: bool) -> None:
        job = generate()
        if is_running:
            hand.take()

        answer = pressed("cancel", job)

        assert answer.job is not None
        assert answer.job.status is JobStatus.CANCELED

    @pytest.mark.parametrize("what", ["cancel", "retry", "delete", "again", "nonsense"])
    def test_nothing_is_done_with_a_job_of_another_visitor(self, pressed: Pressed, client: Client, what: str) -> None:
        foreign = client.acting(visitor="another").submit("theirs")

        answer = pressed(what, foreign)

        assert (answer.job, answer.gone, answer.refusal) == (None, None, ""), "its star stays"
        assert bool(answer.words) == (what != "nonsense")
        assert client.acting(visitor="another").job(foreign.id).status is JobStatus.QUEUED

    @pytest.mark.parametrize("what", ["cancel", "again"])
    def test_a_press_is_heard_though_the_page_has_forgotten_what_it_showed(
        self, handlers: Handlers, person: Person, generate: Generate, what: str
    ) -> None:
        assert handlers.act(person, View(), what, generate().id, 0).job is not None

    def test_a_press_that_the_gateway_can_not_hear_of_says_so(self, handlers: Handlers, generate: Generate) -> None:
        with Client("http://127.0.0.1:1") as nowhere:
            assert handlers.act(Person(nowhere), View(), "cancel", generate().id, 0).words

    def test_delete_takes_job_and_pictures_away(self, pressed: Pressed, person: Person, generate: Generate) -> None:
        job = generate()

        answer = pressed("delete", job)

        assert answer.gone == job.id
        with pytest.raises(JobNotFound):
            person.client.job(job.id)

    def test_a_job_that_another_tab_deleted_leaves_the_page(
        self, first: View, handlers: Handlers, person: Person, generate: Generate
    ) -> None:
        job = generate()
        view = handlers.look(person, first, Asked(), {})
        person.client.delete(job.id)

        assert handlers.act(person, view, "cancel", job.id, 0).gone == job.id

    def test_again_asks_for_the_same_with_another_seed(self, pressed: Pressed, generate: Generate) -> None:
        job = generate(num_images=2, guidance_scale=3.5)

        again = pressed("again", job).job

        assert again is not None
        assert again.params.model_copy(update={"seed": 0}) == job.params.model_copy(update={"seed": 0})
        assert again.params.seed != job.params.seed

    @pytest.mark.parametrize(
        ("what", "strength"), [("vary-subtle", SUBTLE_VARIATION), ("vary-strong", STRONG_VARIATION)]
    )
    def test_a_variation_keeps_the_pictures_seed(
        self, pressed: Pressed, generate: Generate, what: str, strength: float
    ) -> None:
        job = generate(num_images=3)

        varied = pressed(what, job, index=2).job

        assert varied is not None
        assert (varied.params.seed, varied.params.variation_strength) == (job.params.seed + 2, strength)
        assert varied.params.variation_seed is not None

    def test_a_variation_of_a_variation_says_which_picture_it_varies(
        self, pressed: Pressed, generate: Generate
    ) -> None:
        job = generate()
        once = pressed("vary-strong", job)
        assert once.job is not None

        twice = pressed("vary-subtle", once.job)

        assert twice.job is not None
        assert twice.job.params.seed == job.params.seed
        assert (once.words, str(job.params.seed) in twice.words) == ("", True)

    def test_reuse_puts_the_settings_into_the_form(self, pressed: Pressed, generate: Generate) -> None:
        job = generate(prompt="two cubes", num_inference_steps=9, num_images=2)

        fitted = pressed("reuse", job, index=1).fitted

        assert fitted is not None
        said = {name: control.value for name, control in fitted.controls.items()}
        assert (said["prompt"], said["num_inference_steps"]) == ("two cubes", 9)
        assert (said["seed"], said["seed_locked"]) == (job.params.seed + 1, True)

    def test_a_failed_job_is_tried_again(self, pressed: Pressed, hand: Hand, generate: Generate) -> None:
        job = generate()
        hand.fail(hand.take(), "model_error", "It broke.")

        again = pressed("retry", job).job

        assert again is not None
        assert (again.retry_of, again.status) == (job.id, JobStatus.QUEUED)

    def test_what_can_not_be_tried_again_is_said(self, pressed: Pressed, generate: Generate) -> None:
        answer = pressed("retry", generate())

        assert 'data-code="not_retryable"' in answer.refusal
        assert answer.words


class TestRefusals:
    def test_every_wrong_field_is_named_as_its_control_is(
        self, first: View, handlers: Handlers, person: Person
    ) -> None:
        wrong = form_of(first, prompt="  ", num_inference_steps=99, seed=2**32, seed_locked=True, size="63x64")

        answer = handlers.generate(person, first.card, wrong)

        assert answer.job is None
        assert set(answer.problems.by_slot) == {"prompt", "num_inference_steps", "seed", "size"}

    def test_a_value_of_the_wrong_kind_is_a_problem_too(self, first: View, handlers: Handlers, person: Person) -> None:
        wrong = form_of(first, prompt="fine", seed=1.5, seed_locked=True, scheduler="nonsense")

        assert set(handlers.generate(person, first.card, wrong).problems.by_slot) == {"seed", "scheduler"}

    @pytest.mark.parametrize("seed", [None, "", -1])
    def test_no_seed_and_minus_one_draw_a_new_one_each_time(
        self, first: View, handlers: Handlers, person: Person, seed: object
    ) -> None:
        form = form_of(first, prompt="x", seed=seed, seed_locked=True)

        jobs = [handlers.generate(person, first.card, form).job for _ in range(2)]

        assert len({job.params.seed for job in jobs if job is not None}) == 2

    def test_everything_in_the_form_is_asked_for(self, first: View, handlers: Handlers, person: Person) -> None:
        said = {
            "prompt": "a cube",
            "negative_prompt": "a sphere",
            "size": "64x64",
            "num_inference_steps": 7,
            "guidance_scale": 3.5,
            "seed": 42,
            "seed_locked": True,
            "num_images": 2,
            "scheduler": "ddim",
            "output_format": "webp",
            "output_size": "512x512",
        }

        job = handlers.generate(person, first.card, form_of(first, **said)).job
        assert job is not None
        params = job.params

        assert (params.prompt, params.negative_prompt, str(params.size)) == ("a cube", "a sphere", "64x64")
        assert (params.num_inference_steps, params.guidance_scale, params.seed) == (7, 3.5, 42)
        assert (params.num_images, params.scheduler, params.output_format) == (2, Scheduler.DDIM, "webp")
        assert str(params.output_size) == "512x512"

    def test_a_full_queue_says_when_to_come_back(self, first: View, handlers: Handlers) -> None:
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
            answer = handlers.generate(Person(client), first.card, form_of(first, prompt="x"))

        assert answer.job is None
        assert 'data-code="queue_full"' in answer.refusal
        assert "Try again in 7 s." in answer.refusal

    def test_who_asks_too_often_is_not_told_of_an_outage(
        self, first: View, handlers: Handlers, gateway: Serving
    ) -> None:
        with (
            guarded(gateway.settings, max_requests_per_minute=1) as served,
            Client(served.url, api_key=make_key(served, "ann").key) as client,
        ):
            seen = handlers.look(Person(client), first, Asked(), {})

        assert "Not so fast." in seen.notices
        assert "Out of reach" not in seen.notices
