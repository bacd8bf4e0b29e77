"""`make run`: the whole system on this machine, in one terminal; Ctrl-C ends all of it.

python -m deploy.local
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from pydantic import ValidationError

from deploy.parts import Stack, compose
from deploy.process import StackError
from deploy.terminal import attend, lock, tell
from deploy.workers import LocalSettings
from shared.settings import wrong_settings

ANOTHER: Final = (
    "give this one a folder and ports of its own: make run DARKROOM_DATA=... DARKROOM_API_PORT=... DARKROOM_UI_PORT=..."
)


def report(stack: Stack, settings: LocalSettings, took_s: float) -> str:
    """Say where everything is, and what is served."""
    model = stack.gateway.default_model()
    served = "unknown" if model is None else f"{model.title} ({model.id})"
    lines = [
        "",
        f"  Darkroom is ready, after {took_s:.0f} s.",
        "",
        f"  page      {stack.page_url}",
        f"  gateway   {stack.gateway.url}",
        f"  model     {served}",
    ]
    if model is not None and model.is_demo:
        why = "There is no CUDA GPU here, so this is" if settings.model == "auto" else "This is"
        lines.append(f"            {why} the small demo model, not SSD-1B.")
    lines += [
        f"  data      {settings.data}   (logs in {settings.data / 'logs'})",
        "",
        "  Ctrl-C stops everything; jobs and pictures are kept.",
        "",
    ]
    return "\n".join(lines)


def run(settings: LocalSettings) -> None:
    """Bring everything up and keep it up until a signal.

    Raises:
        StackError: it can't be done; the message says what to do.
    """
    begin = time.monotonic()
    with lock(settings.data, ANOTHER):
        stack = compose(settings)
        attend(stack.members, lambda: tell(report(stack, settings, time.monotonic() - begin)))


def main() -> None:
    """Run; a mistake that the person can mend ends with a sentence, not a traceback."""
    argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__).parse_args()
    try:
        run(LocalSettings())
    except StackError as error:
        sys.exit(f"\n{error}")
    except ValidationError as error:
        sys.exit(f"These settings are wrong:\n{wrong_settings(error)}")


if __name__ == "__main__":
    main()
