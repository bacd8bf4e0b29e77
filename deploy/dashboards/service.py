"""The first dashboard: whether those who ask for pictures get them, and how soon. Rates, errors, times."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.asking import BAD, EACH, GOOD, ODD, POOL, a_minute, quantiles
from deploy.dashboards.form import Dashboard, Figure, Panel, Query, Section

OUTCOMES: Final = {
    "succeeded": GOOD,
    "reused": "blue",
    "failed": BAD,
    "canceled": "gray",
    "expired": ODD,
}

SERVICE: Final = Dashboard(
    "darkroom-service",
    "Darkroom: service",
    "Whether those who ask for pictures get them, and how soon.",
    (
        Section(
            "Now",
            (
                Figure(
                    "Alerts",
                    "How many alerts fire now; Alerting > Alert rules has them, each with what to do.",
                    "short",
                    (Query('count(ALERTS{alertstate="firing"}) or vector(0)'),),
                    limits={1: BAD},
                ),
                Figure(
                    "Pictures, last hour",
                    "Pictures of jobs that succeeded, those among them that were there before.",
                    "short",
                    (Query(f'sum(increase(darkroom_pictures_total{{outcome=~"succeeded|reused", {POOL}}}[1h]))'),),
                ),
                Figure(
                    "Jobs that wait",
                    "For a worker, without those that wait for another job's pictures.",
                    "short",
                    (Query(f"sum(darkroom_queue_jobs{{{POOL}}}) or vector(0)"),),
                ),
                Figure(
                    "Oldest interactive",
                    "How long it has waited. The alert WaitsLong fires from five minutes on.",
                    "s",
                    (Query(f'max(darkroom_queue_oldest_seconds{{lane="interactive", {POOL}}}) or vector(0)'),),
                    limits={60: ODD, 300: BAD},
                ),
                Figure(
                    "Interactive wait, p90",
                    "Nine of ten interactive jobs that ended in the last ten minutes had begun within this time.",
                    "s",
                    (
                        Query(
                            "histogram_quantile(0.9, sum by (le) "
                            f'(rate(darkroom_job_waited_seconds_bucket{{lane="interactive", {POOL}}}[10m])))'
                        ),
                    ),
                    limits={60: ODD, 300: BAD},
                ),
                Figure(
                    "Failed, last hour",
                    "Part of the jobs that failed, of those that succeeded or failed.",
                    "percentunit",
                    (
                        Query(
                            f'(sum(increase(darkroom_jobs_ended_total{{outcome="failed", {POOL}}}[1h])) or vector(0))'
                            " / sum(increase(darkroom_jobs_ended_total"
                            f'{{outcome=~"succeeded|reused|failed", {POOL}}}[1h]))'
                        ),
                    ),
                    limits={0.01: ODD, 0.1: BAD},
                ),
            ),
        ),
        Section(
            "Jobs: rate, errors, times",
            (
                Panel(
                    "Accepted a minute",
                    "new: to be drawn. joined: waits for another job's pictures. reused: its pictures were there.",
                    "short",
                    (a_minute("darkroom_jobs_submitted_total", POOL, "how"),),
                    stacked=True,
                ),
                Panel(
                    "Ended a minute",
                    "reused: with pictures that were there. canceled: by whoever asked. expired: past its deadline.",
                    "short",
                    (a_minute("darkroom_jobs_ended_total", POOL, "outcome"),),
                    stacked=True,
                    colours=OUTCOMES,
                ),
                Panel(
                    "Failed a minute",
                    "By the error's code.",
                    "short",
                    (a_minute("darkroom_jobs_ended_total", f'outcome="failed", {POOL}', "code"),),
                    stacked=True,
                ),
                Panel(
                    "Interactive: waited",
                    "From the submit to the first attempt, of the jobs that ended in the ten minutes before.",
                    "s",
                    quantiles("darkroom_job_waited_seconds", f'lane="interactive", {POOL}', window="10m"),
                ),
                Panel(
                    "Bulk: waited",
                    "The same of the bulk lane, which waits by design.",
                    "s",
                    quantiles("darkroom_job_waited_seconds", f'lane="bulk", {POOL}', window="10m"),
                ),
                Panel(
                    "Drew",
                    "From the first attempt to the end, of the jobs that succeeded in the ten minutes before.",
                    "s",
                    quantiles("darkroom_job_drew_seconds", POOL, window="10m"),
                ),
            ),
        ),
        Section(
            "What waits",
            (
                Panel(
                    "Jobs that wait and run",
                    "Those that wait for a worker, by lane, and those that workers hold.",
                    "short",
                    (
                        Query(f"sum by (lane) (darkroom_queue_jobs{{{POOL}}})", "waits: {{lane}}"),
                        Query(f"sum by (lane) (darkroom_jobs_running{{{POOL}}})", "runs: {{lane}}"),
                    ),
                ),
                Panel(
                    "Oldest that waits",
                    "Of those that may begin: not for lack of their tenant's share of running jobs.",
                    "s",
                    (Query(f"max by (lane) (darkroom_queue_oldest_seconds{{{POOL}}})", "{{lane}}"),),
                ),
                Panel(
                    "Time to draw all that waits",
                    "The work that waits, shared by the workers that are ready. No data while nothing waits.",
                    "s",
                    (
                        Query(
                            f"sum by (pool) (darkroom_queue_work_seconds{{{POOL}}}) / "
                            f'sum by (pool) (darkroom_workers{{state="ready", {POOL}}} > 0)',
                            "{{pool}}",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            "Gateways: rate, errors, times",
            (
                Panel(
                    "Requests a second",
                    "By status; left: the caller was gone before the answer.",
                    "reqps",
                    tuple(
                        Query(f'sum(rate(darkroom_http_requests_total{{status=~"{status}"}}[{EACH}]))', legend)
                        for status, legend in (("[23]..", "answered"), ("4..", "4xx"), ("5..", "5xx"), ("", "left"))
                    ),
                    stacked=True,
                    colours={"answered": GOOD, "4xx": ODD, "5xx": BAD, "left": "gray"},
                ),
                Panel(
                    "Refused and failed a minute",
                    "By the error's code. rate_limited, queue_full: limits at work. queue_unavailable: Redis.",
                    "short",
                    (a_minute("darkroom_http_requests_total", 'code!=""', "code"),),
                    stacked=True,
                ),
                Panel(
                    "Until the answer begins",
                    "Submits and polls, without answers that are held on purpose.",
                    "s",
                    (
                        *quantiles("darkroom_http_request_seconds", 'method="POST", route="/v1/jobs"', legend="submit"),
                        *quantiles(
                            "darkroom_http_request_seconds", 'method="GET", route="/v1/jobs/{job_id}"', legend="poll"
                        ),
                    ),
                ),
            ),
        ),
    ),
)
