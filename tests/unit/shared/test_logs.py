"""The lines of logs: what is on them, in both forms, and what can't get onto them."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from shared.logs import ABOUT, About, Json, Text, about
from shared.version import VERSION

ROOT = Path(__file__).parents[3]
EVIL = "a\nb\r\x1b[2K\x85c\u2028d\u202ee\x00\udcff"
"""What ends a line for somebody, what a terminal obeys, and what can't be encoded."""
EVERYWHERE = """
import gc, logging, sys, threading, traceback, warnings
from shared.logs import About, about, configure, name_worker

configure("worker", level="{level}", form="{form}")
name_worker("w-1")
log = logging.getLogger("worker.shift")
with about(About("req-7", "ann", job="j1", attempt=2)):
    log.info("claimed", extra={{"pictures": 3}})
log.debug("ours, at DEBUG")
logging.getLogger("botocore").debug("theirs, at DEBUG: Authorization: secret")
logging.getLogger("httpx2").info("GET https://store/picture?X-Amz-Signature=secret")
logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
log.info("%d is no number", "my secret garden")
warnings.warn("something is old", UserWarning, stacklevel=1)

def end() -> None:
    raise ValueError("in a thread")

thread = threading.Thread(target=end, name="helper")
thread.start()
thread.join()

class Unraisable:
    def __del__(self) -> None:
        raise OSError("in a finalizer")

Unraisable()
gc.collect()
print("a library prints", end="")
print(" a line\\x1b[2K")
print("and complains", file=sys.stderr)
try:
    raise KeyError("my secret garden")
except KeyError:
    traceback.print_exc()
raise LookupError("nobody\\ncatches me")
"""


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("api.edge").makeRecord("api.edge", logging.INFO, "", 0, message, args, None, extra=extra)
    made.created, made.msecs = 1_795_446_000.0625, 62.5
    return made


def with_error(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        made = record("it failed")
        made.exc_info = sys.exc_info()
    return made


def in_json(made: logging.LogRecord) -> dict[str, Any]:
    line = Json().format(made)
    assert line.isascii()
    assert line.isprintable()
    said: dict[str, Any] = json.loads(line)
    return said


def run(form: str, level: str = "INFO") -> list[str]:
    """What a process says that meets all that there is to be told."""
    code = EVERYWHERE.format(form=form, level=level)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()


class TestText:
    def test_begins_with_time_level_and_logger(self) -> None:
        assert Text().format(record("%d of %s", 3, "all")) == "2026-11-23T15:00:00.062Z INFO     api.edge 3 of all"

    def test_says_whose_it_is_before_the_message_and_what_it_is_about_behind(self) -> None:
        with about(About("req-7", "ann", "k1", "j1", 2)):
            line = Text().format(record("claimed", pictures=3))

        assert line.endswith(" api.edge [request=req-7 tenant=ann key=k1] claimed job=j1 attempt=2 pictures=3")

    def test_a_line_s_own_job_counts(self) -> None:
        with about(About("req-7", job="j1", attempt=2)):
            assert Text().format(record("lost", job="j9")).endswith(" [request=req-7] lost job=j9")

    def test_a_value_with_spaces_is_quoted(self) -> None:
        assert (
            Text()
            .format(record("starting", device='cpu "x"', model=""))
            .endswith(r'starting device="cpu \"x\"" model=""')
        )

    def test_what_comes_from_elsewhere_can_t_begin_a_line(self) -> None:
        forged = "x\n2026-11-23T15:00:00.000Z CRITICAL api.edge it burns"

        lines = Text().format(record("%s", forged, field=forged)).splitlines()

        assert [line.startswith("2026") for line in lines] == [True, False]
        assert lines[1] == "    2026-11-23T15:00:00.000Z CRITICAL api.edge it burns"

    def test_a_terminal_is_told_nothing_and_no_reader_sees_more_lines(self) -> None:
        text = Text().format(record("%s", EVIL, field=EVIL))

        assert all(line.isprintable() for line in text.split("\n"))
        assert text.splitlines() == text.split("\n")
        assert r"\r\x1b[2K\x85c\u2028d\u202ee\x00\udcff" in text.splitlines()[1]

    def test_a_traceback_is_indented(self) -> None:
        first, *rest = Text().format(with_error(ValueError(EVIL))).split("\n")

        assert first.endswith("it failed")
        assert rest[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") and line.isprintable() for line in rest)

    def test_words_in_all_writings_stay_as_they_are(self) -> None:
        assert Text().format(record("Größe 大きさ размер")).endswith("Größe 大きさ размер")


class TestJson:
    def test_an_event_is_an_object(self) -> None:
        said = in_json(record("%d of %s", 3, "all"))

        assert list(said)[:5] == ["at", "level", "logger", "message", "part"]
        assert (said["at"], said["level"]) == ("2026-11-23T15:00:00.062Z", "INFO")
        assert (said["logger"], said["message"], said["version"]) == ("api.edge", "3 of all", VERSION)
        assert not {"request", "tenant", "key", "job", "attempt", "error"} & set(said)

    def test_has_what_the_task_is_busy_with(self) -> None:
        with about(About("req-7", "ann", "k1", "j1", 2)):
            said = in_json(record("claimed", pictures=3))

        assert {name: said[name] for name in ("request", "tenant", "key", "job", "attempt", "pictures")} == {
            "request": "req-7",
            "tenant": "ann",
            "key": "k1",
            "job": "j1",
            "attempt": 2,
            "pictures": 3,
        }

    def test_words_that_a_message_names_are_fields(self) -> None:
        said = in_json(
            record("%(method)s %(status)s %(took_ms).1f ms", {"method": "GET", "status": 200, "took_ms": 1.23456})
        )

        assert said["message"] == "GET 200 1.2 ms"
        assert (said["method"], said["status"], said["took_ms"]) == ("GET", 200, 1.235)

    def test_no_event_replaces_what_each_line_has(self) -> None:
        said = in_json(record("x", host="evil", level="CRITICAL", at="never", job="j9"))

        assert (said["level"], said["job"]) == ("INFO", "j9")
        assert "evil" not in said.values()

    def test_what_comes_from_elsewhere_stays_on_the_line_and_comes_back_whole(self) -> None:
        said = in_json(record("%s", EVIL, field=EVIL))

        assert (said["message"], said["field"]) == (EVIL, EVIL)

    def test_a_traceback_is_a_field(self) -> None:
        error = in_json(with_error(ValueError(EVIL)))["error"]

        assert error["type"] == "ValueError"
        assert error["stack"].startswith("Traceback (most recent call last):\n")
        assert error["stack"].endswith(f"ValueError: {EVIL}")

    @pytest.mark.parametrize(("value", "said"), [(float("nan"), "nan"), (None, None), (Path("/x"), "/x"), ((1,), [1])])
    def test_any_value_can_be_said(self, value: object, said: object) -> None:
        assert in_json(record("x", field=value))["field"] == said


class TestWhatLinesAreAbout:
    def test_who_comes_to_know_more_tells_it_from_then_on(self) -> None:
        with about(About("req-7")):
            of_request = ABOUT.get()
            assert of_request is not None
            of_request.tenant = "ann"

            assert "[request=req-7 tenant=ann] x" in Text().format(record("x"))

        assert "req-7" not in Text().format(record("x"))

    def test_an_error_that_quotes_a_prompt_is_told_without_it(self) -> None:
        prompt = "a 'secret'\ngarden"
        made = with_error(ValueError(f"no such words: {prompt!r}"))
        made.msg, made.args = "failed: %s", (prompt,)

        with about(About(job="j1", private=(prompt, "", "a"))):
            text, said = Text().format(made), in_json(made)

        assert "garden" not in text + str(said)
        assert text.splitlines()[0].endswith("failed: [prompt] job=j1")
        assert text.splitlines()[-1] == '    ValueError: no such words: "[prompt]"'
        assert "private" not in said

    def test_a_thread_tells_what_was_bound_for_it(self) -> None:
        told: list[str] = []

        def tell() -> None:
            told.append(Text().format(record("x")))

        with about(About(job="j1")):
            threads = [threading.Thread(target=tell), threading.Thread(target=copy_context().run, args=(tell,))]
        for thread in threads:
            thread.start()
            thread.join()

        assert [line.endswith("x job=j1") for line in told] == [False, True]


class TestAProcess:
    def test_says_all_in_text(self) -> None:
        lines = run("text")

        begins = [line for line in lines if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ +\S+ ", line)]
        assert all(line.startswith("    ") for line in lines if line not in begins)
        assert [line.split(maxsplit=2)[2] for line in begins] == [
            "worker.shift [request=req-7 tenant=ann] claimed job=j1 attempt=2 pictures=3",
            "uvicorn.error Started server process [1]",
            "worker.shift a line is missing: TypeError",
            "py.warnings UserWarning: something is old (<string>:15)",
            "shared.logs nobody caught it, so the thread helper ended",
            "shared.logs nobody could catch it: function",
            r"stdout a library prints a line\x1b[2K",
            "stderr and complains",
            "stderr a library caught and printed:",
            "shared.logs nobody caught it, so the process ends",
        ]
        assert "    LookupError: nobody" in lines

    def test_says_all_in_json(self) -> None:
        said = [json.loads(line) for line in run("json")]

        assert {(one["part"], one["worker"], one["version"]) for one in said} == {("worker", "w-1", VERSION)}
        errors = [(one["level"], one["error"]["type"]) for one in said if "error" in one]
        assert errors == [("CRITICAL", "ValueError"), ("ERROR", "OSError"), ("CRITICAL", "LookupError")]
        assert said[-1]["error"]["stack"].endswith("LookupError: nobody\ncatches me")

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_libraries_begin_at_info_whatever_the_level(self, form: str) -> None:
        told = "\n".join(run(form, "DEBUG"))

        assert "ours, at DEBUG" in told
        assert "secret" not in told


OUTLIVED = r"""
import logging, os, sys, traceback
from shared.logs import About, about, configure

configure("worker", level="INFO", form="json")
log = logging.getLogger("worker.shift")
with about(About("r", private=("my secret garden",))):
    log.warning(f"truncated: {'my secret garden'}")
    log.warning("in a field", extra={"detail": "quotes my secret garden"})
print("\r10 %", end="")
print("\r20 %", end="")
print("\rdone")
try:
    error = ValueError("x")
    raise error from error
except ValueError:
    traceback.print_exc()
sys.stderr.flush()
os.close(2)
log.info("nobody hears this")
print("went on", file=open(sys.argv[1], "w"))
"""


def test_what_quotes_a_prompt_without_being_asked_is_told_without_it_and_nothing_ends_a_part(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVED, str(tmp_path / "went")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert (done.returncode, (tmp_path / "went").read_text()) == (0, "went on\n")
    assert [line["message"].split(chr(10))[0] for line in lines] == [
        "truncated: [prompt]",
        "in a field",
        "done",
        "a library caught and printed:",
    ]
    assert lines[1]["detail"] == "quotes [prompt]"
