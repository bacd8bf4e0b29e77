"""Who asks: the visitor whom a browser's cookie names, or the key with which somebody signed in.

Each visitor is a tenant of their own at the gateway, so what keeps one from another's jobs is the gateway's work; this
module keeps one from another's cookie. Knows nothing of Gradio and of jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from shared.access import Scope
from shared.client import Client
from shared.errors import InvalidRequest, KeyRefused, KeyRequired, ScopeMissing
from shared.keyring import Me

VISITOR_COOKIE: Final = "darkroom_visitor"
KEY_COOKIE: Final = "darkroom_key"
"""What the cookies' names begin with. A host's cookies go to all its ports: what follows tells pages apart."""
KEPT_S: Final = 400 * 24 * 3600
"""As long as browsers keep a cookie at most: a visitor's from each visit on, a key's from signing in."""

OPERATOR_KNOWN_S: Final = 10.0
"""For so long a key that was an operator's is taken for one; each of its requests the gateway judges by itself."""

_NAME_BYTES: Final = 12
_PAGE_CHARS: Final = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits at a browser."""

    client: Client
    """Asks the gateway as them."""
    key: str | None = field(default=None, repr=False)
    """The one that they signed in with."""


class Visitors:
    """Tells the people at a page apart. Serves many threads."""

    def __init__(self, client: Client, secret: str | None, *, is_private: bool = True) -> None:
        """`client` asks as the page. Without a secret one is drawn: its cookies are worth nothing after a restart.

        `is_private` is True if only this machine reaches the page.
        """
        self._client = client
        self._secret = (secret or secrets.token_hex(32)).encode()
        # A drawn one names none: each restart would leave a cookie behind.
        of_page = f"_{self._digest(b'cookies')[:_PAGE_CHARS]}" if secret else ""
        self._visitor_cookie, self._key_cookie = f"{VISITOR_COOKIE}{of_page}", f"{KEY_COOKIE}{of_page}"
        self._is_private = is_private
        self._known_until: dict[str | None, float] = {}
        if not secret:
            _log.warning("no DARKROOM_VISITOR_SECRET and no DARKROOM_PAGE_KEY: visitors are unknown after a restart")

    def person(self, request: HTTPConnection) -> Person | None:
        """Tell who sends a request; None for a browser that the page has not met, or that keeps no cookies."""
        cookies = request.cookies
        if key := cookies.get(self._key_cookie):
            try:
                return Person(self._signed_in(key), key)
            except InvalidRequest:
                return None
        name = self._named(cookies)
        return None if name is None else Person(self._client.acting(visitor=name))

    def client(self, request: HTTPConnection) -> Client:
        """Give the client that asks as who sends a request. Raises KeyRequired for a browser that nobody knows."""
        person = self.person(request)
        if person is None:
            raise KeyRequired
        return person.client

    def operator(self, request: HTTPConnection) -> Client | None:
        """Give the client of somebody who runs the service; None for everybody else. Raises while nobody can tell.

        That is who signed in with a key that has the scope `admin`. At a gateway that needs no key and takes everybody
        on this machine for an operator, it is whoever sits at a page that only this machine reaches.
        """
        person = self.person(request)
        key = person.key if person else None
        client = person.client if person and key else self._client if self._is_private else None
        if client is None or self._known_until.get(key, 0.0) > time.monotonic():
            return client
        try:
            me = client.me() if key is None else self.try_key(key)
        except (InvalidRequest, KeyRefused, KeyRequired, ScopeMissing):
            return None
        if Scope.ADMIN not in me.scopes:
            return None
        self._known_until[key] = time.monotonic() + OPERATOR_KNOWN_S
        return client

    def greet(self, request: HTTPConnection, response: Response) -> None:
        """Have the browser keep the visitor's name for as long as it will; give a new visitor one."""
        name = self._named(request.cookies) or secrets.token_hex(_NAME_BYTES)
        self._keep(request, response, self._visitor_cookie, f"{name}.{self._signature(name)}")

    def try_key(self, key: str) -> Me:
        """Ask the gateway whose key this is. Raises KeyRefused, InvalidRequest, and what any verb raises."""
        me = self._signed_in(key).me()
        if me.key is None:
            raise KeyRefused
        return me

    def sign_in(self, request: HTTPConnection, response: Response, key: str) -> None:
        """Have the browser keep a key, out of its scripts' reach."""
        self._keep(request, response, self._key_cookie, key)

    def sign_out(self, request: HTTPConnection, response: Response) -> None:
        """Have the browser forget the key; who was a visitor before is that visitor again."""
        response.delete_cookie(self._key_cookie, path=_path(request))

    def _signed_in(self, key: str) -> Client:
        """Ask with a key that a browser brought: never as whoever has none, where the gateway lets them in."""
        return self._client.acting(api_key=key, must_know=True)

    def _named(self, cookies: Mapping[str, str]) -> str | None:
        # The bare name is of before pages had names of their own; whoever comes with it gets the other one as well.
        for cookie in (self._visitor_cookie, VISITOR_COOKIE):
            name, _, signature = cookies.get(cookie, "").partition(".")
            if name and hmac.compare_digest(signature.encode(), self._signature(name).encode()):
                return name
        return None

    def _signature(self, name: str) -> str:
        return self._digest(b"visitor:" + name.encode())

    def _digest(self, text: bytes) -> str:
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def _keep(self, request: HTTPConnection, response: Response, cookie: str, value: str) -> None:
        response.set_cookie(
            cookie,
            value,
            max_age=KEPT_S,
            path=_path(request),
            secure=_came_by_https(request),
            httponly=True,
            samesite="lax",  # a link from elsewhere finds the visitor; a form from elsewhere doesn't
        )


def _came_by_https(request: HTTPConnection) -> bool:
    """True if a browser asked by https, as far as this server, a proxy, or the browser that sends a form says so.

    Nobody has to be trusted for it: who says so in vain is sent a cookie that their own browser keeps to itself.
    """
    by_proxy = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
    by_form = request.headers.get("Origin", "").partition(":")[0]
    return "https" in (request.url.scheme, by_proxy, by_form)


def _path(request: HTTPConnection) -> str:
    """Where the page lives on its host."""
    return request.scope.get("root_path") or "/"
