"""The drill of docs/operations/keys.md: Redis gets a new password while the service runs; nobody is turned away."""

from __future__ import annotations

from pydantic import SecretStr

from deploy.keys import new_key
from shared.connection import connect
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import Hand, serving
from tests.servers import RedisServer, S3Server


def with_password(settings: Settings, redis: RedisServer, password: str) -> Settings:
    url = redis.url.replace(redis.password, password)
    return settings.model_copy(update={"redis_url": SecretStr(url)})


def test_redis_gets_a_new_password_and_parts_move_to_it_one_by_one(
    own_redis_server: RedisServer, s3_server: S3Server
) -> None:
    redis, password = own_redis_server, new_key()
    old = settings_for(redis, s3_server)
    new = with_password(old, redis, password)

    with serving(old) as gateway:
        with connect(old) as client:
            client.execute_command("ACL SETUSER", "default", f">{password}")  # pyright: ignore[reportUnknownMemberType]: **kwargs
        with Hand(new) as hand, serving(new) as newer:
            job = gateway.http.post("/v1/jobs", json={"prompt": "a fox"}).json()
            taken = hand.take()
            hand.draw(taken, 0, b"a picture")
            hand.finish(taken)
            assert newer.http.get(job["urls"]["get"]).json()["status"] == "succeeded"

            with connect(new) as client:
                client.execute_command("ACL SETUSER", "default", f"<{redis.password}")  # pyright: ignore[reportUnknownMemberType]
            # Who is connected stays so: the old gateway may be replaced in peace.
            assert gateway.http.get(job["urls"]["get"]).json()["status"] == "succeeded"
            assert newer.http.post("/v1/jobs", json={"prompt": "another"}).status_code == 202

    redis.stop()
    with RedisServer(redis.folder, redis.port, password):
        with serving(old) as gateway:
            refused = gateway.http.get("/v1/jobs")
            assert refused.status_code == 503
            assert redis.password not in refused.text
        with serving(new) as gateway:
            assert len(gateway.http.get("/v1/jobs").json()["data"]) == 2
