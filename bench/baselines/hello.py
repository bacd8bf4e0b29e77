"""What the gateway's speed is compared with: the least that FastAPI can answer, served as the gateway is.

And what it answers when it asks Redis for one key, and when it sends a task as Celery's own examples do.

python -m bench.baselines.hello PORT REDIS_URL
"""

from __future__ import annotations

import sys
from typing import Any, Final, cast

import redis.asyncio
import uvicorn
from celery import Celery  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from fastapi import FastAPI
from pydantic import BaseModel

URL: Final = sys.argv[2]

app = FastAPI()
store = redis.asyncio.Redis.from_url(URL)  # pyright: ignore[reportUnknownMemberType]: **kwargs
tasks = cast("Any", Celery("hello", broker=URL))


class Prompt(BaseModel):
    """A body to check."""

    prompt: str
    num_inference_steps: int = 25


@app.get("/")
async def hello() -> dict[str, str]:
    """Say hello."""
    return {"message": "hello"}


@app.get("/one-key")
async def one_key() -> dict[str, str]:
    """Say what Redis says."""
    return {"message": str(await store.get("hello"))}


@app.post("/one-task")
def one_task(prompt: Prompt) -> dict[str, str]:
    """Send a task that nobody takes."""
    return {"id": str(tasks.send_task("hello", args=[prompt.prompt], queue="tasks", ignore_result=True).id)}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, server_header=False)
