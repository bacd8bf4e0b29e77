"""Where Redis is, as DARKROOM_REDIS_URL says it: a server, or a master that sentinels know. Connects to nothing.

    redis://:password@redis.example.net:6379/0
    rediss://user:password@redis.example.net:6380/0?ssl_certfile=/etc/darkroom/client.pem
    redis+sentinel://:password@s1.example.net:26379,s2.example.net:26379/darkroom/0?sentinel_password=another

No message of this module repeats what it was given: there are passwords in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SENTINEL_PORT: Final = 26379

_SENTINEL: Final = "+sentinel"
_PLAIN: Final = frozenset({"redis", "rediss"})
_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_CHECKS: Final = {
    "ssl_cert_reqs": frozenset({"required", "CERT_REQUIRED"}),
    "ssl_check_hostname": frozenset({"true", "True"}),
}
"""What is done anyway; said otherwise, anybody on the way could be Redis."""
_OF_SENTINELS: Final = frozenset({"sentinel_username", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class Sentinel:
    """One process that knows who is the master."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Write it as a URL does."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A checked DARKROOM_REDIS_URL."""

    scheme: str
    """`redis`, or `rediss` (TLS, to the sentinels too)."""
    credentials: str = field(repr=False)
    """`user:password@` as in the URL, or nothing."""
    netloc: str
    """Of the server; empty with sentinels."""
    path: str
    """The database's number."""
    files: Mapping[str, str]
    """Certificates and keys that the URL names, as redis-py calls them."""
    sentinels: tuple[Sentinel, ...] = ()
    master: str = ""
    """What the sentinels call it."""
    sentinel_login: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """`username` and `password` of the sentinels' own, where they have any."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL. Raises ValueError, with a sentence that has nothing of it."""
        try:
            split = urlsplit(url)
            _ = None if _SENTINEL in split.scheme else split.port
        except ValueError:
            raise ValueError(
                "it is no URL: a character of the password may have to be written %40 or the like"
            ) from None
        scheme, plus, _ = split.scheme.partition("+")
        if scheme == "unix":
            raise ValueError(
                "a socket's path will not do: Celery, which wakes the workers, takes none. Have Redis listen on "
                "127.0.0.1, and write redis://:password@127.0.0.1:6379/0"
            )
        if scheme not in _PLAIN or (plus and split.scheme not in {f"redis{_SENTINEL}", f"rediss{_SENTINEL}"}):
            raise ValueError(
                "it begins with redis://, rediss:// (TLS), redis+sentinel:// or rediss+sentinel:// (TLS to both)"
            )
        asked = dict(parse_qsl(split.query, keep_blank_values=True))
        files = _files(asked, is_tls=scheme == "rediss", may_login=bool(plus))
        at = split.netloc.rfind("@") + 1
        credentials, netloc = split.netloc[:at], split.netloc[at:]
        if split.fragment:
            raise ValueError("a # in it is written %23: nothing is read behind one")
        if not plus:
            if not (split.hostname and re.fullmatch(r"(/[0-9]*)?", split.path)):
                raise ValueError(
                    "after the host goes the database's number: redis://:password@redis.example.net:6379/0. "
                    "A / in a password is written %2F"
                )
            return cls(scheme, credentials, netloc, split.path, files)
        master, db = _master(split)
        login = {name.removeprefix("sentinel_"): asked[name] for name in _OF_SENTINELS & asked.keys()}
        return cls(scheme, credentials, "", f"/{db}", files, _sentinels(netloc), master, login)

    @property
    def is_tls(self) -> bool:
        """True if whoever answers has to show a certificate."""
        return self.scheme == "rediss"

    @property
    def url(self) -> str:
        """The server as redis-py and kombu take it, without the files; of sentinels the first: who is asked goes on."""
        netloc = self.sentinels[0].netloc if self.sentinels else self.netloc
        return f"{self.scheme}://{self.credentials}{netloc}{self.path}"


def _files(asked: Mapping[str, str], *, is_tls: bool, may_login: bool) -> dict[str, str]:
    """Take the files out of a query, and refuse what else there is."""
    for name, value in asked.items():
        if name in _CHECKS and value not in _CHECKS[name]:
            raise ValueError(
                f"{name} would take anybody's certificate: leave it out, and name the CA that signed it in "
                "DARKROOM_CA_FILE"
            )
    known = _FILES | _CHECKS.keys() | (_OF_SENTINELS if may_login else frozenset[str]())
    if asked.keys() - known:  # which is not repeated: a password may have a question mark of its own
        raise ValueError(
            f"after the question mark stands what nothing reads; there go {', '.join(sorted(known))}. "
            "A ? in a password is written %3F"
        )
    files = {name: value for name, value in asked.items() if name in _FILES}
    if files and not is_tls:
        raise ValueError(f"{', '.join(sorted(files))} needs TLS: it begins with rediss:// or rediss+sentinel://")
    return files


def _master(split: SplitResult) -> tuple[str, int]:
    """Read `/name/db`."""
    name, _, db = split.path.removeprefix("/").partition("/")
    if not name or (db and not db.isdecimal()):
        raise ValueError(
            "after the sentinels go the master's name, as in their `sentinel monitor`, and the database's number: "
            "redis+sentinel://:password@h1:26379,h2:26379/darkroom/0"
        )
    return unquote(name), int(db or 0)


def _sentinels(netloc: str) -> tuple[Sentinel, ...]:
    """Read `h1:26379,h2`."""
    found: list[Sentinel] = []
    for one in netloc.split(","):
        try:
            split = urlsplit(f"//{one.strip()}")
            host, port = split.hostname, split.port
        except ValueError:
            host, port = None, None
        if not host:
            raise ValueError("sentinels are written host:port, with commas between them, and one password before all")
        found.append(Sentinel(host, port or SENTINEL_PORT))
    return tuple(found)
