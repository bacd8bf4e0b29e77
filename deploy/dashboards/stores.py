"""The third: what everything stands on, Redis and the object store, and whether receivers of webhooks are told."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.asking import BAD, EACH, GOOD, ODD, a_minute, p90, quantiles
from deploy.dashboards.form import Dashboard, Figure, Panel, Query, Section

STORES: Final = Dashboard(
    "darkroom-stores",
    "Darkroom: Redis, store, webhooks",
    "What everything stands on, and whether it is told further.",
    (
        Section(
            "Now",
            (
                Figure(
                    "Redis",
                    "Whether it answers the gateway that was asked; away also while no gateway tells.",
                    "short",
                    (Query("min(darkroom_redis_up) or vector(0)"),),
                    limits={0: BAD, 1: GOOD},
                    words={0: "away", 1: "answers"},
                ),
                Figure(
                    "Object store",
                    "Whether it answers that gateway; away also while none tells.",
                    "short",
                    (Query("min(darkroom_store_up) or vector(0)"),),
                    limits={0: BAD, 1: GOOD},
                    words={0: "away", 1: "answers"},
                ),
                Figure(
                    "Redis: writes to disk",
                    "Whether the append-only file could be written; no data if Redis keeps none, or doesn't tell.",
                    "short",
                    (Query("min(darkroom_redis_writes_ok)"),),
                    limits={0: BAD, 1: GOOD},
                    words={0: "fail", 1: "well"},
                ),
                Figure(
                    "Redis: memory",
                    "Used part of its limit, beyond which nothing is accepted; no data if it has none.",
                    "percentunit",
                    (
                        Query(
                            'max(darkroom_redis_memory_bytes{kind="used"})'
                            ' / max(darkroom_redis_memory_bytes{kind="limit"})'
                        ),
                    ),
                    limits={0.7: ODD, 0.85: BAD},
                    most=1,
                ),
                Figure(
                    "Webhooks due",
                    "Webhooks that have something to be sent now.",
                    "short",
                    (Query("max(darkroom_webhooks_due)"),),
                    limits={10: ODD},
                ),
                Figure("Couriers", "Couriers that take calls.", "short", (Query("max(darkroom_couriers)"),)),
            ),
        ),
        Section(
            "Redis",
            (
                Panel(
                    "A trip to Redis, p90",
                    "A gateway's with up to sixteen calls; a worker's heartbeat.",
                    "s",
                    (p90("darkroom_redis_call_seconds", "", "part"),),
                ),
                Panel(
                    "Trips that failed a minute",
                    "By who made them.",
                    "short",
                    (a_minute("darkroom_redis_errors_total", "", "part"),),
                ),
                Panel(
                    "Memory",
                    "Used, and the limit beyond which nothing is accepted.",
                    "bytes",
                    (Query("max by (kind) (darkroom_redis_memory_bytes)", "{{kind}}"),),
                    colours={"limit": BAD},
                ),
            ),
        ),
        Section(
            "Object store",
            (
                Panel(
                    "A call, p90",
                    "A gateway's look, open (up to the first bytes) and delete, a worker's put.",
                    "s",
                    (p90("darkroom_store_call_seconds", "", "operation"),),
                ),
                Panel(
                    "Calls a second",
                    "Those that were answered.",
                    "ops",
                    (
                        Query(
                            f"sum by (operation) (rate(darkroom_store_call_seconds_count[{EACH}]))",
                            "{{operation}}",
                        ),
                    ),
                ),
                Panel(
                    "Calls that failed a minute",
                    "By who made them, and what for.",
                    "short",
                    (
                        Query(
                            f"60 * sum by (part, operation) (rate(darkroom_store_errors_total[{EACH}]))",
                            "{{part}}: {{operation}}",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            "Webhooks",
            (
                Panel(
                    "Deliveries tried a minute",
                    "again: refused or unanswered, to be tried later. failed: for good.",
                    "short",
                    (a_minute("darkroom_webhook_attempts_total", "", "outcome"),),
                    stacked=True,
                    colours={"delivered": GOOD, "again": ODD, "failed": BAD, "dropped": "gray"},
                ),
                Panel(
                    "Until receivers answered",
                    "Their time, not ours.",
                    "s",
                    quantiles("darkroom_webhook_seconds", window="10m"),
                ),
                Panel(
                    "Due",
                    "Webhooks that have something to be sent now.",
                    "short",
                    (Query("max(darkroom_webhooks_due)", "due"), Query("max(darkroom_couriers)", "couriers")),
                ),
            ),
        ),
        Section(
            "Housekeeping",
            (
                Panel(
                    "Batches that feed",
                    "Of which more lines are to become jobs.",
                    "short",
                    (Query("max(darkroom_batches_feeding)", "batches"),),
                ),
                Panel(
                    "To be forgotten and deleted",
                    "Jobs whose time is over, pictures that are to leave the store. Both return to 0 in minutes.",
                    "short",
                    (
                        Query("max(darkroom_jobs_to_forget)", "jobs"),
                        Query("max(darkroom_objects_to_delete)", "pictures"),
                    ),
                ),
                Panel(
                    "Gateway's version",
                    "Of the gateway that was asked.",
                    "short",
                    (Query("max by (version) (darkroom_build_info)", "{{version}}"),),
                ),
            ),
        ),
    ),
    by_pool=False,
)
