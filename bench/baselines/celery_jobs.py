"""Way 3: plain Celery around the stock pipeline, the job in the message: what a tutorial leads to, done with care.

    BENCH_CHECKPOINT=... BENCH_BROKER=redis://... celery -A bench.baselines.celery_jobs worker --pool solo

One process that draws in its main thread (`solo`), takes one message at a time and acknowledges it when it is done, so
that neither is a job hoarded nor lost. The picture goes to S3 as a PNG of the same level as Darkroom's; the result is
its key.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

from boto3.session import Session  # pyright: ignore[reportMissingTypeStubs]: boto3 ships no types
from celery import Celery, signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types

from bench.orders import Order

BROKER: Final = os.environ.get("BENCH_BROKER", "redis://127.0.0.1:6379/0")
PNG_LEVEL: Final = 1

app = cast("Any", Celery("pictures", broker=BROKER, backend=BROKER))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
)


def connect_store(endpoint: str, access_key: str, secret_key: str) -> Any:  # noqa: ANN401 (boto3 makes its clients)
    """Connect to the object store."""
    return cast("Any", Session()).client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
    )


class _Process:
    """What a worker's process keeps from job to job."""

    stock: Any = None
    s3: Any = None
    bucket: str = ""


@cast("Any", signals).worker_init.connect
def load(**_: object) -> None:
    """Load the pipeline before the first job comes."""
    import torch  # noqa: PLC0415 (whoever only sends jobs needs none)

    from bench.baselines.stock import Stock  # noqa: PLC0415

    _Process.stock = Stock(Path(os.environ["BENCH_CHECKPOINT"]))
    keys = (os.environ[f"BENCH_S3_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY"))
    _Process.s3 = connect_store(*keys)
    _Process.bucket = os.environ["BENCH_S3_BUCKET"]
    print(f"threads {torch.get_num_threads()}", flush=True)


@app.task(name="draw")
def draw(**order: Any) -> str:  # noqa: ANN401 (JSON)
    """Draw, store, and tell the key."""
    picture = _Process.stock.draw(Order(**order))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=PNG_LEVEL)
    key = f"pictures/{uuid4().hex}.png"
    _Process.s3.put_object(Bucket=_Process.bucket, Key=key, Body=file.getvalue(), ContentType="image/png")
    return key
