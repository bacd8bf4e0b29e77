"""Where a webhook may be sent, as far as its URL tells; no name is looked up here.

A name's addresses are known only when a message is sent, so whoever sends looks at those again.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from shared.network import LOOPBACK, Reach, address_of


def trouble_with(url: str, reach: Reach) -> str | None:
    """Say what is wrong with a webhook's URL; None if it may do."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "Must be a URL, such as https://example.com/darkroom."
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "Must be a URL that begins with https:// and names a host."
    if any(character <= " " or character > "~" for character in url):
        return "Must be plain ASCII without blanks: write other characters as %XX, and names of hosts as xn--...."
    if parts.username is not None or parts.password is not None:
        return "Must hold no user or password. The signature tells you who sends: check it with the webhook's secret."
    if parts.fragment:
        return "Must have no #fragment: it would not be sent."
    return _host_trouble(parts, reach)


def _host_trouble(parts: SplitResult, reach: Reach) -> str | None:
    host = (parts.hostname or "").rstrip(".")  # with the dot it is the same name
    address = address_of(host)
    is_chosen = address is not None and reach.is_chosen(address)
    if parts.scheme == "http" and not (is_chosen or (address is None and reach.allowed)):
        return "Must begin with https://: prompts travel in it."
    if address is not None and not reach.permits(address):
        return "Must be a public address. DARKROOM_WEBHOOK_NETWORKS lets an operator allow others."
    if address is None and (host in LOOPBACK or host.endswith(".localhost")) and not reach.allowed:
        return "Must not be this machine. DARKROOM_WEBHOOK_NETWORKS lets an operator allow it."
    return None
