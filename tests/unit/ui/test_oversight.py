"""The control room over a real gateway with real Redis: what an operator sees, and what a press does."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from shared import scripts
from shared.client import Client
from shared.connection import run
from shared.jobs import JobId, LeaseToken, WorkerId, new_job_id
from shared.keys import DEFAULT
from tests.conftest import settings_for
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server
from ui import oversight
from ui.boards import SHELL
from ui.oversight import LOOKS_SAID, Boards

SECRET = "a prompt that is nobody's business"


@pytest.fixture
def boards(hand: Hand, client: Client) -> Boards:
    assert hand.card is CARD
    return oversight.look(client, Boards())


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
    def test_each_board_has_its_place_in_the_room(self, boards: Boards) -> None:
        assert all(f'id="board-{name}"' in SHELL for name in boards.shown)

    def test_an_idle_house_says_so_on_every_board(self, boards: Boards, hand: Hand) -> None:
        assert hand.worker in boards.shown["fleet"]
        assert "Idle" in boards.shown["fleet"]
        assert "Nobody waits." in boards.shown["queue"]
        assert "Nothing has failed." in boards.shown["failed"]
        assert "No job has ended in the last 1 h." in boards.shown["history"]

    def test_a_house_without_workers_says_so(self, hand: Hand, client: Client) -> None:
        hand.forget_all()

        shown = oversight.look(client, Boards()).shown

        assert "No worker is there." in shown["fleet"]
        assert "No model is known yet." in shown["queue"]

    def test_what_waits_is_told_by_lane_and_tenant_and_what_runs_by_step(self, hand: Hand, client: Client) -> None:
        client.submit("one", num_inference_steps=9)
        hand.take()
        for _ in range(3):
            client.submit("more", lane="bulk")

        shown = oversight.look(client, Boards()).shown

        assert "interactive, step 0 of 9" in shown["fleet"]
        assert "1 job running" in shown["queue"]
        assert '<td role="cell" data-label="Jobs waiting"><span>3</span></td>' in shown["queue"]

    def test_failed_jobs_are_shown_with_the_reason_and_never_with_the_prompt(self, hand: Hand, client: Client) -> None:
        failed, aside = fail_one(client, hand), set_aside_one(client, hand)

        shown = oversight.look(client, Boards()).shown

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

        boards = oversight.look(client, Boards(), minutes=minutes)

        assert boards.minutes == minutes
        history = boards.shown["history"]
        assert '<rect class="succeeded"' in history
        assert '<rect class="failed"' in history
        assert '<path class="median"' in history
        assert f'data-minutes="{minutes}" aria-current="true"' in history
        assert oversight.look(client, boards).minutes == minutes, "it stays so"

    def test_a_stretch_that_is_not_offered_is_not_looked_at(self, boards: Boards, client: Client) -> None:
        assert oversight.look(client, boards, minutes=7).minutes == 60

    def test_only_what_has_changed_is_news(self, boards: Boards, client: Client) -> None:
        assert set(boards.news_since(Boards())) == set(boards.shown)
        client.submit("one")
        later = oversight.look(client, boards)
        assert set(later.news_since(boards)) == {"queue"}

    def test_every_board_is_whole_html(self, hand: Hand, client: Client) -> None:
        fail_one(client, hand)
        client.submit("one")
        oversight.direct(client, "pause")
        for name, html in oversight.look(client, Boards(), said=oversight.direct(client, "pause")).shown.items():
            balance = Balance()
            balance.feed(html)
            assert balance.open == [], name

    def test_while_the_gateway_is_away_the_last_sight_stays_and_that_is_said(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand
    ) -> None:
        with serving(settings_for(redis_server, s3_server)) as gateway, Client(gateway.url) as client:
            boards = oversight.look(client, Boards())
            gone = gateway.url
        with Client(gone) as client:
            away = oversight.look(client, boards)
        assert hand.worker in away.shown["fleet"]
        assert "Out of reach." in away.shown["notice"]
        assert set(away.news_since(boards)) == {"notice"}

    def test_who_is_no_operator_any_more_sees_no_more_than_before(self, boards: Boards) -> None:
        away = oversight.out_of_reach(boards)

        assert set(away.news_since(boards)) == {"notice"}
        assert set(oversight.out_of_reach(Boards()).shown) == {"notice"}


class TestPressing:
    def test_the_fleet_is_paused_and_works_again(self, hand: Hand, client: Client) -> None:
        said = oversight.direct(client, "pause")

        shown = oversight.look(client, Boards(), said=said).shown
        assert "begins nothing more" in shown["notice"]
        assert "All workers are paused" in shown["fleet"]
        assert 'data-order="resume"' in shown["fleet"]
        assert hand.take_any() is None

        oversight.direct(client, "resume")
        assert "All workers are paused" not in oversight.look(client, Boards()).shown["fleet"]

    def test_one_worker_is_drained(self, hand: Hand, client: Client) -> None:
        oversight.direct(client, "drain", hand.worker)

        shown = oversight.look(client, Boards()).shown

        assert "Drained" in shown["fleet"]
        assert f'data-order="resume" data-worker="{hand.worker}"' in shown["fleet"]

    def test_a_worker_that_is_gone_needs_no_orders(self, hand: Hand, client: Client) -> None:
        assert hand.card is CARD
        assert "is gone" in oversight.direct(client, "pause", "nobody-1-x")

    def test_a_failed_job_is_sent_again_once(self, hand: Hand, client: Client) -> None:
        job_id = set_aside_one(client, hand)

        first, second = oversight.resend(client, job_id), oversight.resend(client, job_id)

        assert first == second
        assert "Sent again." in first
        again = hand.take().job
        assert again.retry_of == job_id
        assert hand.take_any() is None
        assert f"sent again as <code>{again.id}</code>" in oversight.look(client, Boards()).shown["failed"]

    def test_a_job_that_is_gone_is_not_sent_again(self, hand: Hand, client: Client) -> None:
        job_id = fail_one(client, hand)
        client.delete(job_id)

        assert "is gone" in oversight.resend(client, job_id)

    def test_what_came_of_a_press_is_told_for_a_while(self, hand: Hand, client: Client) -> None:
        boards = oversight.look(client, Boards(), said=oversight.direct(client, "pause", hand.worker))
        told = 0
        while boards.shown["notice"]:
            boards, told = oversight.look(client, boards), told + 1

        assert told == LOOKS_SAID

    def test_a_press_that_meets_no_gateway_says_so(self, gateway: Serving) -> None:
        assert gateway.url
        with Client("http://127.0.0.1:9") as client:
            assert "No answer." in oversight.direct(client, "pause")
            assert "No answer." in oversight.resend(client, new_job_id())
