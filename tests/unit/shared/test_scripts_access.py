"""Keys and limits in Redis."""

from __future__ import annotations

import time

import pytest
import redis

from shared.access import NO_LIMITS, KeyId, Limits, NewKey, Scope
from shared.connection import run
from shared.errors import KeyNotFound
from shared.jobs import Tenant
from shared.keys import DEFAULT
from shared.scripts import admit, issue, keyring, limits_of, revoke, set_limits, tenants

ANN, BOB = Tenant("ann"), Tenant("bob")


def new_key(name: str = "one", tenant: Tenant = ANN, *, expires_after_s: int | None = None) -> NewKey:
    scopes = frozenset({Scope.READ, Scope.SUBMIT})
    return NewKey(KeyId(name), f"digest of {name}", "A b, c: d", tenant, scopes, expires_after_s)


def test_a_key_comes_back_as_it_was_written(queue: redis.Redis) -> None:
    new = new_key(expires_after_s=60)

    made = run(queue, issue(new))

    assert (made.id, made.digest, made.name, made.tenant, made.scopes) == (
        new.id,
        new.digest,
        new.name,
        new.tenant,
        new.scopes,
    )
    assert made.expires_at_ms == made.created_at_ms + 60_000
    assert made.used_at_ms is None
    assert run(queue, keyring()) == (made,)


def test_a_key_that_is_there_is_never_written_over(queue: redis.Redis) -> None:
    first = run(queue, issue(new_key()))

    second = run(queue, issue(NewKey(first.id, "another digest", "b", BOB, frozenset(Scope))))

    assert second == first
    assert run(queue, tenants()) == {ANN: NO_LIMITS}


def test_a_use_is_noted_once_a_minute(queue: redis.Redis) -> None:
    made = run(queue, issue(new_key()))

    assert run(queue, admit(made.id)) is not None
    (used,) = run(queue, keyring())
    assert used.used_at_ms is not None
    time.sleep(0.01)
    run(queue, admit(made.id))
    assert run(queue, keyring()) == (used,)
    queue.hset(f"{DEFAULT.prefix}access:{made.id}", "used_at_ms", used.used_at_ms - 60_000)
    run(queue, admit(made.id))
    (again,) = run(queue, keyring())
    assert again.used_at_ms is not None
    assert again.used_at_ms > used.used_at_ms


def test_an_expired_key_is_none_and_its_use_is_not_noted(queue: redis.Redis) -> None:
    made = run(queue, issue(new_key(expires_after_s=60)))
    queue.hset(f"{DEFAULT.prefix}access:{made.id}", "expires_at_ms", int(time.time() * 1000) - 1)

    assert run(queue, admit(made.id)) is None
    (listed,) = run(queue, keyring())
    assert listed.used_at_ms is None


def test_a_revoked_key_is_gone(queue: redis.Redis) -> None:
    kept, gone = run(queue, issue(new_key("kept"))), run(queue, issue(new_key("gone")))

    run(queue, revoke(gone.id))

    assert run(queue, admit(gone.id)) is None
    assert [key.id for key in run(queue, keyring())] == [kept.id]
    with pytest.raises(KeyNotFound):
        run(queue, revoke(gone.id))


def test_limits_are_set_as_a_whole(queue: redis.Redis) -> None:
    limits = Limits(weight=0.25, max_waiting=3, max_running=0, requests_per_minute=9)

    run(queue, set_limits(ANN, limits))
    assert run(queue, limits_of(ANN)) == limits
    assert run(queue, limits_of(BOB)) == NO_LIMITS
    run(queue, set_limits(ANN, Limits(max_waiting=4)))
    assert run(queue, limits_of(ANN)) == Limits(max_waiting=4)
    run(queue, set_limits(ANN, NO_LIMITS))
    assert not queue.exists(f"{DEFAULT.prefix}limits:{ANN}")
    assert run(queue, tenants()) == {ANN: NO_LIMITS}
