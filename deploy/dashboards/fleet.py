"""The second: whether the machines do what they could. Use, saturation, errors, then times and heat."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.asking import BAD, EACH, GOOD, ODD, POOL, p90, quantiles
from deploy.dashboards.form import Dashboard, Figure, Panel, Query, Section

FLEET: Final = Dashboard(
    "darkroom-fleet",
    "Darkroom: workers and GPUs",
    "Whether the machines do what they could: use, saturation, errors.",
    (
        Section(
            "Now",
            (
                Figure(
                    "Workers ready",
                    "Workers that have loaded their model and live; 0 also while no gateway tells.",
                    "short",
                    (Query(f'sum(darkroom_workers{{state="ready", {POOL}}}) or vector(0)'),),
                ),
                Figure(
                    "Warming up",
                    "Workers that load their model.",
                    "short",
                    (Query(f'sum(darkroom_workers{{state="warming", {POOL}}})'),),
                ),
                Figure(
                    "Stopped by operators",
                    "Workers that are paused or drained, alone or with the queue.",
                    "short",
                    (Query(f"sum(darkroom_workers_stopped{{{POOL}}})"),),
                    limits={1: ODD},
                ),
                Figure(
                    "Lost",
                    "Workers that came within ten minutes and died or failed since.",
                    "short",
                    (Query(f"sum(darkroom_workers_lost{{{POOL}}})"),),
                    limits={1: ODD, 2: BAD},
                ),
                Figure(
                    "Denoising",
                    "Part of the workers' time that went into steps, without that of those that start.",
                    "percentunit",
                    (
                        Query(
                            f'sum(rate(darkroom_engine_seconds_total{{doing="steps", {POOL}}}[5m])) / '
                            f'sum(rate(darkroom_engine_seconds_total{{doing!="start", {POOL}}}[5m]))'
                        ),
                    ),
                    most=1,
                ),
                Figure(
                    "Pictures a worker hour",
                    "Pictures that were drawn in the last hour, for each hour that a worker was ready in it.",
                    "short",
                    (
                        Query(
                            f'sum(increase(darkroom_pictures_total{{outcome="succeeded", {POOL}}}[1h])) / '
                            f'sum(avg_over_time(darkroom_workers{{state="ready", {POOL}}}[1h]))'
                        ),
                    ),
                ),
            ),
        ),
        Section(
            "Use",
            (
                Panel(
                    "What workers' time goes into",
                    "Together it is the number of workers. idle: nothing to draw. decode, delivery: no step, for the "
                    "VAE, or storing what is drawn, is behind. between: claims, previews, bookkeeping.",
                    "short",
                    (
                        Query(
                            f"sum by (doing) (rate(darkroom_engine_seconds_total{{{POOL}}}[{EACH}]))",
                            "{{doing}}",
                        ),
                    ),
                    stacked=True,
                    colours={"steps": GOOD, "idle": "gray", "delivery": BAD, "decode": ODD, "start": "blue"},
                ),
                Panel(
                    "GPUs at work",
                    "NVML's utilization, averaged over a pool's GPUs. None without NVIDIA GPUs.",
                    "percentunit",
                    (
                        Query(
                            f"sum by (pool) (darkroom_gpu_utilization{{{POOL}}}) / "
                            f"sum by (pool) (darkroom_gpus{{{POOL}}})",
                            "{{pool}}",
                        ),
                    ),
                    most=1,
                ),
                Panel(
                    "Rows that step together",
                    "How many pictures a denoising step was for, on average.",
                    "short",
                    (
                        Query(
                            f"sum by (pool) (rate(darkroom_step_rows_sum{{{POOL}}}[{EACH}])) / "
                            f"sum by (pool) (rate(darkroom_step_rows_count{{{POOL}}}[{EACH}]))",
                            "{{pool}}",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            "Saturation",
            (
                Panel(
                    "Workers, and work that waits",
                    "Living workers by state, and how many jobs wait. Work beside idle workers is what to look into.",
                    "short",
                    (
                        Query(f"sum by (state) (darkroom_workers{{{POOL}}})", "{{state}}"),
                        Query(f"sum(darkroom_queue_jobs{{{POOL}}}) or vector(0)", "jobs that wait"),
                    ),
                    colours={"ready": GOOD, "warming": "blue", "draining": ODD, "jobs that wait": BAD},
                ),
                Panel(
                    "Memory of devices",
                    "GPUs: as NVML tells. Workers: as they see it; on a processor what they use of the machine's.",
                    "bytes",
                    (
                        Query(f"sum by (kind) (darkroom_gpu_memory_bytes{{{POOL}}})", "GPUs: {{kind}}"),
                        Query(f"sum by (kind) (darkroom_worker_memory_bytes{{{POOL}}})", "workers: {{kind}}"),
                    ),
                ),
                Panel(
                    "Fullest device",
                    "Used part of the memory of the worker whose device is fullest.",
                    "percentunit",
                    (Query(f"max by (pool) (darkroom_worker_memory_ratio{{{POOL}}})", "{{pool}}"),),
                    most=1,
                ),
            ),
        ),
        Section(
            "Errors",
            (
                Panel(
                    "Workers lost, and stopped by the store",
                    "Lost: came within ten minutes and died or failed. Without store: take no job, as they can put no "
                    "picture away.",
                    "short",
                    (
                        Query(f"sum(darkroom_workers_lost{{{POOL}}})", "lost"),
                        Query(f"sum(darkroom_workers_without_store{{{POOL}}})", "without store"),
                    ),
                    colours={"lost": BAD, "without store": ODD},
                ),
                Panel(
                    "Jobs that changed hands a minute",
                    "Taken from a worker that fell silent; handed back by one that stops or has no store; moved to "
                    "another pool of the model, since theirs had no worker.",
                    "short",
                    (
                        Query(f"60 * sum(rate(darkroom_leases_expired_total{{{POOL}}}[{EACH}]))", "taken"),
                        Query(f"60 * sum(rate(darkroom_jobs_released_total{{{POOL}}}[{EACH}]))", "handed back"),
                        Query(f"60 * sum(rate(darkroom_jobs_rerouted_total{{{POOL}}}[{EACH}]))", "moved"),
                    ),
                    colours={"taken": BAD, "handed back": ODD, "moved": "blue"},
                ),
                Panel(
                    "Jobs set aside",
                    "Given up because every worker that took them died; they stay for as long as ended jobs are kept.",
                    "short",
                    (Query("max(darkroom_jobs_set_aside)", "set aside"),),
                ),
            ),
        ),
        Section(
            "Times and heat",
            (
                Panel(
                    "A denoising step",
                    "Of all rows that stepped together.",
                    "s",
                    quantiles("darkroom_step_seconds", POOL),
                ),
                Panel(
                    "A picture's stages, p90",
                    "denoise: from the begin of its first step to the end of its last, waiting included.",
                    "s",
                    (p90("darkroom_stage_seconds", POOL, "stage"),),
                ),
                Panel(
                    "Prompts that were remembered",
                    "Part of the texts that needed no encoding.",
                    "percentunit",
                    (
                        Query(
                            f'sum by (pool) (rate(darkroom_prompt_cache_total{{found="yes", {POOL}}}[10m])) / '
                            f"sum by (pool) (rate(darkroom_prompt_cache_total{{{POOL}}}[10m]))",
                            "{{pool}}",
                        ),
                    ),
                    most=1,
                ),
                Panel(
                    "Hottest GPU",
                    "The alert GpuHot fires from 88 degrees on.",
                    "celsius",
                    (Query(f"max by (pool) (darkroom_gpu_temperature_celsius{{{POOL}}})", "{{pool}}"),),
                    limits={88: BAD},
                ),
                Panel(
                    "Power",
                    "Of all GPUs together.",
                    "watt",
                    (Query(f"sum by (pool) (darkroom_gpu_power_watts{{{POOL}}})", "{{pool}}"),),
                    stacked=True,
                ),
                Panel(
                    "Energy a picture",
                    "GPUs' power, for each picture that was drawn in the ten minutes before.",
                    "joule",
                    (
                        Query(
                            f"sum by (pool) (avg_over_time(darkroom_gpu_power_watts{{{POOL}}}[10m])) / "
                            f'sum by (pool) (rate(darkroom_pictures_total{{outcome="succeeded", {POOL}}}[10m]) > 0)',
                            "{{pool}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
