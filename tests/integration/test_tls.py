"""Redis and the store over TLS, by a CA of one's own: taken if all is well, else refused with what to do."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from api.rates import Rates
from api.together import Together
from deploy.health import has_heartbeat
from deploy.keys import new_key
from shared import scripts
from shared.broker import WakeUps, make_app
from shared.connection import connect, connect_async, refusal, run
from shared.errors import QueueUnavailable, StoreUnavailable
from shared.jobs import Tenant
from shared.keys import DEFAULT, queue_of
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.certificates import Authority, Certificate
from tests.conftest import settings_for
from tests.servers import RedisServer, S3Server
from tests.tls_proxy import tls_before
from tests.tls_refusals import refusing
from tests.watched import NAME, SentinelServer

WITHIN_S = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def over_tls(
    server: RedisServer, port: int, ca_file: Path | None, *, host: str = "127.0.0.1", query: str = ""
) -> Settings:
    url = f"rediss://:{server.password}@{host}:{port}/0{query}"
    return Settings(redis_url=SecretStr(url), ca_file=ca_file)


@pytest.fixture(scope="module")
def tls_port(redis_server: RedisServer, authority: Authority) -> Iterator[int]:
    with tls_before(redis_server.port, authority.issue("redis")) as port:
        yield port


@pytest.fixture
def tls_settings(redis_settings: Settings, redis_server: RedisServer, tls_port: int, authority: Authority) -> Settings:
    """An empty Redis, over TLS."""
    del redis_settings
    return over_tls(redis_server, tls_port, authority.file)


def test_threads_speak_tls(tls_settings: Settings) -> None:
    with connect(tls_settings) as client:
        assert run(client, scripts.fleet()) == scripts.Fleet((), ())
    assert refusal(tls_settings) is None


def test_the_gateways_loop_listens_and_counts_over_tls(tls_settings: Settings) -> None:
    async def main() -> None:
        client = connect_async(tls_settings)
        try:
            assert await Together(client).run(scripts.fleet()) == scripts.Fleet((), ())
            async with client.pubsub() as subscription:  # pyright: ignore[reportUnknownMemberType]: **kwargs
                await subscription.subscribe(DEFAULT.changes)
                await client.publish(DEFAULT.changes, "move:j:t")  # pyright: ignore[reportUnknownMemberType]
                heard = [cast("Any", await subscription.get_message(timeout=5.0)) for _ in range(2)]
            assert [message["type"] for message in heard] == ["subscribe", "message"]
            rate = await Rates(client).count(Tenant("ann"), 60)
            assert rate is not None
            assert rate.remaining == 59
        finally:
            await client.aclose()

    asyncio.run(main())


def test_wake_ups_and_health_checks_speak_tls(tls_settings: Settings) -> None:
    wake_ups = WakeUps(tls_settings)
    wake_ups.send("a/model")
    wake_ups.close()
    app = cast("Any", make_app(tls_settings))
    with app.connection() as connection:
        assert connection.SimpleQueue(queue_of("a/model")).qsize() == 1
    assert has_heartbeat(tls_settings) == "No worker on this host has sent a heartbeat lately."


Try = Callable[[Settings], object]


def by_thread(settings: Settings) -> object:
    with connect(settings) as client:
        return run(client, scripts.fleet())


def by_loop(settings: Settings) -> object:
    async def main() -> object:
        client = connect_async(settings)
        try:
            return await Together(client).run(scripts.fleet())
        finally:
            await client.aclose()

    return asyncio.run(main())


def by_wake_up(settings: Settings) -> None:
    wake_ups = WakeUps(settings)
    try:
        wake_ups.send("a/model")
    finally:
        wake_ups.close()


@pytest.mark.parametrize("way", [by_thread, by_loop])
def test_a_certificate_that_does_not_fit_is_refused_with_what_to_do(
    redis_server: RedisServer, authority: Authority, tls_port: int, tmp_path: Path, way: Try
) -> None:
    stranger = Authority(tmp_path, "stranger")
    with (
        tls_before(redis_server.port, authority.issue("lapsed", lapsed=True)) as lapsed,
        tls_before(redis_server.port, authority.issue("other", "DNS:redis.example")) as other,
    ):
        cases = [
            (over_tls(redis_server, tls_port, None), "DARKROOM_CA_FILE"),
            (over_tls(redis_server, tls_port, stranger.file), "DARKROOM_CA_FILE"),
            (over_tls(redis_server, lapsed, authority.file), "has expired: renew it"),
            (over_tls(redis_server, other, authority.file), "for another name"),
        ]
        for settings, said in cases:
            with pytest.raises(QueueUnavailable) as caught:
                way(settings)
            assert said in str(caught.value)
            assert redis_server.password not in str(caught.value)
            assert said in (refusal(settings) or "")


def test_no_wake_up_goes_to_a_redis_that_may_be_anybody(redis_server: RedisServer, authority: Authority) -> None:
    # Ports of its own: kombu keeps connections for the whole process, by host and port.
    with (
        tls_before(redis_server.port, authority.issue("redis-3")) as unknown,
        tls_before(redis_server.port, authority.issue("lapsed-3", lapsed=True)) as lapsed,
        tls_before(redis_server.port, authority.issue("other-3", "DNS:redis.example")) as other,
    ):
        for port, ca_file in ((unknown, None), (lapsed, authority.file), (other, authority.file)):
            with pytest.raises(QueueUnavailable):
                by_wake_up(over_tls(redis_server, port, ca_file))


def test_a_client_shows_its_certificate_where_one_is_asked_for(redis_server: RedisServer, authority: Authority) -> None:
    own = authority.issue("client").file
    with tls_before(redis_server.port, authority.issue("redis-2"), clients_of=authority.file) as port:
        settings = over_tls(redis_server, port, authority.file, query=f"?ssl_certfile={own}&ssl_keyfile={own}")
        for way in (by_thread, by_loop, by_wake_up):
            way(settings)
        for way in (by_thread, by_loop):
            with pytest.raises(QueueUnavailable):
                way(over_tls(redis_server, port, authority.file))


def of(
    version: ssl.TLSVersion, certificate: Certificate, *, clients_of: Path | None = None, ciphers: str | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    with warnings.catch_warnings(action="ignore"):  # which names what is old
        context.minimum_version = context.maximum_version = version
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of)
    return context


@pytest.mark.parametrize("way", [by_thread, by_loop])
def test_why_a_handshake_broke_off_is_told_as_far_as_it_is_known(
    redis_server: RedisServer, authority: Authority, tmp_path: Path, way: Try
) -> None:
    own, stranger = authority.issue("redis-4"), Authority(tmp_path, "stranger").issue("client").file
    shown = f"?ssl_certfile={stranger}&ssl_keyfile={stranger}"
    new, old, ancient = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1
    cases = [
        (of(new, own, clients_of=authority.file), "", "asks for a client's certificate"),
        (of(new, own, clients_of=authority.file), shown, "does not know the CA that signed the client's"),
        (of(old, own, clients_of=authority.file), "", "or it asks for a client's certificate"),
        (of(old, own, clients_of=authority.file), shown, "does not know the CA that signed the client's"),
        (of(old, own, ciphers="ECDHE-RSA-AES256-GCM-SHA384"), "", "no cipher that it and this machine both take"),
        (of(ancient, own, ciphers="ALL:@SECLEVEL=0"), "", "no version of TLS that it and this machine both take"),
    ]
    for context, query, said in cases:
        with refusing(context) as port, pytest.raises(QueueUnavailable) as caught:
            way(over_tls(redis_server, port, authority.file, query=query))
        assert said in str(caught.value)


def test_sentinels_and_the_master_that_they_name_speak_tls(
    redis_server: RedisServer, authority: Authority, tls_port: int, tmp_path: Path
) -> None:
    # It can't watch the master, to whom it speaks no TLS; it knows where it is.
    with (
        SentinelServer(tmp_path / "sentinel", tls_port, redis_server.password, new_key()) as sentinel,
        tls_before(sentinel.port, authority.issue("sentinel")) as port,
    ):
        url = f"rediss+sentinel://:{redis_server.password}@127.0.0.1:{port}/{NAME}/0?sentinel_password={sentinel.password}"
        settings = Settings(redis_url=SecretStr(url), ca_file=authority.file)
        for way in (by_thread, by_loop, by_wake_up):
            way(settings)
        stranger = settings.model_copy(update={"ca_file": None})
        assert "DARKROOM_CA_FILE" in (refusal(stranger) or "")


def test_sentinels_that_do_not_know_the_name_or_the_password_are_an_outage(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with SentinelServer(tmp_path / "sentinel", redis_server.port, redis_server.password, new_key()) as sentinel:
        for name, password, said in (("another", sentinel.password, "do not know"), (NAME, "wrong", "the password")):
            url = f"redis+sentinel://:{redis_server.password}@127.0.0.1:{sentinel.port}/{name}?sentinel_password={password}"
            for way in (by_thread, by_loop):
                with pytest.raises(QueueUnavailable, match=said):
                    way(Settings(redis_url=SecretStr(url)))


@pytest.mark.parametrize("module", ["api", "worker", "worker.courier"])
def test_no_part_starts_with_a_redis_that_may_be_anybody(
    redis_server: RedisServer, authority: Authority, module: str
) -> None:
    with tls_before(redis_server.port, authority.issue(f"lapsed-{module}", lapsed=True)) as port:
        environment = {
            "DARKROOM_REDIS_URL": f"rediss://:{redis_server.password}@127.0.0.1:{port}/0",
            "DARKROOM_CA_FILE": str(authority.file),
            "DARKROOM_API_PORT": "0",
            "PATH": "",
        }
        done = subprocess.run(
            (sys.executable, "-m", module),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    assert done.returncode != 0
    assert "does not start: DARKROOM_REDIS_URL: Its certificate has expired" in done.stderr
    assert redis_server.password not in done.stdout + done.stderr


def store_at(s3_server: S3Server, redis_server: RedisServer, port: int, ca_file: Path | None) -> ObjectStore:
    settings = settings_for(redis_server, s3_server)
    return ObjectStore.from_settings(
        settings.model_copy(update={"s3_endpoint": f"https://127.0.0.1:{port}", "ca_file": ca_file})
    )


def test_pictures_go_to_a_store_over_tls(redis_server: RedisServer, s3_server: S3Server, authority: Authority) -> None:
    with tls_before(s3_server.port, authority.issue("store")) as port:
        store = store_at(s3_server, redis_server, port, authority.file)
        store.ensure_bucket()
        store.put("a/b.png", b"picture", "image/png")
        assert store.get("a/b.png") == b"picture"
        assert "https://" in store.presigned_url("a/b.png", media_type="image/png", disposition="inline", expires_s=60)
        store.close()


def test_a_store_that_may_be_anybody_is_refused_with_what_to_do(
    redis_server: RedisServer, s3_server: S3Server, authority: Authority
) -> None:
    with (
        tls_before(s3_server.port, authority.issue("store-2")) as port,
        tls_before(s3_server.port, authority.issue("store-lapsed", lapsed=True)) as lapsed,
        tls_before(s3_server.port, authority.issue("store-other", "DNS:s3.example")) as other,
    ):
        cases = [
            (port, None, "DARKROOM_CA_FILE"),
            (lapsed, authority.file, "has expired"),
            (other, authority.file, "for another name"),
        ]
        for at, ca_file, said in cases:
            store = store_at(s3_server, redis_server, at, ca_file)
            with pytest.raises(StoreUnavailable) as caught:
                store.ensure_bucket()
            assert said in str(caught.value)
            assert s3_server.secret_key not in str(caught.value)
            store.close()


def test_a_ca_of_ones_own_comes_beside_the_public_ones(authority: Authority) -> None:
    from shared.object_store import _public_cas  # noqa: PLC0415  # pyright: ignore[reportPrivateUsage]
    from shared.trust import bundle  # noqa: PLC0415

    def number_in(file: Path) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(file)
        return context.cert_store_stats()["x509_ca"]

    both = bundle(_public_cas(), authority.file)
    assert number_in(both) == number_in(_public_cas()) + 1
    assert number_in(both) == number_in(_public_cas()) + 1  # as often as it is opened


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is a file like others")
def test_both_lie_where_nobody_tidies_up(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.object_store import _public_cas  # noqa: PLC0415  # pyright: ignore[reportPrivateUsage]
    from shared.trust import bundle  # noqa: PLC0415

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bundle.cache_clear()

    assert bundle(_public_cas(), authority.file).stat().st_size > 0
    assert list(tmp_path.iterdir()) == []
