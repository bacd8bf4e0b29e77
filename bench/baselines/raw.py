"""How fast the gateway's server could be at most: the same calls of Redis on the same connections, and nothing else.

An ASGI application without FastAPI, without an edge, without a check: it says the same few bytes to whatever it is
asked, and before that reads a job, or submits one, as the gateway does. What the gateway costs beyond is its own.

python -m bench.baselines.raw PORT        set up by `DARKROOM_*`
"""

from __future__ import annotations

import sys
from typing import Final

import uvicorn
from starlette.types import Receive, Scope, Send

from api.together import Together
from shared.connection import connect_async
from shared.generation import GenerationParams, Scheduler
from shared.jobs import LOCAL_TENANT, JobId, NewJob, Terms, new_job_id
from shared.scripts import submit
from shared.settings import Settings

SETTINGS: Final = Settings()
TERMS: Final = Terms(keep_s=3600, max_waiting=10**7, max_tenant_waiting=10**7)
PARAMS: Final = GenerationParams(
    prompt="a lighthouse in a storm, oil painting",
    width=1024,
    height=1024,
    num_inference_steps=25,
    guidance_scale=9.0,
    seed=1,
    scheduler=Scheduler.EULER,
)
BODY: Final = b'{"message":"hello"}'
START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}


class Raw:
    """Answers `/`, `/read/{id}` and `/submit`."""

    def __init__(self) -> None:
        self._together = Together(connect_async(SETTINGS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path: str = scope["path"]
        if path.startswith("/read/"):
            await self._together.read(JobId(path.removeprefix("/read/")), LOCAL_TENANT)
        elif path == "/submit":
            await receive()
            job = NewJob(new_job_id(), LOCAL_TENANT, SETTINGS.model or "", PARAMS, {})
            await self._together.run(submit(job, TERMS))
        await send(dict(START))
        await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    uvicorn.run(Raw(), port=int(sys.argv[1]), access_log=False, server_header=False, lifespan="off")
