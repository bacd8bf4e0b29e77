from __future__ import annotations

import re

import pytest

from shared.access import (
    TENANT_PATTERN,
    KeyId,
    NewKey,
    Scope,
    digest_of,
    draw_key,
    host_of,
    is_key_id,
    read_key,
    visitor_of,
    write_key,
)
from shared.jobs import Tenant


def test_a_written_key_is_read_back() -> None:
    key_id, secret = draw_key()

    assert read_key(write_key(key_id, secret)) == (key_id, secret)
    assert is_key_id(key_id)
    assert len(secret) * 5 >= 160  # bits


@pytest.mark.parametrize("text", ["", "darkroom_", "sk-0123", "darkroom_" + "0" * 12, "x" * 10_000])
def test_what_is_no_key_is_not_read(text: str) -> None:
    assert read_key(text) is None


def test_nor_is_a_key_that_was_changed() -> None:
    key = write_key(*draw_key())

    assert not [text for text in (key.upper(), key + "0", key[:-1], key + "\n", f" {key}") if read_key(text)]


def test_a_digest_is_in_no_listing() -> None:
    new = NewKey(KeyId("one"), digest_of("secret"), "name", Tenant("ann"), frozenset(Scope))

    assert new.digest not in repr(new)


def test_a_visitor_is_none_but_its_hosts() -> None:
    names = ["v1", "V1", "v2"]
    tenants = {visitor_of(Tenant(host), name) for host in ("page", "shop") for name in names}

    assert len(tenants) == 6
    assert {host_of(tenant) for tenant in tenants} == {"page", "shop"}
    assert not [tenant for tenant in tenants if re.fullmatch(TENANT_PATTERN, tenant)]
    assert all(re.fullmatch(r"[a-z]+~[0-9a-f]{32}", tenant) for tenant in tenants)
    assert host_of(Tenant("ann")) == "ann"
