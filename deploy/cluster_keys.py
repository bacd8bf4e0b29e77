"""The secrets of a cluster: random keys, made once, in a file that `kubectl create secret` reads.

Needs nothing but Python, so that `make cluster-secrets` runs where nothing is installed:

    python -m deploy.cluster_keys     # writes deploy/kubernetes/secrets.env, unless there is one
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from deploy.keys import Keys, env_file_text, new_key, write_private

SECRETS: Final = Path(__file__).parent / "kubernetes" / "secrets.env"
EXAMPLE: Final = SECRETS.with_name("secrets.example.env")


def secrets_text(example: str, keys: Keys) -> str:
    """Fill in what the example leaves empty; Redis' address is that of the demo's own Valkey."""
    text = env_file_text(example, keys, operator_key=new_key(), page_key=new_key(), watch_key=new_key())
    more = {
        "DARKROOM_REDIS_URL=": f"redis://:{keys.redis_password}@valkey:6379/0",
        "DARKROOM_VISITOR_SECRET=": keys.visitor_secret,
    }
    return "".join(f"{line}{more.get(line, '')}\n" for line in text.splitlines())


def main() -> None:
    """Write the file, or say that it is there."""
    if SECRETS.exists():
        sys.stdout.write(f"{SECRETS.name} is there already; its keys stay. Remove it for new ones.\n")
        return
    write_private(SECRETS, secrets_text(EXAMPLE.read_text(), Keys()))
    sys.stdout.write(f"Wrote {SECRETS} with new random keys; docs/operations/kubernetes.md says what comes next.\n")


if __name__ == "__main__":
    main()
