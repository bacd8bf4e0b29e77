"""The Lua headers say what the scripts do: held against their sources, the wrappers and the list of keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared import jobs, keys, scripts
from shared.access import NO_LIMITS, KeyId, NewKey, Scope
from shared.batches import BatchId
from shared.call import PARTS, Call, library
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import Image, JobError, JobId, JobWarning, LeaseToken, NewJob, Notes, Once, Tenant, Terms, WorkerId
from shared.meters import Increments
from shared.parts import PartKind, this_part
from shared.scripts import Lease
from shared.webhooks import Attempt, DeliveryId, NewWebhook, Outcome, WebhookChange, WebhookId, WebhookRequest

FOLDER = Path(keys.__file__).with_name("lua")
VERBS = sorted(file.stem for file in FOLDER.glob("*.lua") if file.stem not in PARTS)

ID, TENANT, WORKER = JobId("job"), Tenant("ann"), WorkerId("worker")
KEY = KeyId("key")
BATCH = BatchId("batch")
LEASE = Lease(ID, LeaseToken("token"))
SIZE = Size(width=64, height=64)
PARAMS = GenerationParams(
    prompt="a fox", width=64, height=64, num_inference_steps=2, guidance_scale=1, seed=0, scheduler=Scheduler.EULER
)
CARD = ModelCard(
    id="m",
    title="m",
    revision="0",
    description="",
    aspect_ratios=(AspectRatio(name="Square", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=2, guidance_scale=1, scheduler=Scheduler.EULER),
)
STATE = WorkerState(id="w", state="ready", model="m", device="cpu", software_version="0", started_at_ms=0)
IMAGE = Image(index=0, seed=0, key="k", size=SIZE, output_format=OutputFormat.PNG, num_bytes=1, sha256="00")
WEBHOOK = WebhookId("hook")
ATTEMPT = Attempt(tries=1, outcome=Outcome.DELIVERED, at_ms=0, took_ms=1, status=200)
CALLS: tuple[Call[object], ...] = (
    scripts.submit(NewJob(ID, TENANT, "m", PARAMS, {}), Terms(keep_s=60)),
    scripts.read(ID, TENANT),
    scripts.recall(TENANT, Once("k", "f")),
    scripts.page(TENANT, cursor=None, limit=1),
    scripts.cancel(ID, TENANT),
    scripts.preview(ID, TENANT),
    scripts.fleet(),
    scripts.claim("m", WORKER, LEASE.token, lease_s=1),
    scripts.renew([LEASE], lease_s=1),
    scripts.progress(LEASE, 1, notes=Notes(warnings=(JobWarning(code="c", message="m"),))),
    scripts.add_image(LEASE, IMAGE),
    scripts.finish(LEASE, notes=Notes(warnings=(JobWarning(code="c", message="m"),))),
    scripts.fail(LEASE, JobError(code="c", message="m")),
    scripts.release(LEASE),
    scripts.reap(lease_s=1, max_attempts=3),
    scripts.stranded("m", limit=1, contract=1),
    scripts.reroute(ID, source="m", to="m@l4", work_ms=1),
    scripts.orphans((ID, ID)),
    scripts.libraries("darkroom_0"),
    scripts.join(this_part(PartKind.GATEWAY, "g")),
    scripts.parts(),
    scripts.roll(),
    scripts.announce(CARD),
    scripts.heartbeat(STATE, life_s=1),
    scripts.leave(WORKER, "m"),
    scripts.erase(ID, TENANT),
    scripts.withdraw(ID, TENANT),
    scripts.retire(limit=1),
    scripts.postpone(["one", "two"], pause_s=1),
    scripts.discard(["a", "b"]),
    scripts.set_aside(limit=1),
    scripts.failures(limit=1),
    scripts.waiting("m"),
    scripts.history(60),
    scripts.direct(scripts.Mode.PAUSED),
    scripts.outlook("m"),
    scripts.demand("m"),
    scripts.overview(),
    scripts.gauges(),
    scripts.meter("process", Increments(1, {"field": 1})),
    scripts.vocabulary("m"),
    scripts.add_webhook(NewWebhook(id=WEBHOOK, tenant=TENANT, asked=WebhookRequest(url="u"), secret=SecretStr("s"))),
    scripts.change_webhook(WEBHOOK, TENANT, WebhookChange(url="u")),
    scripts.remove_webhook(WEBHOOK, TENANT),
    scripts.webhooks(TENANT),
    scripts.deliveries(WEBHOOK, TENANT, limit=1),
    scripts.ping(WEBHOOK, TENANT, DeliveryId("d")),
    scripts.replay(WEBHOOK, TENANT, DeliveryId("d")),
    scripts.due(),
    scripts.attend("courier"),
    scripts.couriers(life_s=1),
    scripts.collect(most=1, hold_s=1),
    scripts.settle(WEBHOOK, {DeliveryId("d"): ATTEMPT}, dead_after_s=1),
    scripts.glance([ID, JobId("other")]),
    scripts.changed(TENANT, since=1),
    scripts.fill_batch(BATCH, ["{}", "{}"], before=0),
    scripts.seal_batch(BATCH, TENANT, name="n", total=1, keep_s=60),
    scripts.recall_batch(TENANT, Once("k", "f")),
    scripts.read_batch(BATCH, TENANT),
    scripts.batches(TENANT, cursor=None, limit=1),
    scripts.batch_results(BATCH, TENANT, skip=0, limit=1),
    scripts.cancel_batch(BATCH, TENANT),
    scripts.erase_batch(BATCH, TENANT),
    scripts.forget_batch(BATCH, limit=1),
    scripts.withdraw_batch(BATCH, TENANT),
    scripts.feed(most=1, most_active=1, hold_s=1, again_s=1),
    scripts.put_back(BATCH, again_s=1),
    scripts.issue(NewKey(KEY, "digest", "name", TENANT, frozenset({Scope.READ}))),
    scripts.admit(KEY),
    scripts.revoke(KEY),
    scripts.keyring(),
    scripts.set_limits(TENANT, NO_LIMITS),
    scripts.limits_of(TENANT),
    scripts.tenants(),
)


MOVES = {
    ("nothing", "queued"): {"submit"},
    ("nothing", "succeeded"): {"submit"},
    ("queued", "queued"): {"reroute"},
    ("queued", "running"): {"claim"},
    ("queued", "succeeded"): {"finish"},
    ("queued", "failed"): {"fail", "reap"},
    ("queued", "canceled"): {"cancel", "erase", "withdraw", "cancel_batch", "erase_batch", "withdraw_batch"},
    ("queued", "expired"): {"claim", "reap"},
    ("running", "queued"): {"release", "reap"},
    ("running", "succeeded"): {"finish"},
    ("running", "failed"): {"fail", "reap"},
    ("running", "canceled"): {"cancel", "erase", "withdraw", "cancel_batch", "erase_batch", "withdraw_batch", "reap"},
}
"""The state diagram in shared/jobs.py: which verbs draw each arrow."""


def header_and_body(name: str) -> tuple[str, str]:
    lines = (FOLDER / f"{name}.lua").read_text().splitlines()
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:length]), "\n".join(lines[length:])


def test_every_script_has_a_wrapper_and_every_wrapper_a_script() -> None:
    assert sorted(call.verb for call in CALLS) == VERBS


@pytest.mark.parametrize("name", VERBS)
def test_a_header_begins_with_the_verb_and_tells_what_it_moves(name: str) -> None:
    header, _ = header_and_body(name)
    assert header.startswith(f"-- {name}: ")
    assert re.search(r"^-- Moves ", header, re.MULTILINE)


def moves_of(name: str) -> set[tuple[str, str]]:
    header, _ = header_and_body(name)
    told = header.split("-- Moves ")[1].replace("(nothing)", "nothing")
    states = "|".join({state for arrow in MOVES for state in arrow})
    return {
        (before, after)
        for arrow in told.split(";")
        if "->" in arrow
        for before in re.findall(states, arrow.split("->")[0])
        for after in re.findall(states, arrow.split("->")[1])
    }


@pytest.mark.parametrize("name", VERBS)
def test_a_header_tells_the_moves_that_the_state_diagram_shows(name: str) -> None:
    assert moves_of(name) == {arrow for arrow, verbs in MOVES.items() if name in verbs}


def test_the_state_diagram_names_the_verbs_that_move_a_job_and_no_others() -> None:
    diagram = (jobs.__doc__ or "").split("Only the Lua scripts")[0]
    named = {word for word in re.findall(r"[a-z_]+", diagram) if word in VERBS}
    assert named == set().union(*MOVES.values())


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.verb)
def test_a_header_lists_the_keys_and_arguments_that_the_wrapper_sends(call: Call[object]) -> None:
    header, body = header_and_body(call.verb)
    assert re.findall(r"^-- KEYS\[(\d+)\]", header, re.MULTILINE) == ["1"]
    assert call.keys == (keys.DEFAULT.prefix,)
    single = [int(number) for number in re.findall(r"^-- ARGV\[(\d+)\] ", header, re.MULTILINE)]
    rest = re.findall(r"^-- ARGV\[(\d+)\.\.\.\] ", header, re.MULTILINE)
    assert single == list(range(1, len(single) + 1))
    assert len(call.args) == len(single) + 2 * len(rest)
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", body)}
    assert used == set(single)


@pytest.mark.parametrize("name", VERBS)
def test_a_header_lists_the_replies_that_the_script_gives(name: str) -> None:
    header, body = header_and_body(name)
    replies = header.split("-- Replies\n")[1].split("--\n-- Moves")[0]
    listed = {code for line in replies.splitlines() for code in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b", line)}
    given = set(re.findall(r"\{'([A-Z_]+)'", body))
    if "standing(" in body:
        given |= {"OK", "MISSING", "CANCELED", "ENDED", "LOST"} if name != "claim" else set()
    if "{verdict}" in body and re.search(r"ownership\(|whose_\w+\(", body):
        given |= {"MISSING", "NOT_YOURS"}
    assert listed - {"JSON", "JPEG"} == given


def test_every_key_that_a_script_builds_is_documented() -> None:
    source = (FOLDER / "keys.lua").read_text()
    single = re.findall(r"'([a-z_]+)'", source.partition("local SINGLE")[2].partition("}")[0])
    built = {*single, *re.findall(r"key\.prefix \.\. '([a-z_]+:)'", source)}
    documented = set(re.findall(r"^    ([a-z_]+:?)(?:<[a-z:<>]+>)?  ", keys.__doc__ or "", re.MULTILINE))
    assert built == documented


@pytest.mark.parametrize("name", VERBS)
def test_scripts_name_no_key_themselves(name: str) -> None:
    _, body = header_and_body(name)
    assert "KEYS" not in body


def test_a_library_is_named_by_its_content() -> None:
    name, source = library().name, library().source
    assert source.startswith(f"#!lua name={name}\n")
    assert re.fullmatch(r"darkroom_[0-9a-f]{16}", name)
    assert set(re.findall(r"function_name = '(\w+)'", source)) == {f"{name}_{verb}" for verb in VERBS}


@pytest.mark.parametrize("verb", ["admit", "batches", "demand", "fleet", "read", "gauges", "page"])
def test_who_only_reads_waits_for_no_replica(verb: str) -> None:
    assert not next(call for call in CALLS if call.verb == verb).writes


@pytest.mark.parametrize("verb", ["submit", "cancel", "claim", "finish", "issue", "seal_batch", "set_limits"])
def test_who_writes_does(verb: str) -> None:
    assert next(call for call in CALLS if call.verb == verb).writes
