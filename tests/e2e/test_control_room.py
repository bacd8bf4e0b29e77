"""An operator signs in, sees who works and what waits, pauses a worker, sends a job again that was set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Route, expect

from shared import scripts
from shared.client import Client
from shared.connection import connect, run
from shared.jobs import JobError, JobId, LeaseToken, WorkerId, new_job_id
from shared.keys import DEFAULT
from tests.e2e.conftest import DESKTOP, GRACE_S, OPERATOR_KEY, PHONE, SMALL_PHONE, Darkroom
from tests.e2e.test_lost_answers import LOOKS
from tests.e2e.visitor import Visitor
from ui.oversight import FAILED_AT_FIRST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Come = Callable[..., Visitor]
SECRET = "a prompt that is nobody's business"


class Operator:
    """Somebody who has signed in with the operators' key and opened their tab."""

    def __init__(self, visitor: Visitor) -> None:
        self.page = visitor.page
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("#sign-in-key").fill(OPERATOR_KEY)
        self.page.locator("#sign-in-key").press("Enter")
        self.page.get_by_role("button", name="Sign out").wait_for()
        self.page.get_by_role("tab", name="Operators").click()
        expect(self.board("fleet").locator("tbody tr")).to_have_count(1)

    def board(self, name: str) -> Locator:
        return self.page.locator(f"#board-{name}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()


@pytest.fixture
def operators_client(darkroom: Darkroom) -> Iterator[Client]:
    """Asks as the operator; leaves the fleet working."""
    with Client(darkroom.gateway_url, api_key=OPERATOR_KEY) as client:
        yield client
        client.direct_all("resume")
        for worker in client.workers().data:
            client.direct_worker("resume", worker.id)


def kill_workers_with(darkroom: Darkroom, client: Client) -> JobId:
    """Submit a job that three workers die of; the one that lives is paused meanwhile."""
    job = client.submit(SECRET)
    redis = connect(darkroom.settings)
    try:
        for name in ("a-1-x", "b-2-y", "c-3-z"):
            claimed = run(redis, scripts.claim(job.model, WorkerId(name), LeaseToken(new_job_id()), lease_s=30))
            assert claimed is not None
            assert claimed.job.id == job.id
            # The lease has ended, and was known as renewed.
            redis.zadd(f"{DEFAULT.prefix}leases", {job.id: 0})
            redis.sadd(f"{DEFAULT.prefix}graced", job.id)
            run(redis, scripts.reap(lease_s=darkroom.settings.lease_s, max_attempts=3))
    finally:
        redis.close()
    return job.id


def fail_one(darkroom: Darkroom, client: Client) -> JobId:
    """Submit a job that a worker says it can't draw; the one that lives is paused meanwhile."""
    job, token = client.submit(SECRET), LeaseToken(new_job_id())
    redis = connect(darkroom.settings)
    try:
        claimed = run(redis, scripts.claim(job.model, WorkerId("a-1-x"), token, lease_s=30))
        assert claimed is not None
        run(redis, scripts.fail(claimed.lease, JobError(code="model_error", message="It broke.")))
    finally:
        redis.close()
    return job.id


def test_a_wrong_key_is_said_to_be_wrong_and_the_right_one_gets_in(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("button", name="Sign in").click()
    page.locator("#sign-in-key").fill("darkroom_nobody_knows_this_one")
    page.locator("#sign-in-key").press("Enter")

    expect(page.locator("#sign-in .refused")).to_be_visible()
    expect(page.locator("#sign-in .refused")).to_contain_text("not known")
    assert "key-refused" not in page.url
    page.locator("#sign-in-key").fill(OPERATOR_KEY)
    page.locator("#sign-in-key").press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()


def test_other_tabs_follow_who_signs_in_and_out(visitor: Visitor) -> None:
    other = Visitor(visitor.page.context.new_page(), visitor.page.url)
    other.open()
    expect(other.page.get_by_role("button", name="Sign in")).to_be_visible()

    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.locator("#sign-in-key").fill(OPERATOR_KEY)
    visitor.page.locator("#sign-in-key").press("Enter")
    expect(other.page.get_by_role("button", name="Sign out")).to_be_visible()

    other.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.get_by_role("button", name="Sign in")).to_be_visible()


OTHER_DARKROOM = """<!doctype html><title>Another Darkroom</title><div id="who"><span data-who="bob">bob</span></div>
<script type="module">
import { watchSignIn } from "/studio/sign_in.js";
watchSignIn();
</script>"""


def test_who_signs_out_leaves_no_search_behind(visitor: Visitor) -> None:
    Operator(visitor)
    visitor.page.get_by_role("tab", name="Pictures").click()
    field = visitor.page.locator('[data-do="search"]')
    field.fill("a secret project")
    visitor.page.locator('[data-do="only-favourites"]').click()

    visitor.page.get_by_role("button", name="Sign out").click()

    visitor.page.get_by_role("button", name="Sign in").wait_for()
    expect(visitor.generate).to_be_enabled()
    expect(field).to_have_value("")
    expect(visitor.page.locator('[data-do="only-favourites"]')).to_have_attribute("aria-pressed", "false")


def test_another_darkroom_under_a_path_of_the_same_host_says_nothing_of_who_is_signed_in_here(visitor: Visitor) -> None:
    context, url = visitor.page.context, visitor.page.url
    context.route(f"{url}other/", lambda route: route.fulfill(content_type="text/html", body=OTHER_DARKROOM))
    visitor.mark()

    other = context.new_page()
    other.goto(f"{url}other/")

    other.wait_for_function("Object.keys(localStorage).filter((name) => name.startsWith('darkroom.who')).length === 2")
    assert visitor.is_marked()


def test_who_comes_during_an_outage_is_known_once_it_ends_and_reloads_no_other_tab(
    visitor: Visitor, darkroom: Darkroom
) -> None:
    operator = Operator(visitor)
    visitor.mark()
    page = visitor.page.context.new_page()
    darkroom.gateway.stop(GRACE_S)
    try:
        page.goto(visitor.page.url)
        expect(page.locator("#who .who")).to_have_text("a key")
        expect(page.locator("#notices")).to_contain_text("does not answer")
    finally:
        darkroom.start(darkroom.gateway)

    expect(page.get_by_role("tab", name="Operators")).to_be_visible()
    name = operator.page.locator("#who .who").inner_text()
    expect(page.locator("#who .who")).to_have_text(name)
    page.get_by_role("tab", name="Operators").click()
    expect(page.locator("#board-fleet tbody tr")).to_have_count(1)
    assert visitor.is_marked()


def test_a_visitor_sees_no_operators_tab(visitor: Visitor) -> None:
    expect(visitor.page.get_by_role("tab", name="Operators")).to_have_count(0)


@pytest.mark.parametrize("size", [DESKTOP, PHONE, SMALL_PHONE], ids=["desktop", "phone", "small_phone"])
def test_a_worker_is_shown_paused_and_put_to_work_again(
    new_visitor: Come, operators_client: Client, size: tuple[int, int]
) -> None:
    operator = Operator(new_visitor(size))
    (worker,) = operators_client.workers().data
    fleet = operator.board("fleet")
    expect(fleet).to_contain_text(worker.id)
    expect(fleet).to_contain_text("Idle")
    expect(fleet).to_contain_text("GiB")

    operator.page.get_by_role("button", name=f"Pause worker {worker.id}").dblclick()  # the second meets "Resume"
    expect(fleet.locator(".state")).to_have_text("Paused")
    expect(operator.board("notice")).to_contain_text("begins nothing more")
    assert operators_client.workers().data[0].mode == "paused"

    operator.press(f"Resume worker {worker.id}")
    expect(fleet.locator(".state")).to_have_text("Idle")
    assert operator.page.evaluate("document.documentElement.scrollWidth") <= size[0], "nothing to scroll sideways"


def test_draining_is_asked_about_first(visitor: Visitor, operators_client: Client) -> None:
    operator = Operator(visitor)

    operator.press("Drain all")
    operator.press("Let it work")
    assert operators_client.queue().mode == "work"
    operator.press("Drain all")
    operator.page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()

    expect(operator.board("fleet")).to_contain_text("All workers are drained")
    assert operators_client.queue().mode == "drained"
    operator.press("Resume all")
    expect(operator.page.get_by_role("button", name="Pause all")).to_be_visible()


def test_a_drained_worker_ends_its_job_or_hands_it_back_and_can_be_taken_away(
    visitor: Visitor, darkroom: Darkroom, operators_client: Client
) -> None:
    (worker,) = operators_client.workers().data
    with Client(darkroom.gateway_url, api_key=darkroom.page_key, visitor="somebody") as owner:
        job = owner.submit(SECRET, num_inference_steps=100, num_images=8, reuse=False)
        operator = Operator(visitor)
        fleet = operator.board("fleet")
        expect(fleet.locator(".state")).to_have_text("Drawing")

        operator.press(f"Drain worker {worker.id}")
        operator.page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
        expect(fleet.locator(".state")).to_have_text("Drained")
        held = operators_client.workers().data[0].jobs
        darkroom.worker.stop(GRACE_S)

        expect(fleet.locator("tbody tr")).to_have_count(0)
        darkroom.start(darkroom.worker)
        expect(fleet.locator(".state")).to_have_count(1)
        assert owner.wait(job.id, timeout_s=300).status == "succeeded"
        assert owner.job(job.id).attempt == 1, "handing back is no failure"
    assert held == 0


def test_a_job_that_was_set_aside_is_sent_again_and_drawn(
    visitor: Visitor, darkroom: Darkroom, operators_client: Client
) -> None:
    operator = Operator(visitor)
    (worker,) = operators_client.workers().data
    operator.press(f"Pause worker {worker.id}")
    expect(operator.board("fleet").locator(".state")).to_have_text("Paused")
    with Client(darkroom.gateway_url, api_key=darkroom.page_key, visitor="somebody") as owner:
        job_id = kill_workers_with(darkroom, owner)
        row = operator.page.locator(f"#failed-{job_id}")
        expect(row).to_contain_text("Set aside")
        expect(row).to_contain_text("worker_lost")

        operator.press(f"Send job {job_id} again")

        expect(row).to_contain_text("sent again as")
        expect(operator.board("queue")).to_contain_text(owner.me().tenant)
        assert SECRET not in operator.page.content()
        operator.press(f"Resume worker {worker.id}")
        (again,) = (job for job in owner.jobs().data if job.retry_of == job_id)
        assert owner.wait(again.id, timeout_s=300).status == "succeeded"
    expect(operator.page.locator("#plot-throughput rect.succeeded")).not_to_have_count(0)
    expect(operator.page.locator("#plot-throughput rect.failed")).not_to_have_count(0)
    expect(operator.page.locator("#plot-waiting-interactive path.median")).to_have_count(1)
    operator.press("24 h")
    expect(operator.page.locator("#plot-throughput .times")).to_contain_text("24 h ago")


def test_what_is_pressed_while_another_press_is_under_way_is_done_too(
    visitor: Visitor, operators_client: Client
) -> None:
    operator = Operator(visitor)
    (worker,) = operators_client.workers().data
    held = list[Route]()

    def hold_the_pause(route: Route) -> None:
        if not held and '"pause"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    operator.page.route(LOOKS, hold_the_pause)
    with operator.page.expect_request(lambda request: '"pause"' in (request.post_data or "")):
        operator.press(f"Pause worker {worker.id}")
    operator.press("24 h")

    expect(operator.board("history").locator('[data-minutes="1440"]')).to_have_attribute("aria-current", "true")
    held[0].continue_()
    expect(operator.board("fleet").locator(".state")).to_have_text("Paused")
    expect(operator.board("notice")).to_contain_text("begins nothing more")
    expect(operator.board("history").locator('[data-minutes="1440"]')).to_have_attribute("aria-current", "true")
    operator.page.unroute_all(behavior="wait")


def test_what_came_of_a_press_is_seen_though_its_answer_was_lost(visitor: Visitor, operators_client: Client) -> None:
    operator = Operator(visitor)
    (worker,) = operators_client.workers().data

    lost = list[str]()

    def lose_the_first(route: Route) -> None:
        response = route.fetch()
        if not lost and "begins nothing more" in response.text():
            lost.append(response.text())
            route.fulfill(status=502, content_type="text/plain", body="Bad gateway")
        else:
            route.fulfill(response=response)

    operator.page.route(LOOKS, lose_the_first)
    operator.press(f"Pause worker {worker.id}")
    expect(operator.board("notice")).to_contain_text("begins nothing more")
    expect(operator.board("fleet").locator(".state")).to_have_text("Paused")
    assert lost
    operator.page.unroute_all(behavior="wait")


def test_who_goes_away_and_comes_back_at_once_sees_what_goes_on(visitor: Visitor, operators_client: Client) -> None:
    operator = Operator(visitor)
    (worker,) = operators_client.workers().data

    operator.page.evaluate(
        """for (const name of ["Pictures", "Operators"])
        [...document.querySelectorAll("#rooms [role=tab]")].find((tab) => tab.textContent.trim() === name).click()"""
    )
    operators_client.direct_worker("pause", worker.id)

    expect(operator.board("fleet").locator(".state")).to_have_text("Paused")


def test_failed_jobs_of_before_are_shown_at_a_press(
    visitor: Visitor, darkroom: Darkroom, operators_client: Client
) -> None:
    operator = Operator(visitor)
    (worker,) = operators_client.workers().data
    operator.press(f"Pause worker {worker.id}")
    expect(operator.board("fleet").locator(".state")).to_have_text("Paused")
    with Client(darkroom.gateway_url, api_key=darkroom.page_key, visitor="somebody") as owner:
        failed = [fail_one(darkroom, owner) for _ in range(FAILED_AT_FIRST + 1)]
    expect(operator.page.locator(f"#failed-{failed[-1]}")).to_be_visible()
    expect(operator.page.locator(f"#failed-{failed[0]}")).to_have_count(0)

    operator.press("Show more")

    expect(operator.page.locator(f"#failed-{failed[0]}")).to_be_visible()


def test_what_was_unfolded_stays_so_while_the_boards_go_on(
    visitor: Visitor, darkroom: Darkroom, operators_client: Client
) -> None:
    with Client(darkroom.gateway_url, api_key=darkroom.page_key, visitor="somebody") as owner:
        owner.generate("a red circle", num_inference_steps=1, reuse=False, timeout_s=300)
        operator = Operator(visitor)
        operator.page.locator("#plot-throughput summary").click()
        cell = operator.page.locator("#plot-throughput tbody td").first
        expect(cell).to_be_visible()
        sums = operator.board("history").locator(".sums")
        before = sums.inner_text()

        owner.generate("a red circle", num_inference_steps=1, reuse=False, timeout_s=300)

        expect(sums).not_to_have_text(before)
        expect(cell).to_be_visible()
    assert operators_client.queue().mode == "work"


def test_a_gateway_that_is_away_is_said_and_missed_no_longer_than_it_is(visitor: Visitor, darkroom: Darkroom) -> None:
    operator = Operator(visitor)
    darkroom.gateway.stop(30)
    try:
        expect(operator.board("notice")).to_contain_text("Out of reach.")
        expect(operator.board("fleet").locator("tbody tr")).to_have_count(1)
    finally:
        darkroom.start(darkroom.gateway)
    expect(operator.board("notice")).to_be_empty()
