"""Which URLs a webhook may have, and which addresses are public."""

from __future__ import annotations

import pytest

from shared.network import Reach, address_of
from shared.receiver import trouble_with

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::")
NOT_PUBLIC = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.1.1"),  # noqa: S104 nothing is bound
    *("192.0.0.8", "192.0.0.192", "192.0.2.1", "198.18.0.1", "192.88.99.1", "240.0.0.1", "255.255.255.255"),
    *(
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "::127.0.0.1",
    ),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_sent_to(address: str) -> None:
    found = address_of(address)
    assert found is not None
    assert Reach().permits(found)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_any_other_may_not_unless_the_operator_says_so(address: str) -> None:
    found = address_of(address)
    assert found is not None
    assert not Reach().permits(found)
    assert Reach.of(["0.0.0.0/0", "::/0"]).permits(found)


def test_an_allowed_network_is_allowed_by_its_mapped_name_too_and_no_other_is() -> None:
    reach = Reach.of(["127.0.0.0/8"])
    assert [reach.permits(one) for one in map(address_of, ("::ffff:127.0.0.1", "::1", "10.0.0.1")) if one] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://example.com:8443/hook?key=a%20b",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ],
)
def test_a_url_that_may_do(url: str) -> None:
    assert trouble_with(url, Reach()) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with https://"),
        ("example.com", "begins with https://"),
        ("ftp://example.com/", "begins with https://"),
        ("https://", "begins with https://"),
        ("https://example.com:0/", "begins with https://"),
        ("https://example.com:99999/", "Must be a URL"),
        ("https://[::1/", "Must be a URL"),
        ("https://exämple.com/", "plain ASCII"),
        ("https://example.com/a b", "plain ASCII"),
        ("https://example.com/\r\nHost: other", "plain ASCII"),
        ("https://user:secret@example.com/", "no user or password"),
        ("https://example.com/#part", "no #fragment"),
        ("http://example.com/", "begin with https://"),
        ("http://8.8.8.8/", "begin with https://"),
        ("https://127.0.0.1/", "public address"),
        ("https://localhost/", "not be this machine"),
        ("https://x.localhost/", "not be this machine"),
        ("https://localhost./", "not be this machine"),
        ("https://x.localhost./", "not be this machine"),
        ("https://[::ffff:10.0.0.1]/", "public address"),
    ],
)
def test_a_url_that_may_not_do_is_told_why(url: str, said: str) -> None:
    assert said in (trouble_with(url, Reach()) or "")


def test_in_the_operators_networks_plain_http_will_do() -> None:
    reach = Reach.of(["10.0.0.0/8"])
    assert trouble_with("http://10.1.2.3:8000/hook", reach) is None
    assert trouble_with("http://receiver.internal/hook", reach) is None
    assert "https://" in (trouble_with("http://8.8.8.8/", reach) or "")
