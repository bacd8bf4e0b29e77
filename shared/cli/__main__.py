"""The `darkroom` command; `python -m shared.cli` where it is not installed, such as in the gateway's container."""

from __future__ import annotations

import signal


def main() -> None:
    """Read the command in, and run it."""
    # Ctrl-C while Python reads modules would be told by a traceback. Who starts us in the background may ignore it.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from shared.cli import app  # noqa: PLC0415 see above

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app.main()


if __name__ == "__main__":
    main()
