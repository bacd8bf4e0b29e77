"""`make fleet-secrets`: what docker-compose.fleet.yml needs to let workers of other machines in, and what to tell them.

Makes, in fleet/, for its owner alone: a CA (ca.pem, ca.key), kept; a certificate by it for Redis and the store
(server.env), new each time; both addresses with their keys and the CA (join.env). Needs only Python and openssl.

    python -m deploy.fleet --address 10.1.0.5 --names darkroom.example.net
"""

from __future__ import annotations

import argparse
import base64
import ipaddress
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deploy import redis_users
from deploy.certificates import Authority, Certificate, NoCertificate, is_address
from deploy.keys import ENV_FILE, read_env, write_private

FOLDER: Final = ENV_FILE.with_name("fleet")
BASE: Final = "docker-compose.yml"
OVERRIDE: Final = "docker-compose.fleet.yml"
WORKER: Final = next(user for user in redis_users.USERS if user.name == "worker")
REDIS_PORT: Final = 6380
STORE_PORT: Final = 8334
_ADDRESS: Final = "FLEET_ADDRESS"
_ELSEWHERE: Final = ("DARKROOM_REDIS_URL", "DARKROOM_S3_ENDPOINT")
_AWS: Final = "docker-compose.aws.yml"


class NotNow(Exception):
    """It can't be done so; the message says how."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where this machine lets workers in."""

    address: str
    """Of one of its interfaces."""
    names: tuple[str, ...]
    """By which others know it, the first one best."""

    @classmethod
    def of(cls, address: str, names: Sequence[str]) -> Doors:
        """Check what was asked for.

        Raises:
            NotNow: it is no single address.
        """
        if not is_address(address):
            raise NotNow(
                "Which of this machine's addresses may the other machines come to? One of its network cards' (`ip "
                "address` lists them), best that of a private network: make fleet-secrets ADDRESS=10.1.0.5 "
                "NAMES=darkroom.example.net"
            )
        asked = ipaddress.ip_address(address)
        if asked.is_unspecified:
            raise NotNow(
                f"ADDRESS={address} would open Redis and the store on every network of this machine. Name one address."
            )
        if asked.is_loopback:
            raise NotNow(f"ADDRESS={address} is reached from this machine alone. Name one that others reach.")
        return cls(address, tuple(dict.fromkeys((*names, address))))


@dataclass(frozen=True, slots=True)
class Invitation:
    """What another machine is told."""

    redis: str = field(repr=False)
    store: str = field(repr=False)
    ca: str

    @property
    def text(self) -> str:
        """As settings, for `make worker JOIN=...` and for a container's .env."""
        told = {"DARKROOM_REDIS_URL": self.redis, "DARKROOM_S3_ENDPOINT": self.store, "DARKROOM_CA_FILE": self.ca}
        return "".join(f"{name}={value}\n" for name, value in told.items())

    @property
    def command(self) -> str:
        """As a command; the blank before it keeps it out of the history of most shells."""
        return f" REDIS='{self.redis}' STORE='{self.store}' CA='{self.ca}' make worker"


def invitation(env: Mapping[str, str], host: str, ca_pem: str) -> Invitation:
    """Write down both addresses, with the keys of `make secrets`; after `make redis-users` as Redis' user of workers.

    Raises:
        NotNow: there are none, or Redis or the store is not that of docker compose.
    """
    elsewhere = [name for name in _ELSEWHERE if env.get(name)]
    elsewhere += [_AWS] if _AWS in env.get("COMPOSE_FILE", "") else []
    if elsewhere:
        raise NotNow(
            f"By {', '.join(elsewhere)} in .env, Redis or the store is elsewhere than in docker compose, and this "
            "opens both of compose's. Tell the other machines this one's addresses: docs/operations/machines.md"
        )
    at = f"[{host}]" if ":" in host else host
    names = ("DARKROOM_REDIS_PASSWORD", "DARKROOM_S3_ACCESS_KEY", "DARKROOM_S3_SECRET_KEY")
    if missing := [name for name in names if not env.get(name)]:
        raise NotNow(f"{', '.join(missing)} is not in .env: `make secrets` writes a whole one where there is none.")
    password, access_key, secret_key = (quote(env[name], safe="") for name in names)
    login = f"{WORKER.name}:{own}" if (own := env.get(WORKER.variable)) else f":{password}"
    bucket = quote(env.get("DARKROOM_S3_BUCKET") or "darkroom", safe="")
    return Invitation(
        f"rediss://{login}@{at}:{REDIS_PORT}/0",
        f"https://{access_key}:{secret_key}@{at}:{STORE_PORT}/{bucket}",
        _der(ca_pem),
    )


def server_text(certificate: Certificate, names: Sequence[str]) -> str:
    """Write down what Redis and the store's proxy are told."""
    chain, key = (base64.b64encode(text.encode()).decode() for text in (certificate.chain, certificate.key))
    return f"# By make fleet-secrets.\nNAME={names[0]}\nNAMES={','.join(names)}\nCERTIFICATE={chain}\nKEY={key}\n"


def with_address(text: str, address: str) -> str:
    """Say in the text of .env where the doors are; the rest stays as it is."""
    line = f"{_ADDRESS}={f'[{address}]' if ':' in address else address}"
    changed, count = re.subn(rf"^#?{_ADDRESS}=.*$", line, text, count=1, flags=re.MULTILINE)
    return changed if count else f"{text.rstrip()}\n{line}\n"


def open_doors(
    env_file: Path, folder: Path, address: str, names: Sequence[str]
) -> tuple[Doors, Certificate, Invitation]:
    """Write everything; without an address what it was the last time.

    Raises:
        NotNow, NoCertificate: nothing was written but perhaps the CA.
    """
    env, kept = read_env(env_file), read_env(folder / "server.env")
    if not address:
        address = env.get(_ADDRESS, "").strip("[]")
        names = names or [name for name in kept.get("NAMES", "").split(",") if name]
    doors = Doors.of(address, names)
    authority = Authority(folder)
    certificate = authority.issue(doors.names)
    invited = invitation(env, doors.names[0], authority.file.read_text())
    write_private(folder / "server.env", server_text(certificate, doors.names))
    write_private(folder / "join.env", invited.text)
    write_private(env_file, with_address(env_file.read_text(encoding="utf-8"), doors.address))
    return doors, certificate, invited


def compose_files(env: Mapping[str, str]) -> tuple[str, ...]:
    """Name what COMPOSE_FILE in .env lacks of what the invitation relies on."""
    needed = (OVERRIDE, redis_users.OVERRIDE) if env.get(WORKER.variable) else (OVERRIDE,)
    return tuple(name for name in needed if name not in env.get("COMPOSE_FILE", ""))


def report(
    doors: Doors, certificate: Certificate, invited: Invitation, env: Mapping[str, str], *, is_read: bool
) -> str:
    """Say what comes next, by what .env says; keys are shown to somebody who reads alone."""
    missing = compose_files(env)
    lines = [
        f"Wrote {FOLDER.name}/: a certificate for {', '.join(doors.names)}, until {certificate.until}.",
        "Before that, `make fleet-secrets` and `docker compose up -d` again.",
        "",
        "Here:",
        *([f"  in .env: COMPOSE_FILE={':'.join((env.get('COMPOSE_FILE') or BASE, *missing))}"] if missing else []),
        "  docker compose up -d",
        f"  opens ports {REDIS_PORT} and {STORE_PORT} of {doors.address}: let only those machines through to them.",
        "",
        "On each GPU machine, in a checkout, once its file is there (scp fleet/join.env THERE:darkroom/):",
        "  make worker JOIN=join.env",
        *(["or, with nothing to copy:", "", invited.command] if is_read else []),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the files and say what to do; a mistake ends with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m deploy.fleet")
    parser.add_argument("--address", default="", help="of this machine, at which the other machines come in")
    parser.add_argument("--names", default="", help="by which they know it, parted by commas")
    asked = parser.parse_args()
    names = [name.strip() for name in str(asked.names).split(",") if name.strip()]
    try:
        doors, certificate, invited = open_doors(ENV_FILE, FOLDER, str(asked.address).strip(), names)
    except (NotNow, NoCertificate) as error:
        sys.exit(str(error))
    sys.stdout.write(report(doors, certificate, invited, read_env(ENV_FILE), is_read=sys.stdout.isatty()))


def _der(pem: str) -> str:
    """Give a certificate on one line, as DARKROOM_CA_FILE takes it."""
    found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if found is None:
        raise NoCertificate("There is no certificate in fleet/ca.pem.")
    return "".join(found[1].split())


if __name__ == "__main__":
    main()
