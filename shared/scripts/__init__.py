"""The queue's verbs: one typed call a Lua script. Does no I/O: `shared.connection` runs the calls.

    job = run(redis, submit(new_job, terms)).job
    job = await run_async(redis, read(job.id, job.tenant))

`jobs` has what the gateway asks, `leases` what a worker does, `sweeping` what both do for those that are gone,
`fleet` who works and how. Every call may be sent twice: the second changes nothing more. Any call may raise
QueueUnavailable when it is run; a docstring names what else its reply can mean.
"""

from __future__ import annotations

from shared.scripts.fleet import (
    Fleet,
    Mode,
    Orders,
    Outlook,
    Overview,
    RunningWork,
    WaitingWork,
    announce,
    direct,
    fleet,
    heartbeat,
    leave,
    outlook,
    overview,
)
from shared.scripts.jobs import JobsPage, cancel, erase, page, preview, read, recall, submit, withdraw
from shared.scripts.leases import Claimed, Lease, add_image, claim, fail, finish, progress, release, renew
from shared.scripts.sweeping import Retired, Sweep, discard, postpone, reap, retire, set_aside

__all__ = [
    "Claimed",
    "Fleet",
    "JobsPage",
    "Lease",
    "Mode",
    "Orders",
    "Outlook",
    "Overview",
    "Retired",
    "RunningWork",
    "Sweep",
    "WaitingWork",
    "add_image",
    "announce",
    "cancel",
    "claim",
    "direct",
    "discard",
    "erase",
    "fail",
    "finish",
    "fleet",
    "heartbeat",
    "leave",
    "outlook",
    "overview",
    "page",
    "postpone",
    "preview",
    "progress",
    "read",
    "reap",
    "recall",
    "release",
    "renew",
    "retire",
    "set_aside",
    "submit",
    "withdraw",
]
