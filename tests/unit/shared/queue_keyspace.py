"""What Redis must hold when a queue stands as the model says: each structure worked out from the jobs alone."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias, cast

import redis

from shared.jobs import JobStatus, Tenant
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.meters import JOBS_ENDED, JOBS_SUBMITTED, Totals
from tests.unit.shared.queue_model import NEWEST, WAITING, Entry, QueueModel

Content: TypeAlias = "dict[str, str] | set[str] | str"

KEPT = {
    "lanes",
    "models",
    "tallies",
    "swept",
    "sequence",
    "change",
    "modes",
    "used",
    "claim",
    "idle",
    "history",
    "meters",
}
"""What may stay when no job is left: `used` until the clock is past, a claim's answer for a minute, history
for hours."""
SEEN_OTHERWISE = {
    "job",
    "preview",
    "worker",
    "workers",
    "card",
    "cards",
    "born",
    "modes",
    "swept",
    "claim",
    "stale",
    "idle",
    "history",
    "meters",
}
"""What the reads of the jobs and of the fleet show."""
MEMBERS_ALONE = {"leases", "deadlines", "expiry", "set_aside", "failed"}
"""Their scores are times."""

_DUMP = """
local all = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', name).ok, nil
  if kind == 'zset' then content = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  elseif kind == 'hash' then content = redis.call('HGETALL', name)
  elseif kind == 'set' then content = redis.call('SMEMBERS', name)
  else content = redis.call('GET', name) end
  all[#all + 1] = {name, kind, content}
end
return all
"""


def contents(client: redis.Redis) -> dict[str, Content]:
    """All keys, without the prefix."""
    found: dict[str, Content] = {}
    for name, kind, content in cast("list[list[bytes | list[bytes]]]", client.eval(_DUMP, 0)):
        key = cast("bytes", name).decode().removeprefix(DEFAULT.prefix)
        if isinstance(content, bytes):
            found[key] = content.decode(errors="replace")
            continue
        words = [word.decode() for word in content]
        found[key] = set(words) if kind == b"set" else dict(zip(words[::2], words[1::2], strict=True))
    return found


def structures(client: redis.Redis) -> dict[str, Content]:
    """What the queue's order, its lists and its counters hold."""
    found: dict[str, Content] = {}
    for key, content in contents(client).items():
        kind = key.split(":")[0]
        if kind in MEMBERS_ALONE:
            found[key] = set(content)
        elif kind not in SEEN_OTHERWISE:
            found[key] = content
    return found


def expected(model: QueueModel) -> dict[str, Content]:
    """The same, as the model says; `used`, `trash`, `lanes` and the tallies are for `differences`."""
    held: dict[str, Content] = {}
    for name in {entry.model for entry in model.queue}:
        for lane in Lane:
            held |= _lane(model, name, lane)
    jobs = list(model.jobs.values())
    for tenant in {entry.tenant for entry in jobs}:
        held[f"jobs:{tenant}"] = {e.id: str(e.sequence) for e in jobs if e.tenant == tenant}
        held[f"changed:{tenant}"] = {e.id: str(e.change) for e in jobs if e.tenant == tenant}
        held[f"running:{tenant}"] = {e.id for e in jobs if e.tenant == tenant and e.status is JobStatus.RUNNING}
        held[f"parked:{tenant}"] = {f"{lane}:{name}" for who, lane, name in model.parked if who == tenant}
    held["change"] = str(model.changes or "")
    held["leases"] = {e.id for e in jobs if e.status is JobStatus.RUNNING}
    held["graced"] = {e.id for e in jobs if e.is_graced}
    held["deadlines"] = {e.id for e in jobs if e.has_deadline and e.status in WAITING}
    held["expiry"] = {e.id for e in jobs if e.status not in WAITING}
    held["failed"] = {e.id for e in jobs if e.status is JobStatus.FAILED}
    held["set_aside"] = {e.id for e in jobs if e.is_set_aside}
    for (tenant, key), (job_id, fingerprint) in model.requests.items():
        repeated = {"repeated": "1"} if (tenant, key) in model.repeated else {}
        held[f"request:{tenant}:{key}"] = {"job": job_id, "fingerprint": fingerprint, **repeated}
    for (tenant, digest), job_id in model.results.items():
        held[f"result:{tenant}:{digest}"] = job_id
    for entry in jobs:
        held[f"followers:{entry.id}"] = {e.id: str(e.sequence) for e in model.followers(entry.id)}
        if entry.drawn_by:
            root = entry.drawn_by
            held[f"holders:{root}"] = {e.id for e in jobs if root in (e.id, e.drawn_by)}
    return {key: content for key, content in held.items() if content}


def _lane(model: QueueModel, name: str, lane: Lane) -> dict[str, Content]:
    held: dict[str, Content] = {f"order:{lane}:{name}": _places(model.order(name, lane))}
    for tenant in model.tenants(name, lane):
        line = model.line(name, lane, tenant)
        held[f"line:{lane}:{tenant}:{name}"] = _places([place for place in line if not place[2].is_beyond])
        held[f"beyond_line:{lane}:{tenant}:{name}"] = _places([place for place in line if place[2].is_beyond])
    held[f"heads:{lane}:{name}"] = _places(model.heads(name, lane))
    for needs in range(2, NEWEST + 1):
        held[f"beyond:{needs}:{lane}:{name}"] = _places(model.beyond(name, lane, needs))
    sums = Counter[str]()
    for tag, _, entry in model.order(name, lane):
        node = tag // 256
        for level in range(12):
            sums[f"{level}:{node}"] += entry.work_ms
            node //= 16
    held[f"work:{lane}:{name}"] = {node: str(ms) for node, ms in sums.items()}
    return held


def _places(places: list[tuple[int, int, Entry]]) -> dict[str, str]:
    return {f"{sequence:016d}:{entry.id}:{entry.work_ms}": str(tag) for tag, sequence, entry in places}


def differences(model: QueueModel, client: redis.Redis) -> list[str]:
    """Where Redis holds something else than the model says; none is the aim."""
    found, wanted = structures(client), expected(model)
    wrong = list[str]()
    for key in sorted(found):
        kind = key.split(":")[0]
        if kind == "used":
            wrong += _used(model, key, cast("dict[str, str]", found.pop(key)))
        elif kind == "lanes":
            wrong += _lanes(model, key, cast("dict[str, str]", found.pop(key)))
        elif kind in {"tallies", "models", "sequence"}:
            found.pop(key)
    wrong += _meters(model, cast("dict[str, str]", contents(client).get("meters", {})))
    if set(found.pop("trash", set())) != set(model.trash):
        wrong.append("trash")
    for key in found.keys() | wanted.keys():
        if found.get(key) != wanted.get(key):
            wrong.append(f"{key}: {found.get(key)}, not {wanted.get(key)}")
    return wrong


def _meters(model: QueueModel, found: dict[str, str]) -> list[str]:
    """What has come and not ended is what waits or runs, whatever else is counted of it."""
    counted = Totals.of({name: int(number) for name, number in found.items()}).counters
    come, gone = (sum(counted.get(meter.name, {}).values()) for meter in (JOBS_SUBMITTED, JOBS_ENDED))
    here = sum(entry.status in WAITING for entry in model.jobs.values())
    return [] if come - gone == here else [f"{come} jobs came and {gone} ended, but {here} are here"]


def _used(model: QueueModel, key: str, found: dict[str, str]) -> list[str]:
    """What a tenant used may be forgotten when it is not past the clock any more: it says nothing then."""
    _, lane, name = key.split(":", 2)
    clock = model.lanes[name, Lane(lane)].clock
    wanted = {
        tenant: finish
        for (job_model, job_lane, tenant), finish in model.used.items()
        if (job_model, job_lane) == (name, lane) and finish
    }
    needed = {tenant for tenant in wanted if wanted[tenant] > clock}
    wrong = [f"{key} of {tenant}: {ms}" for tenant, ms in found.items() if int(ms) != wanted.get(Tenant(tenant))]
    return wrong + [f"{key} of {tenant} is gone" for tenant in needed - found.keys()]


def _lanes(model: QueueModel, key: str, found: dict[str, str]) -> list[str]:
    name = key.partition(":")[2]
    wanted = {"clock": model.clocks[name]}
    for lane in Lane:
        wanted[f"clock:{lane}"] = model.lanes[name, lane].clock
        wanted[f"start:{lane}"] = model.lanes[name, lane].start
    return [
        f"{key} {field}: {found.get(field)}, not {value}"
        for field, value in wanted.items()
        if int(found.get(field, 0)) != value
    ]
