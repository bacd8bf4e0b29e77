"""The control room over a real gateway with real Redis: what an operator sees, and what a press does."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from shared import scripts
from shared.client import Client
from shared.connection import run
from shared.contract import Gpu
from shared.jobs import JobId, LeaseToken, WorkerId, new_job_id
from shared.keys import DEFAULT
from tests.conftest import settings_for
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server
from ui import oversight
from ui.boards import SHELL
from ui.oversight import FAILED_AT_FIRST, LOOKS_SAID, MOST_FAILED, Said, Watch

SECRET = "a prompt that is nobody's business"


@pytest.fixture
def boards(hand: Hand, client: Client) -> dict[str, str]:
    assert hand.card is CARD
    return oversight.look(client, Watch())


@pytest.fixture
def watch() -> Watch:
    return Watch()


def fail_one(client: Client, hand: Hand, code: str = "model_error") -> JobId:
    job = client.submit(SECRET)
    hand.fail(hand.take(), code, "It <broke>.")
    return job.id


def set_aside_one(client: Client, hand: Hand) -> JobId:
    job = client.submit(SECRET)
    for name in ("a-1-x", "b-2-y", "c-3-z"):
        assert run(hand.redis, scripts.claim(CARD.id, WorkerId(name), LeaseToken(new_job_id()), lease_s=30))
        hand.redis.zadd(f"{DEFAULT.prefix}leases", {job.id: 0})
        hand.redis.sadd(f"{DEFAULT.prefix}graced", job.id)
        run(hand.redis, scripts.reap(lease_s=30, max_attempts=3))
    return job.id


class Balance(HTMLParser):
    """Notes which elements are open, and fails at one that closes what is not."""

    VOID = frozenset({"br", "meta", "input", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestLooking:
    def test_each_board_has_its_place_in_the_room(self, boards: dict[str, str]) -> None:
        assert all(f'id="board-{name}"' in SHELL for name in boards)

    def test_an_idle_house_says_so_on_every_board(self, boards: dict[str, str], hand: Hand) -> None:
        assert hand.worker in boards["fleet"]
        assert "Idle" in boards["fleet"]
        assert "Nobody waits." in boards["queue"]
        assert "Nothing has failed." in boards["failed"]
        assert "No job has ended in the last 1 h." in boards["history"]

    def test_a_gpu_says_how_busy_it_is_as_far_as_its_driver_tells(self, hand: Hand, client: Client) -> None:
        hand.arrive(gpu=Gpu(uuid="GPU-1", utilization=0.97, temperature_c=62))
        assert "cpu<br>97% busy, 62 \N{DEGREE SIGN}C<" in oversight.look(client, Watch())["fleet"]

        hand.arrive(gpu=Gpu(uuid="MIG-1"))
        assert "busy" not in oversight.look(client, Watch())["fleet"]

    def test_a_house_without_workers_says_so(self, hand: Hand, client: Client) -> None:
        hand.forget_all()

        shown = oversight.look(client, Watch())

        assert "No worker is there." in shown["fleet"]
        assert "No model is known yet." in shown["queue"]

    def test_what_waits_is_told_by_lane_and_tenant_and_what_runs_by_step(self, hand: Hand, client: Client) -> None:
        client.submit("one", num_inference_steps=9)
        hand.take()
        for _ in range(3):
            client.submit("more", lane="bulk")

        shown = oversight.look(client, Watch())

        assert "interactive, step 0 of 9" in shown["fleet"]
        assert "1 job running" in shown["queue"]
        assert '<td role="cell" data-label="Jobs waiting"><span>3</span></td>' in shown["queue"]

    def test_failed_jobs_are_shown_with_the_reason_and_never_with_the_prompt(self, hand: Hand, client: Client) -> None:
        failed, aside = fail_one(client, hand), set_aside_one(client, hand)

        shown = oversight.look(client, Watch())

        assert "It &lt;broke&gt;." in shown["failed"]
        assert shown["failed"].index(aside) < shown["failed"].index(failed), "the latest first"
        assert "Set aside" in shown["failed"]
        assert "a-1-x, b-2-y, c-3-z" in shown["failed"]
        assert all(SECRET not in html for html in shown.values())

    @pytest.mark.parametrize("minutes", [60, 360, 1440])
    def test_after_jobs_the_plots_are_not_empty(self, hand: Hand, client: Client, minutes: int) -> None:
        client.submit("one", num_images=2)
        taken = hand.take()
        for index in range(2):
            hand.draw(taken, index, b"one")
        hand.finish(taken)
        fail_one(client, hand)

        watch = Watch()
        assert watch.look_back(minutes)

        for _ in range(2):  # it stays so
            history = oversight.look(client, watch)["history"]
            assert '<rect class="succeeded"' in history
            assert '<rect class="failed"' in history
            assert '<path class="median"' in history
            assert f'data-minutes="{minutes}" aria-current="true"' in history

    @pytest.mark.parametrize("minutes", [7, "60", None, [60], 60.5])
    def test_a_stretch_that_is_not_offered_is_not_looked_at(self, watch: Watch, minutes: object) -> None:
        assert not watch.look_back(minutes)
        assert watch.minutes == 60

    def test_each_look_tells_all_that_is_seen_for_an_answer_may_get_lost(
        self, boards: dict[str, str], watch: Watch, client: Client
    ) -> None:
        first, second = oversight.look(client, watch), oversight.look(client, watch)

        assert first.keys() == second.keys() == boards.keys()

    def test_what_was_seen_before_a_later_look_does_not_undo_it(self, watch: Watch) -> None:
        first, second = watch.begin(), watch.begin()

        assert watch.tell(second, {"fleet": "paused"})["fleet"] == "paused"
        assert watch.tell(first, {"fleet": "works"}) == {}
        assert watch.tell(watch.begin(), {"fleet": "works"})["fleet"] == "works"

    def test_jobs_that_were_set_aside_come_first_however_many_have_failed_since(
        self, hand: Hand, client: Client
    ) -> None:
        aside = set_aside_one(client, hand)
        failed = [fail_one(client, hand) for _ in range(FAILED_AT_FIRST + 1)]

        board = oversight.look(client, Watch())["failed"]

        assert board.index(aside) < board.index(failed[-1]) < board.index(failed[-2])
        assert board.count(f'id="failed-{aside}"') == 1
        assert SECRET not in board

    def test_more_failed_jobs_are_shown_when_asked_for(self, hand: Hand, client: Client, watch: Watch) -> None:
        failed = [fail_one(client, hand) for _ in range(FAILED_AT_FIRST + 1)]
        board = oversight.look(client, watch)["failed"]
        assert f'data-failed="{2 * FAILED_AT_FIRST}"' in board
        assert failed[0] not in board

        assert watch.show_failed(2 * FAILED_AT_FIRST)

        board = oversight.look(client, watch)["failed"]
        assert failed[0] in board
        assert "data-failed" not in board, "there are no more"

    @pytest.mark.parametrize(
        ("said", "shown"), [(-1, FAILED_AT_FIRST), (10**9, MOST_FAILED), ("40", FAILED_AT_FIRST), ([], FAILED_AT_FIRST)]
    )
    def test_no_more_failed_jobs_are_asked_for_than_the_gateway_tells_of(
        self, hand: Hand, client: Client, watch: Watch, said: object, shown: int
    ) -> None:
        fail_one(client, hand)
        watch.show_failed(said)

        assert watch.failed == shown
        assert "Out of reach." not in oversight.look(client, watch)["notice"]

    def test_every_board_is_whole_html(self, hand: Hand, client: Client) -> None:
        fail_one(client, hand)
        client.submit("one")
        oversight.direct(client, "pause")
        watch = Watch()
        watch.say(oversight.direct(client, "pause"))
        for name, html in oversight.look(client, watch).items():
            balance = Balance()
            balance.feed(html)
            assert balance.open == [], name

    def test_while_the_gateway_is_away_the_last_sight_stays_and_that_is_said(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand
    ) -> None:
        with serving(settings_for(redis_server, s3_server)) as gateway, Client(gateway.url) as client:
            watch = Watch()
            assert hand.worker in oversight.look(client, watch)["fleet"]
            gone = gateway.url
        with Client(gone) as client:
            away = oversight.look(client, watch)
        assert "Out of reach." in away["notice"]
        assert set(away) == {"notice"}

    def test_who_is_no_operator_any_more_sees_no_more_than_before(self, watch: Watch) -> None:
        assert set(oversight.refused(watch)) == {"notice"}


class TestPressing:
    def test_the_fleet_is_paused_and_works_again(self, hand: Hand, client: Client) -> None:
        watch = Watch()
        watch.say(oversight.direct(client, "pause"))

        shown = oversight.look(client, watch)
        assert "begins nothing more" in shown["notice"]
        assert "All workers are paused" in shown["fleet"]
        assert 'data-order="resume"' in shown["fleet"]
        assert hand.take_any() is None

        oversight.direct(client, "resume")
        assert "All workers are paused" not in oversight.look(client, Watch())["fleet"]

    def test_one_worker_is_drained(self, hand: Hand, client: Client) -> None:
        oversight.direct(client, "drain", hand.worker)

        shown = oversight.look(client, Watch())

        assert "Drained" in shown["fleet"]
        assert f'data-order="resume" data-worker="{hand.worker}"' in shown["fleet"]

    def test_a_worker_that_is_gone_needs_no_orders(self, hand: Hand, client: Client) -> None:
        assert hand.card is CARD
        assert "is gone" in oversight.direct(client, "pause", "nobody-1-x").words

    def test_a_failed_job_is_sent_again_once(self, hand: Hand, client: Client) -> None:
        job_id = set_aside_one(client, hand)

        first, second = oversight.resend(client, job_id), oversight.resend(client, job_id)

        assert first == second
        assert "Sent again." in first.words
        again = hand.take().job
        assert again.retry_of == job_id
        assert hand.take_any() is None
        assert f"sent again as <code>{again.id}</code>" in oversight.look(client, Watch())["failed"]

    def test_a_job_that_is_gone_is_not_sent_again(self, hand: Hand, client: Client) -> None:
        job_id = fail_one(client, hand)
        client.delete(job_id)

        assert "is gone" in oversight.resend(client, job_id).words

    def test_what_came_of_a_press_is_told_for_a_while(self, hand: Hand, client: Client) -> None:
        watch, told = Watch(), 0
        watch.say(oversight.direct(client, "pause", hand.worker))
        while oversight.look(client, watch)["notice"]:
            told += 1

        assert told == LOOKS_SAID

    def test_what_came_of_a_press_is_told_by_a_look_that_was_under_way(self, watch: Watch) -> None:
        under_way, after = watch.begin(), "<p>Worker a begins nothing more.</p>"

        watch.say(Said("a", after))

        assert watch.tell(under_way, {})["notice"] == after
        assert watch.tell(watch.begin(), {})["notice"] == after

    def test_presses_side_by_side_are_all_told_of_until_the_next_about_the_same(self, watch: Watch) -> None:
        for about, words in (("a", "a pauses"), ("b", "b pauses"), ("a", "a works")):
            watch.say(Said(about, words))
        assert watch.tell(watch.begin(), {})["notice"] == "b pausesa works"

        watch.say(Said("", "all pause"))
        assert watch.tell(watch.begin(), {})["notice"] == "all pause"

    def test_a_press_that_meets_no_gateway_says_so(self, gateway: Serving) -> None:
        assert gateway.url
        with Client("http://127.0.0.1:9") as client:
            assert "No answer." in oversight.direct(client, "pause").words
            assert "No answer." in oversight.resend(client, new_job_id()).words
