"""Who may ask: keys, and what each tenant may have."""

from __future__ import annotations

from shared.access import AccessKey, KeyId, Limits, NewKey, Scope
from shared.call import Call, Reply, call_of, items, text
from shared.errors import KeyNotFound
from shared.jobs import Tenant
from shared.keys import DEFAULT, Keys


def issue(new: NewKey, *, keys: Keys = DEFAULT) -> Call[AccessKey]:
    """Keep a new key; the same id again gives the key that is there."""
    expires = "" if new.expires_after_s is None else new.expires_after_s * 1000
    args = (new.id, new.digest, new.name, new.tenant, ",".join(sorted(new.scopes)), expires)
    return call_of("issue", keys, args, lambda _code, rest: _key(new.id, rest[0]))


def admit(key_id: KeyId, *, keys: Keys = DEFAULT) -> Call[AccessKey | None]:
    """Tell what a key is good for; None if it is none, was revoked, or has expired. Its secret is for the caller."""
    return call_of("admit", keys, (key_id,), lambda code, rest: _key(key_id, rest[0]) if code == "OK" else None)


def revoke(key_id: KeyId, *, keys: Keys = DEFAULT) -> Call[None]:
    """Forget a key. Raises KeyNotFound, so also the second time."""

    def parse(code: str, _rest: list[Reply]) -> None:
        if code != "OK":
            raise KeyNotFound(key_id)

    return call_of("revoke", keys, (key_id,), parse)


def keyring(*, keys: Keys = DEFAULT) -> Call[tuple[AccessKey, ...]]:
    """List the keys, newest first; those too that have expired."""

    def parse(_code: str, rest: list[Reply]) -> tuple[AccessKey, ...]:
        entries = (items(entry) for entry in items(rest[0]))
        return tuple(_key(KeyId(text(key_id)), fields) for key_id, fields in entries)

    return call_of("keyring", keys, (), parse)


def set_limits(tenant: Tenant, limits: Limits, *, keys: Keys = DEFAULT) -> Call[None]:
    """Say what a tenant may have, instead of what was said before."""
    said = (limits.weight, limits.max_waiting, limits.max_running, limits.requests_per_minute)
    args = (tenant, *("" if value is None else value for value in said))
    return call_of("set_limits", keys, args, lambda _code, _rest: None)


def limits_of(tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Limits]:
    """Tell what was said of a tenant's limits."""
    return call_of("limits_of", keys, (tenant,), lambda _code, rest: _limits(rest[0]))


def tenants(*, keys: Keys = DEFAULT) -> Call[dict[Tenant, Limits]]:
    """List the tenants that have had a key or limits, by name."""

    def parse(_code: str, rest: list[Reply]) -> dict[Tenant, Limits]:
        entries = (items(entry) for entry in items(rest[0]))
        return {Tenant(text(name)): _limits(fields) for name, fields in entries}

    return call_of("tenants", keys, (), parse)


def _key(key_id: KeyId, reply: Reply) -> AccessKey:
    fields = _pairs(reply)
    return AccessKey(
        key_id,
        fields["digest"],
        fields["name"],
        Tenant(fields["tenant"]),
        frozenset(Scope(scope) for scope in fields["scopes"].split(",")),
        int(fields["created_at_ms"]),
        _whole(fields.get("expires_at_ms")),
        _whole(fields.get("used_at_ms")),
    )


def _limits(reply: Reply) -> Limits:
    fields = _pairs(reply)
    weight = fields.get("weight")
    return Limits(
        None if weight is None else float(weight),
        _whole(fields.get("max_waiting")),
        _whole(fields.get("max_running")),
        _whole(fields.get("requests_per_minute")),
    )


def _whole(said: str | None) -> int | None:
    return None if said is None else int(said)


def _pairs(reply: Reply) -> dict[str, str]:
    words = [text(word) for word in items(reply)]
    return dict(zip(words[::2], words[1::2], strict=True))
