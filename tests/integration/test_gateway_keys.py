"""Keys from their making to their end, and what is set for a tenant."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from api.access import FRESH_S
from shared.access import digest_of
from shared.client import Client
from shared.connection import connect
from shared.contract import JobBody
from shared.errors import KeyRefused, KeyRequired, QueueUnavailable, ScopeMissing
from shared.jobs import Tenant
from shared.keyring import KeyList, Me, TenantList
from shared.logs import Text
from tests.conftest import settings_for
from tests.integration.keyholders import (
    OPERATOR_KEY,
    PAGE_KEY,
    WATCH_KEY,
    bearer,
    code_of,
    guarded,
    make_key,
    set_limits,
)
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until
from tests.unit.shared.queue_keyspace import contents

OPERATOR = bearer(OPERATOR_KEY)


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with guarded(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture
def drawer(keyed: Serving) -> Iterator[Hand]:
    with Hand(keyed.settings) as hand:
        hand.forget_all()
        hand.arrive()
        yield hand


def keys(gateway: Serving) -> KeyList:
    return KeyList.model_validate_json(gateway.http.get("/v1/keys", headers=OPERATOR).raise_for_status().content)


def me(gateway: Serving, headers: dict[str, str]) -> Me:
    return Me.model_validate_json(gateway.http.get("/v1/me", headers=headers).raise_for_status().content)


def submit(gateway: Serving, headers: dict[str, str], **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields}, headers=headers)
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


class TestMaking:
    @pytest.mark.usefixtures("drawer")
    def test_a_key_is_told_once_and_opens_what_it_says(self, keyed: Serving) -> None:
        made = make_key(keyed, "ann", name="  Ann's laptop ")

        assert made.key.startswith(f"darkroom_{made.id}_")
        assert (made.name, made.tenant, made.scopes) == ("Ann's laptop", "ann", ("read", "submit"))
        assert (made.expires_at, made.last_used_at) == (None, None)
        assert submit(keyed, bearer(made.key)).status == "queued"
        listing = keyed.http.get("/v1/keys", headers=OPERATOR)
        assert made.id in listing.text
        assert made.key.split("_")[2] not in listing.text

    def test_no_two_are_alike(self, keyed: Serving) -> None:
        made = [make_key(keyed, "ann") for _ in range(20)]

        assert len({one.id for one in made}) == len({one.key.split("_")[2] for one in made}) == 20
        assert [key.id for key in keys(keyed).data[:20]] == [one.id for one in reversed(made)]

    @pytest.mark.usefixtures("drawer")
    def test_redis_has_no_secret(self, keyed: Serving) -> None:
        secret = make_key(keyed, "ann").key.split("_")[2]

        with connect(keyed.settings) as client:
            everything = str(contents(client))

        assert digest_of(secret) in everything
        for hidden in (secret, OPERATOR_KEY, PAGE_KEY):
            assert hidden not in everything

    @pytest.mark.usefixtures("drawer")
    def test_no_log_line_has_one(self, keyed: Serving, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        caplog.handler.setFormatter(Text())
        made = make_key(keyed, "ann")
        wrong = made.key[:-1] + ("0" if made.key[-1] != "0" else "1")

        submit(keyed, bearer(made.key))
        for key in (wrong, PAGE_KEY + "x"):
            keyed.http.get("/v1/jobs", headers=bearer(key))
        keyed.http.get("/v1/jobs", headers={**bearer(PAGE_KEY), "Darkroom-Visitor": "v1"})
        keyed.http.delete(f"/v1/keys/{made.id}", headers=OPERATOR).raise_for_status()

        wait_until(lambda: f" tenant=ann key={made.id}] POST /v1/jobs 202" in caplog.text, limit_s=5, what="named")
        told = [line for line in caplog.text.splitlines() if " api." in line]
        assert any(f" tenant=operator key=operator] an operator: made key={made.id} tenant=ann" in one for one in told)
        own = "\n".join(told)
        for hidden in (made.key.split("_")[2], wrong.split("_")[2], OPERATOR_KEY, PAGE_KEY):
            assert hidden not in own

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({}, {"name", "tenant"}),
            ({"name": "", "tenant": "ann"}, {"name"}),
            ({"name": "a\nb", "tenant": "ann"}, {"name"}),
            ({"name": "x", "tenant": "Ann"}, {"tenant"}),
            ({"name": "x", "tenant": "a:b"}, {"tenant"}),
            ({"name": "x", "tenant": "a/../b"}, {"tenant"}),
            ({"name": "x", "tenant": "ann\n"}, {"tenant"}),
            ({"name": "x", "tenant": "a" * 64}, {"tenant"}),
            ({"name": "x", "tenant": "ann", "scopes": []}, {"scopes"}),
            ({"name": "x", "tenant": "ann", "expires_after": 0}, {"expires_after"}),
            ({"name": "x", "tenant": "ann", "expires_after": "60"}, {"expires_after"}),
            ({"name": "x", "tenant": "ann", "secret": "mine"}, {"secret"}),
        ],
    )
    def test_a_wrong_request_is_told_what_is_wrong(self, keyed: Serving, body: object, wrong: set[str]) -> None:
        before = keys(keyed)

        response = keyed.http.post("/v1/keys", json=body, headers=OPERATOR)

        assert (response.status_code, code_of(response)) == (422, "invalid_request")
        assert {error["field"] for error in response.json()["errors"]} == wrong
        assert keys(keyed) == before

    def test_an_unknown_scope_is_refused(self, keyed: Serving) -> None:
        body = {"name": "x", "tenant": "ann", "scopes": ["read", "root"]}

        response = keyed.http.post("/v1/keys", json=body, headers=OPERATOR)

        assert response.status_code == 422
        assert "scopes" in response.json()["errors"][0]["field"]

    def test_the_watch_key_opens_neither_jobs_nor_the_fleet(self, keyed: Serving) -> None:
        watching = bearer(WATCH_KEY)

        refused = [keyed.http.get(path, headers=watching) for path in ("/v1/jobs", "/v1/models", "/v1/workers")]

        assert {code_of(response) for response in refused} == {"scope_missing"}
        assert me(keyed, watching).model_dump(mode="json")["scopes"] == ["watch"]
        assert me(keyed, watching).tenant == "watch"

    def test_an_admin_key_makes_keys(self, keyed: Serving) -> None:
        admin = bearer(make_key(keyed, "ops", scopes=["admin"]).key)

        made = keyed.http.post("/v1/keys", json={"name": "x", "tenant": "carl"}, headers=admin)

        assert made.status_code == 201
        assert me(keyed, bearer(made.json()["key"])).tenant == "carl"


class TestSending:
    @pytest.mark.usefixtures("drawer")
    def test_a_client_of_ours_sends_it(self, keyed: Serving) -> None:
        with Client(keyed.url, api_key=make_key(keyed, "ann").key) as client:
            job = client.submit("a red cube")
        with Client(keyed.url, api_key=make_key(keyed, "bob").key) as client:
            assert client.jobs().data == ()
        with Client(keyed.url) as client, pytest.raises(KeyRequired):
            client.job(job.id)
        with Client(keyed.url, api_key="mistyped") as client, pytest.raises(KeyRefused):
            client.job(job.id)
        only_reads = make_key(keyed, "ann", scopes=["read"]).key
        with Client(keyed.url, api_key=only_reads) as client, pytest.raises(ScopeMissing, match="`submit`"):
            client.cancel(job.id)

    @pytest.mark.usefixtures("drawer")
    def test_the_page_speaks_for_its_visitors(self, keyed: Serving) -> None:
        with Client(keyed.url, api_key=PAGE_KEY, visitor="v1") as client:
            job = client.submit("a red cube")
            assert [one.id for one in client.jobs().data] == [job.id]
        with Client(keyed.url, api_key=PAGE_KEY) as client:
            assert client.jobs().data == ()

    def test_the_password_of_basic_is_a_key_too(self, keyed: Serving) -> None:
        key = make_key(keyed, "ann").key

        def basic(words: str) -> dict[str, str]:
            return {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}

        assert me(keyed, basic(f"anybody:{key}")).tenant == "ann"
        for wrong in (key, f"{key}:", f"anybody:{key}x"):
            assert keyed.http.get("/v1/me", headers=basic(wrong)).status_code == 401

    @pytest.mark.parametrize("said", ["Bearer", "Token abc", "Basic ???", "Digest x"])
    def test_any_other_way_is_refused(self, keyed: Serving, said: str) -> None:
        response = keyed.http.get("/v1/me", headers={"Authorization": said})

        assert (response.status_code, code_of(response)) == (401, "key_refused")

    def test_two_of_them_are_refused(self, keyed: Serving) -> None:
        """A proxy may have looked at the other one."""
        keys = [make_key(keyed, tenant).key for tenant in ("ann", "bob")]

        response = keyed.http.get("/v1/me", headers=[("Authorization", f"Bearer {key}") for key in keys])

        assert (response.status_code, code_of(response)) == (401, "key_refused")

    @pytest.mark.usefixtures("drawer")
    def test_health_and_the_way_in_need_none(self, keyed: Serving) -> None:
        for path in ("/", "/healthz", "/readyz", "/openapi.json"):
            response = keyed.http.get(path)
            assert response.status_code == 200
            assert not [name for name in response.headers if name.startswith("ratelimit")]


class TestEnding:
    def test_a_revoked_key_opens_nothing_at_once_here_and_in_a_moment_elsewhere(
        self, keyed: Serving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.access.FRESH_S", 3600.0)  # so that nothing but word of it helps
        made = make_key(keyed, "ann")
        with guarded(keyed.settings) as other:
            for gateway in (keyed, other):
                assert me(gateway, bearer(made.key)).tenant == "ann"

            keyed.http.delete(f"/v1/keys/{made.id}", headers=OPERATOR).raise_for_status()

            response = keyed.http.get("/v1/me", headers=bearer(made.key))
            assert (response.status_code, code_of(response)) == (401, "key_refused")
            wait_until(
                lambda: other.http.get("/v1/me", headers=bearer(made.key)).status_code == 401,
                limit_s=2,
                what="the other gateway refuses it too",
            )
        assert made.id not in {key.id for key in keys(keyed).data}

    def test_a_key_expires(self, keyed: Serving) -> None:
        made = make_key(keyed, "ann", expires_after=1)
        assert made.expires_at is not None
        assert (made.expires_at - made.created_at).total_seconds() == 1
        assert me(keyed, bearer(made.key)).tenant == "ann"

        wait_until(
            lambda: keyed.http.get("/v1/me", headers=bearer(made.key)).status_code == 401,
            limit_s=FRESH_S + 3,
            what="it has expired",
        )
        assert made.id in {key.id for key in keys(keyed).data}  # so that its owner can be told why

    @pytest.mark.parametrize("key_id", ["0" * 12, "x", "a:b", "0" * 500])
    def test_what_is_no_key_cannot_be_revoked(self, keyed: Serving, key_id: str) -> None:
        response = keyed.http.delete(f"/v1/keys/{key_id}", headers=OPERATOR)

        assert (response.status_code, code_of(response)) == (404, "key_not_found")

    def test_its_last_use_is_told(self, keyed: Serving) -> None:
        made = make_key(keyed, "ann")
        me(keyed, bearer(made.key))

        (listed,) = (key for key in keys(keyed).data if key.id == made.id)

        assert listed.last_used_at is not None
        assert 0 <= (listed.last_used_at - listed.created_at).total_seconds() < 60


class TestOpenOnLoopback:
    def test_nobody_needs_a_key_and_who_sends_one_is_its_tenant(
        self, redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        with serving(settings_for(redis_server, s3_server)) as gateway:
            assert me(gateway, {}).model_dump(mode="json")["scopes"] == ["admin", "read", "submit", "visit", "watch"]
            assert me(gateway, {}).tenant == "local"
            made = gateway.http.post("/v1/keys", json={"name": "x", "tenant": "ann"}).json()
            assert me(gateway, bearer(made["key"])).tenant == "ann"
            wrong = gateway.http.get("/v1/me", headers=bearer(made["key"][:-1] + "!"))
            assert wrong.status_code == 200  # not of our form: another service's, as clients must send some
            other = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
            refused = gateway.http.get("/v1/me", headers=bearer(other))
            assert (refused.status_code, code_of(refused)) == (401, "key_refused")

    def test_who_must_be_known_is_not_taken_for_nobody(self, redis_server: RedisServer, s3_server: S3Server) -> None:
        with serving(settings_for(redis_server, s3_server)) as gateway, Client(gateway.url) as client:
            made = client.create_key("x", tenant="ann")

            assert client.acting(api_key=made.key, must_know=True).me().tenant == "ann"
            for strange in ("x", made.key[:-1] + "!"):
                with pytest.raises(KeyRefused):
                    client.acting(api_key=strange, must_know=True).jobs()
                with pytest.raises(KeyRefused):
                    client.acting(api_key=strange, must_know=True).submit("a cube")
            with pytest.raises(KeyRequired):
                client.acting(must_know=True).me()
            other = gateway.http.get("/v1/me", headers={"Darkroom-Key": "optional"})
            assert (other.status_code, [error["field"] for error in other.json()["errors"]]) == (422, ["Darkroom-Key"])

    def test_with_an_operators_key_the_fleet_and_the_keys_are_its_owners(
        self, redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        settings = settings_for(redis_server, s3_server).model_copy(update={"operator_key": SecretStr(OPERATOR_KEY)})
        with serving(settings) as gateway:
            response = gateway.http.get("/v1/keys")
            assert (response.status_code, code_of(response)) == (401, "key_required")
            assert gateway.http.get("/v1/keys", headers=OPERATOR).status_code == 200
            assert gateway.http.get("/v1/jobs").status_code == 200


class TestTenants:
    @pytest.mark.usefixtures("drawer")
    def test_what_is_set_is_listed_and_can_be_set_back(self, keyed: Serving) -> None:
        make_key(keyed, "bob")
        set_limits(keyed, "ann", weight=2.5, max_running=0)

        def listed() -> dict[str, dict[str, float | None]]:
            body = keyed.http.get("/v1/tenants", headers=OPERATOR).raise_for_status().content
            return {
                one.name: one.limits.model_dump(exclude_none=True) for one in TenantList.model_validate_json(body).data
            }

        assert listed() == {"ann": {"weight": 2.5, "max_running": 0}, "bob": {}}
        set_limits(keyed, "ann")
        assert listed() == {"ann": {}, "bob": {}}

    @pytest.mark.usefixtures("drawer")
    def test_everybody_is_told_what_holds_for_it(self, keyed: Serving) -> None:
        set_limits(keyed, "ann", weight=2, requests_per_minute=77)

        told = me(keyed, bearer(make_key(keyed, "ann").key))

        assert (told.tenant, told.scopes) == ("ann", ("read", "submit"))
        assert told.limits.model_dump() == {
            "weight": 2,
            "max_waiting": keyed.settings.max_tenant_waiting,
            "max_running": keyed.settings.max_tenant_running,
            "requests_per_minute": 77,
        }

    @pytest.mark.parametrize(
        ("name", "limits", "wrong"),
        [
            ("ann", {"weight": 0}, "weight"),
            ("ann", {"weight": 1e9}, "weight"),
            ("ann", {"max_waiting": 0}, "max_waiting"),
            ("ann", {"max_running": -1}, "max_running"),
            ("ann", {"requests_per_minute": 1.5}, "requests_per_minute"),
            ("ann", {"wieght": 2}, "wieght"),
            ("Ann", {}, "name"),
        ],
    )
    def test_wrong_limits_are_named(self, keyed: Serving, name: str, limits: object, wrong: str) -> None:
        response = keyed.http.put(f"/v1/tenants/{name}", json=limits, headers=OPERATOR)

        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == [wrong]

    @pytest.mark.usefixtures("drawer")
    def test_the_limit_of_waiting_jobs_is_the_tenants_own(self, keyed: Serving) -> None:
        set_limits(keyed, "ann", max_waiting=1)
        ann, bob = (bearer(make_key(keyed, tenant).key) for tenant in ("ann", "bob"))

        submit(keyed, ann)
        refused = keyed.http.post("/v1/jobs", json={"prompt": "x"}, headers=ann)

        assert (refused.status_code, code_of(refused)) == (429, "tenant_queue_full")
        for _ in range(3):
            submit(keyed, bob)

    def test_a_limit_of_running_jobs_holds_for_each_visitor(self, keyed: Serving, drawer: Hand) -> None:
        set_limits(keyed, "page", max_running=1)
        visitors = [{**bearer(PAGE_KEY), "Darkroom-Visitor": who} for who in ("v1", "v1", "v2")]
        jobs = [submit(keyed, visitor) for visitor in visitors]

        taken = {drawer.take().job.id, drawer.take().job.id}

        assert taken == {jobs[0].id, jobs[2].id}
        waiting = keyed.http.get(f"/v1/jobs/{jobs[1].id}", headers=visitors[1]).json()
        assert waiting["reason"]["code"] == "running_limit"

    def test_a_weight_is_a_share_of_the_work(self, keyed: Serving, drawer: Hand) -> None:
        set_limits(keyed, "ann", weight=3)
        ann, bob = (bearer(make_key(keyed, tenant).key) for tenant in ("ann", "bob"))
        for _ in range(12):
            submit(keyed, ann)
            submit(keyed, bob)

        order = [drawer.take().job.tenant for _ in range(12)]

        assert order.count(Tenant("ann")) == 9
        assert order.count(Tenant("bob")) == 3

    def test_pictures_lie_under_their_tenant(self, keyed: Serving, drawer: Hand) -> None:
        visitor = {**bearer(PAGE_KEY), "Darkroom-Visitor": "v1"}
        job = submit(keyed, visitor)
        taken = drawer.take()
        image = drawer.draw(taken, 0, b"bytes")
        drawer.finish(taken)

        assert image.key.startswith("images/page~")
        url = f"/v1/jobs/{job.id}/images/0"
        assert keyed.http.get(url, headers=visitor).content == b"bytes"
        assert keyed.http.get(url, headers=bearer(PAGE_KEY)).status_code == 404


class TestAnOutage:
    def test_an_unknown_key_is_not_refused_while_nobody_can_tell(
        self, own_redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        with guarded(settings_for(own_redis_server, s3_server)) as gateway:
            key = make_key(gateway, "ann").key
            own_redis_server.kill()

            response = gateway.http.get("/v1/me", headers=bearer(key))
            assert (response.status_code, code_of(response)) == (503, "queue_unavailable")
            assert response.headers["Retry-After"] == "2"
            with Client(gateway.url, api_key=key) as client, pytest.raises(QueueUnavailable):
                client.job("0" * 26)
            mistyped = gateway.http.get("/v1/me", headers=bearer("mistyped"))
            assert mistyped.status_code == 401

            own_redis_server.start()
            wait_until(
                lambda: gateway.http.get("/v1/me", headers=bearer(key)).status_code == 200,
                limit_s=20,
                what="the key opens again",
            )

    def test_a_redis_that_takes_no_writes_still_lets_keys_in(
        self, own_redis_server: RedisServer, s3_server: S3Server
    ) -> None:
        with guarded(settings_for(own_redis_server, s3_server)) as gateway, connect(gateway.settings) as client:
            key = make_key(gateway, "ann", scopes=["read"]).key
            client.config_set("maxmemory", 1)  # pyright: ignore[reportUnknownMemberType]: **kwargs

            assert gateway.http.get("/v1/jobs", headers=bearer(key)).status_code == 200
