"""Every key in Redis: its name, its type, its life. `shared/lua/keys.lua` builds the names.

Nothing of a job that has not ended expires; everything of a job that has ended does. The scripts
get one key, the prefix, and build the others from it. Its braces put them all into one slot, so
that a Redis Cluster can hold them too.

    job:<id>            hash    a job's record       until `keep_s` after the job ended
    jobs:<tenant>       zset    sequence -> job id   until `keep_s` after the tenant's last open job ended
    open:<tenant>       set     ids of jobs that have not ended; gone when the last one ends
    waiting:<model>     zset    sequence -> job id   queued jobs; gone when empty
    queues              set     models with waiting jobs, or until a moment ago; the sweep tidies it
    leases              zset    end in ms -> job id  running jobs
    claim:<token>       string  the job that this claim got; a minute
    preview:<id>        string  JPEG of a running job; a minute, and gone when the job stops running
    swept               string  when the last sweep ran, in ms; kept
    sequence            string  counter of submitted jobs; kept
    card:<model>        string  the model's card in JSON; a week after its last worker's last heartbeat
    cards               zset    last heartbeat in ms -> model; cleaned of lapsed cards when read
    worker:<id>         string  a worker's state in JSON; until five heartbeats are missed
    workers             zset    last heartbeat in ms -> worker id; cleaned of lapsed workers when read

Fields of `job:<id>`: tenant, model, params, metadata (JSON), sequence, keep_s, num_images, steps,
step, status, version, attempt, created_at_ms, started_at_ms, completed_at_ms, worker, token, error
(JSON), `image:<index>` (JSON), `warning:<code>` (JSON). `token` stays when a job ends, so that
its last worker's verb can be run again, and is gone while the job waits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a deployment keeps its keys; two that share a Redis take two prefixes."""

    prefix: str = "{darkroom}:"


DEFAULT = Keys()
