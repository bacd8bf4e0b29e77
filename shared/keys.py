"""Every key in Redis: its name, its type, its life. `shared/lua/keys.lua` builds the names.

`<model>` in a key's name, and the record's field `model`, are a pool's name: the model's id, or that and a GPU class
(`shared.pools`). Nothing of a job expires by itself: the sweep forgets an ended job together with its pictures
(`retire`). The verbs get one key, the prefix, and build the others from it. Its braces put them all into one slot, so
that a Redis Cluster can hold them too. A member of an order, a line or the heads is `<sequence>:<job id>:<ms of work>`.

    job:<id>                      hash    a job's record                 until `keep_s` after the job's end
    jobs:<tenant>                 zset    sequence -> job id             as long as their records
    changed:<tenant>              zset    change -> job id               the job's last one; as long as their records
    order:<lane>:<model>          zset    tag -> member                  all waiting jobs in fair order
    line:<lane>:<tenant>:<model>  zset    tag -> member                  a tenant's waiting jobs
    heads:<lane>:<model>          zset    tag -> member                  the first of each line that may begin
    beyond:<needs>:<lane>:<model>  zset   tag -> member                  jobs that some worker was too old for
    beyond_line:<lane>:<tenant>:<model>  zset  tag -> member             a tenant's of those; they stand in no line
    used:<lane>:<model>           zset    finish -> tenant               of its last begun job; until the clock is past
    lanes:<model>                 hash    clock, and by lane: clock, arrival, start; bulk_percent; beyond: what those
                                          jobs need, parted by blanks; kept
    work:<lane>:<model>           hash    node of the sum tree -> ms     as long as jobs wait below it
    stale                         hash    line -> tag behind which it is still to be mended
    models                        set     models that ever had a job waiting; kept
    running:<tenant>              set     ids of running jobs
    parked:<tenant>               set     `<lane>:<model>` where it is passed over; gone when one of its jobs ends
    leases                        zset    end in ms -> job id            running jobs
    graced                        set     running jobs whose lease was prolonged after an outage, until they are renewed
    claim:<token>                 string  the job that this claim got; a minute
    preview:<id>                  string  JPEG of a running job; a minute, and gone when the job stops running
    deadlines                     zset    ms -> job id                   jobs with a deadline that have not ended
    expiry                        zset    ms -> job id                   ended jobs, when they are to be forgotten
    trash                         zset    ms -> object key               objects to delete from the store, not before
    set_aside                     zset    ms -> job id                   given up as `worker_lost`; with their records
    failed                        zset    ms -> job id                   the latest thousand; with their records
    history:<seconds>:<number>    hash    what ended how in a period     that of a minute 3 hours, of ten minutes 2 days
    request:<tenant>:<digest>     hash    job or batch, fingerprint, repeated    an idempotency key; a day
    result:<tenant>:<digest>      string  the job that draws or drew these pictures; as long as it has them
    followers:<id>                zset    sequence -> job that waits for this job's pictures
    holders:<id>                  set     jobs that show the pictures which this one drew
    tallies                       hash    new, joined, reused -> count   of submits that might reuse pictures; kept
    swept                         string  when the last sweep ran, in ms; kept
    sequence                      string  counter of submitted jobs; kept
    change                        string  counter of moves and new pictures of all jobs; kept
    modes                         hash    worker id or * -> paused or drained; until the worker is gone
    idle:<model>                  zset    ms -> worker that found nothing to do; until it does, or is gone
    card:<model>                  string  the model's card in JSON; a week after its last worker's last heartbeat or
                                          its scaler's last question
    vocabulary:<model>            hash    digest and packed: what its texts are read by; as its card
    speeds:<model>                string  how fast its last worker was, JSON; as its card
    scaled:<model>                string  1: a scaler has asked for it; two minutes after its last question
    cards                         zset    last heartbeat in ms -> model; cleaned of lapsed cards when read
    worker:<id>                   string  a worker's state in JSON; until five heartbeats are missed
    workers                       zset    last heartbeat in ms -> worker id; ten minutes after it
    born                          zset    first heartbeat in ms -> `<worker id> <model>`; ten minutes
    webhooks:<tenant>             set     ids of its webhooks
    webhook:<id>                  hash    where a tenant is told of ends; until deleted
    outbox                        zset    ms -> webhook that has something to be sent then
    couriers                      zset    last word in ms -> courier id; ten minutes after it
    pending:<webhook>             zset    ms -> delivery that is to be sent then
    deliveries:<webhook>          zset    ms of the event -> delivery    the latest thousand, and all that wait
    delivery:<id>                 hash    one event for one webhook; as long as it is listed
    batch:<id>                    hash    a batch's record; until `keep_s` after its end
    batches:<tenant>              zset    sequence -> batch id; cleaned of lapsed ones when listed and added to
    lines:<batch>                 list    what each line asks for, JSON; as the batch; an hour if it is not sealed
    line_jobs:<batch>             list    the jobs of the lines, in order; as the batch; of an erased one what is left
    unended:<batch>               set     jobs of the batch that have not ended
    feeding                       zset    ms -> batch of which more lines are to become jobs then
    erasing                       zset    ms -> batch that was erased, until its jobs are forgotten too
    access:<id>                   hash    a key to the gateway; until it is revoked
    access_keys                   zset    created in ms -> id of a key; with their records
    limits:<tenant>               hash    what an operator set for a tenant; until it is set back
    tenants                       set     tenants that have had a key or limits; kept
    meters                        hash    what was counted, by field (shared/meters.py); kept
    metered:<source>              string  number of the last increments that a process told; a day
    libraries                     zset    last noted in ms -> library of functions; a week
    parts                         zset    ms at which it counts as gone -> a living part, JSON
    changes                       channel words for those who wait, and for gateways; nothing is kept

Fields of `job:<id>`: tenant, model, lane, params, metadata (JSON), sequence, keep_s, max_running, num_images, steps,
width, work_ms, floor and tag (of the fair order), step, status, version, attempt, created_at_ms, started_at_ms,
claimed_at_ms, queued_at_ms (when it was put back), completed_at_ms, deadline_ms, retry_of, retried_as (its latest
retry), request and result (digests), follows, pictures (object keys, {} for the index), pictures_of, worker, token,
error (JSON), `lost:<attempt>` (worker), `image:<index>` (JSON), reading (JSON), `warning:<code>` (JSON), batch and
line (of a batch's job), asked (the request that made it), trace (a traceparent from which spans about it go on, if it
is traced) and pictures_trace (that of the job whose pictures it took or waited for), roams (1 if it named the model
alone and is, or was, in the pool of a class: another of the model's pools may draw it too), needs (the contract that
its worker must know, if it is not the first), passed (1 once it was beyond some worker), anew (1 if it had begun
before it came into this pool, and has not begun in it). `token` stays when a job ends, so that its last worker's verb
can be run again, and is gone while the job waits.

Fields of `webhook:<id>`: tenant, url, events, description, secret, old_secret, old_secret_until_ms, created_at_ms, off
(why), failing_since_ms, left_out, busy_until_ms (of the round under way). Fields of `delivery:<id>`: webhook, job
or batch, event, created_at_ms, status, tries, logged, `attempt:<n>` (JSON).

Fields of `batch:<id>`: tenant, name, total, keep_s, status, created_at_ms, completed_at_ms, request (digest), and how
many of its jobs ended how: succeeded, failed, canceled (with lines that became none), expired. How many of its lines
are jobs is the length of `line_jobs:<batch>`.

Fields of `access:<id>`: digest (SHA-256 of the secret, which is kept nowhere), name, tenant, scopes (parted by commas),
created_at_ms, expires_at_ms, used_at_ms (to a minute). Of `limits:<tenant>`: weight, max_waiting, max_running,
requests_per_minute; what is absent is as for everybody. Under `rate:` the library that counts requests keeps two
counters for each tenant, for two minutes.

Fields of `history:<seconds>:<number>`, counts: `<lane>:<outcome>:jobs` and `<lane>:<outcome>:pictures`, where an
outcome is how a job ended, or `reused` for one that succeeded with another's pictures; `<lane>:waited:<class>` of the
jobs that began, and `<lane>:drew:<class>` of those that succeeded, by class of their time: 2 ** (class / 4) ms and
more.

One key is no layout's, and never changes: `layouts`, named by the prefix without its number, is a zset, ms at which it
counts as gone -> `<layout> <version>` of parts that live. By it a part sees those of another layout, whose keys it
can't read.

A word of `changes` is `<kind>:<job or batch id>:<tenant>`. It says where to look, not what is there, and who doesn't
know its kind takes no notice: `move` (the job's version was raised), `image` (it has a new picture), `progress` (its
worker has reported), `gone` (it was forgotten), `batch` (the batch has ended, or was erased). Of access,
`revoked:<key id>:` and `limits::<tenant>` tell gateways to forget what they remember of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.pools import class_in, model_in

LAYOUT: Final = 2
"""Of the keys and what they hold. Raise it where programs of before could not work beside those of now; a new key, or a
new field that others can leave out, raises nothing."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a deployment keeps its keys; two that share a Redis take two prefixes.

    The number at its end is the layout's: what an older layout left behind is not read.
    """

    prefix: str = f"{{darkroom}}:{LAYOUT}:"

    @property
    def changes(self) -> str:
        """The channel that tells of jobs that move, keys that are revoked, and limits that change."""
        return f"{self.prefix}changes"

    @property
    def layouts(self) -> str:
        """The zset that says which layouts live: the one key that is no layout's."""
        return re.sub(r"[0-9]+:$", "layouts", self.prefix)


DEFAULT = Keys()


def channel_of_library(name: str) -> str:
    """Name the channel that the gateways which use a library listen to. Nothing is said there: being heard is all."""
    return f"{{darkroom}}:library:{name}"


@lru_cache
def queue_of(pool: str) -> str:
    """Name the Celery queue of a pool, such as `gpu.segmind-ssd-1b` or, of a class, `gpu.segmind-ssd-1b.l4`.

    Celery keeps it as a list of that name. No model's has a second dot: whoever took another pool's wake-up would find
    nothing to do.
    """
    gpu_class = class_in(pool)
    slug = re.sub(r"[^a-z0-9]+", "-", model_in(pool).lower()).strip("-")
    return f"gpu.{slug}" if gpu_class is None else f"gpu.{slug}.{gpu_class}"
