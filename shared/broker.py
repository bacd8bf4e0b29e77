"""The only Celery app, and the words that travel over it: wake-ups for workers, calls for couriers.

A wake-up says "there may be work for this pool", nothing else: the job itself lives in Redis, so a
wake-up that is lost, doubled or late does no harm. The gateway sends one with each job unless as many
wait as there are workers, the sweep one for each pool that jobs wait for. None carries an expiry: a
gateway's clock may be wrong.

    wake_ups = WakeUps(settings)
    wake_ups.send(job.pool)
"""

from __future__ import annotations

from typing import Any, Final, cast, final

from celery import Celery  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from kombu.entity import Queue  # pyright: ignore[reportMissingTypeStubs]
from kombu.exceptions import OperationalError  # pyright: ignore[reportMissingTypeStubs]
from kombu.transport.redis import Channel, Transport  # pyright: ignore[reportMissingTypeStubs]
from redis.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from shared.connection import connection_attributes, tls_options, translated
from shared.errors import QueueUnavailable
from shared.keys import queue_of
from shared.sentinels import AsksSentinels
from shared.settings import Settings

SHIFT: Final = "darkroom.shift"
"""The task that a wake-up names: work until the queue is empty."""

DELIVER: Final = "darkroom.deliver"
"""The task that a call for a courier names: send what webhooks are to be told, until nothing is due."""

COURIER_QUEUE: Final = "webhooks"

_TRANSPORT: Final = {
    # kombu's default is no time-out at all: a publish to a frozen Redis would hang.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # One try: who sends a wake-up does not wait for it.
    "max_retries": 0,
}

_CONFIG: Final = {
    "broker_transport_options": _TRANSPORT,
    "broker_connection_max_retries": None,  # a worker outlives any outage of Redis
    "broker_connection_retry_on_startup": True,
    "task_ignore_result": True,
    "task_acks_late": True,  # with early acks a busy worker hoards an idle one's wake-up
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_publish_retry": False,
    "worker_pool": "threads",  # a busy worker still answers pings and reconnects
    "worker_concurrency": 1,
    "worker_prefetch_multiplier": 1,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # leases decide that, not the broker
}


def make_app(settings: Settings) -> Celery:
    """Make the Celery app. Does not connect."""
    app = cast("Any", Celery("darkroom", broker=settings.redis_address.url))
    app.conf.update(_CONFIG)
    app.conf.broker_transport = _transport(settings)
    if tls := tls_options(settings):
        app.conf.broker_use_ssl = tls  # kombu would take any certificate
    return cast("Celery", app)


class _OutageIsALoss(AbstractConnection):
    """Is lost when Redis says that it is unwell, or no master: Celery connects anew then, and dies of other errors."""

    def read_response(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 (redis-py's own)
        try:
            return cast("object", super().read_response(*args, **kwargs))  # pyright: ignore[reportUnknownMemberType]
        except ResponseError as error:
            if isinstance(translated(error), QueueUnavailable):
                self.disconnect()  # pyright: ignore[reportUnknownMemberType]: **kwargs
                raise RedisConnectionError(str(error)) from error
            raise


class _Kind(type):
    """A transport's, which Celery writes into its log as the scheme of an address."""

    def __str__(cls) -> str:
        return "redis"


def _transport(settings: Settings) -> type:
    """Make kombu's transport, with connections that know the sentinels.

    kombu's own for sentinels is redis-py's pool, of which `shared.sentinels` says what it lacks.
    """
    known = connection_attributes(settings)
    asks = (AsksSentinels,) if known else ()
    kinds = {
        name: type("Connection", (_OutageIsALoss, *asks, kind), known)
        for name, kind in (("connection_class", Connection), ("connection_class_ssl", SSLConnection))
    }
    channel = type("Channel", (cast("type", Channel),), kinds)
    return _Kind("Transport", (cast("type", Transport),), {"Channel": channel})


def pool_queue(pool: str) -> Queue:
    """Make the queue that the workers of a pool consume."""
    name = queue_of(pool)
    return Queue(name, routing_key=name)


def courier_queue() -> Queue:
    """Make the queue that couriers consume."""
    return Queue(COURIER_QUEUE, routing_key=COURIER_QUEUE)


@final
class WakeUps:
    """Sends wake-ups and calls; for many threads."""

    def __init__(self, settings: Settings, *, app: Celery | None = None) -> None:
        self._app = cast("Any", app or make_app(settings))

    def send(self, pool: str) -> None:
        """Wake a worker of a pool. Blocks for milliseconds, or seconds if Redis is frozen.

        Raises QueueUnavailable; whoever submitted a job may ignore that, the sweep sends another.
        """
        self._send(SHIFT, queue_of(pool))

    def call_courier(self) -> None:
        """Tell a courier that webhooks have something to be sent. Blocks and raises as `send` does."""
        self._send(DELIVER, COURIER_QUEUE)

    def _send(self, task: str, queue: str) -> None:
        try:
            self._app.send_task(task, queue=queue, ignore_result=True, retry=False)
        except (OperationalError, RedisError, OSError) as error:
            raise QueueUnavailable("The queue does not answer, so nobody was woken.") from error

    def close(self) -> None:
        """Give up the connections."""
        self._app.close()
