"""The keys of our own Redis, object store and gateway: random, made once, readable to their owner only.

Needs nothing but Python, so that `make secrets` runs where nothing is installed:

    python deploy/keys.py     # writes .env for docker compose; to one that is there it adds keys of later versions
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

ENV_FILE: Final = Path(__file__).parents[1] / ".env"
EXAMPLE: Final = ENV_FILE.with_name(".env.example")
LATER: Final = ("DARKROOM_WATCH_KEY", "GRAFANA_PASSWORD", "GRAFANA_SECRET")
"""Keys that an .env of before may lack, and that nothing hangs on which was there before them."""


def new_key(num_bytes: int = 24) -> str:
    """Make a random password or key: safe in a URL, and long enough for rclone, which refuses short ones."""
    return secrets.token_hex(num_bytes)


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens our own servers."""

    redis_password: str = field(default_factory=new_key, repr=False)
    s3_access_key: str = field(default_factory=lambda: new_key(10), repr=False)
    s3_secret_key: str = field(default_factory=new_key, repr=False)
    visitor_secret: str = field(default_factory=new_key, repr=False)
    """Signs the cookies by which the page knows its visitors again."""


def kept_keys(path: Path) -> Keys:
    """Read the keys in this file; make those that it has not."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    keys = Keys(**kept)
    if asdict(keys) != kept:
        write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
    return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on; a reader sees all of it or the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def env_values(text: str) -> dict[str, str]:
    """Read the `NAME=value` lines of an .env, as compose does: without quotes around a value; the last one counts."""
    return {name: value.strip("'\"") for name, value in re.findall(r"^([A-Z][A-Z0-9_]*)=(.*?)\s*$", text, re.MULTILINE)}


def read_env(path: Path) -> dict[str, str]:
    """Read those of a file; none of one that is not there."""
    return env_values(path.read_text(encoding="utf-8")) if path.exists() else {}


def env_file_text(example: str, keys: Keys, *, operator_key: str, page_key: str, watch_key: str) -> str:
    """Fill in the keys that `.env.example` leaves empty."""
    own = ("redis_password", "s3_access_key", "s3_secret_key", "visitor_secret")
    gateways = {"operator_key": operator_key, "page_key": page_key, "watch_key": watch_key}
    named = {**{name: getattr(keys, name) for name in own}, **gateways}
    values = {f"DARKROOM_{name.upper()}=": value for name, value in named.items()}
    values |= {f"{name}=": new_key() for name in ("GRAFANA_PASSWORD", "GRAFANA_SECRET")}
    return "".join(f"{line}{values.get(line, '')}\n" for line in example.splitlines())


def completed(text: str) -> str:
    """Add to an .env the keys of later versions that it does not name; what it names stays, empty or not."""
    named = {line.partition("=")[0] for line in text.splitlines()}
    added = "".join(f"{name}={new_key()}\n" for name in LATER if name not in named)
    return f"{text.rstrip()}\n{added}" if added else text


def outdated(env: str) -> str | None:
    """Say what an `.env` of an older version would have compose do that nobody means; None if it is well."""
    said: dict[str, str] = {}
    for line in env.splitlines():
        name, _, value = line.strip().partition("=")
        said[name] = value.strip("'\"")
    profiles = said.get("COMPOSE_PROFILES", "").split(",")
    if "gpu" not in profiles or "docker-compose.gpu.yml" in said.get("COMPOSE_FILE", ""):
        return None
    return (
        "COMPOSE_PROFILES=gpu means nothing any more: compose would start a worker without the GPU. In its place write "
        "COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml (docs/operations/containers.md)."
    )


def main() -> None:
    """Write `.env`, or add what one that is there lacks."""
    if ENV_FILE.exists():
        text = ENV_FILE.read_text()
        if trouble := outdated(text):
            sys.exit(f"{ENV_FILE.name}: {trouble}")
        whole = completed(text)
        if whole != text:
            write_private(ENV_FILE, whole)
        said = "its keys stay" if whole == text else "its keys stay, and those that are new were added"
        sys.stdout.write(f"{ENV_FILE.name} is there already; {said}. Remove it for new ones.\n")
        return
    text = env_file_text(EXAMPLE.read_text(), Keys(), operator_key=new_key(), page_key=new_key(), watch_key=new_key())
    write_private(ENV_FILE, text)
    sys.stdout.write(f"Wrote {ENV_FILE.name} with new random keys. Start with: docker compose up --build\n")


if __name__ == "__main__":
    main()
