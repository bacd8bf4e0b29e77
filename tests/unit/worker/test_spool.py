from __future__ import annotations

import logging
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.spool import PREFIX, Spool

ANOTHER = """
import sys, time
from pathlib import Path
from worker.spool import Spool
spool = Spool(Path(sys.argv[1]), limit_bytes=100)
spool.prepare()
spool.put(b"picture")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def spool_of(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(parent: Path = tmp_path, limit_bytes: int = 100) -> Spool:
        made.append(Spool(parent, limit_bytes=limit_bytes))
        made[-1].prepare()
        return made[-1]

    yield make
    for spool in made:
        spool.close()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a picture in its spool."""
    command = [sys.executable, "-c", ANOTHER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_what_is_put_can_be_read_until_it_is_dropped(spool_of: Callable[..., Spool]) -> None:
    spool = spool_of()
    first, second = spool.put(b"one"), spool.put(b"two")
    assert first is not None
    assert second is not None
    assert (first.read(), second.read()) == (b"one", b"two")
    spool.drop(first)
    assert not first.file.exists()
    assert second.read() == b"two"


def test_nobody_else_may_look_into_the_folder(spool_of: Callable[..., Spool], tmp_path: Path) -> None:
    spool_of()
    assert stat.S_IMODE(next(tmp_path.glob(f"{PREFIX}*")).stat().st_mode) == 0o700


def test_no_more_is_taken_than_the_limit_and_what_is_dropped_makes_room(
    spool_of: Callable[..., Spool], caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_of(limit_bytes=10)
    first = spool.put(bytes(8))
    assert first is not None
    with caplog.at_level(logging.WARNING):
        assert spool.put(bytes(3)) is None
        assert spool.put(bytes(3)) is None
    assert len(caplog.records) == 1
    assert spool.put(bytes(2)) is not None
    spool.drop(first)
    assert spool.put(bytes(8)) is not None


def test_threads_that_put_at_once_keep_the_limit(spool_of: Callable[..., Spool]) -> None:
    spool = spool_of(limit_bytes=50)
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(spool.put, [b"x"] * 100))
    assert sum(one is not None for one in kept) == 50


def test_a_folder_that_cannot_be_made_has_no_room(
    spool_of: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        spool = spool_of(in_the_way / "spool")
        assert spool.put(b"x") is None
    assert "DARKROOM_SPOOL" in caplog.text
    assert len(caplog.records) == 1


def test_a_folder_that_somebody_deleted_has_no_room(spool_of: Callable[..., Spool], tmp_path: Path) -> None:
    spool = spool_of()
    kept = spool.put(b"x")
    assert kept is not None
    shutil.rmtree(next(tmp_path.glob(f"{PREFIX}*")))
    assert spool.put(b"x") is None
    with pytest.raises(OSError, match="No such file"):
        kept.read()
    spool.drop(kept)


def test_a_closed_spool_leaves_nothing(spool_of: Callable[..., Spool], tmp_path: Path) -> None:
    spool = spool_of()
    spool.put(b"x")
    spool.close()
    assert list(tmp_path.iterdir()) == []
    assert spool.put(b"x") is None


def test_what_a_dead_process_left_is_deleted_by_the_next(
    spool_of: Callable[..., Spool], another: subprocess.Popen[str], tmp_path: Path
) -> None:
    left = next(tmp_path.glob(f"{PREFIX}*"))
    another.kill()
    another.wait()
    assert left.exists()
    spool_of()
    assert not left.exists()


def test_the_folder_of_a_living_process_is_left_alone(
    spool_of: Callable[..., Spool], another: subprocess.Popen[str], tmp_path: Path
) -> None:
    theirs = next(tmp_path.glob(f"{PREFIX}*/*"))
    spool_of()
    assert another.poll() is None
    assert theirs.read_bytes() == b"picture"


def test_a_link_that_is_named_like_a_spool_is_not_followed(spool_of: Callable[..., Spool], tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    spool_of()
    assert (precious / "file").exists()


def test_spools_that_start_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    spools = [Spool(tmp_path, limit_bytes=10) for _ in range(32)]
    with ThreadPoolExecutor(len(spools)) as threads:
        list(threads.map(Spool.prepare, spools))
    assert all(spool.put(b"x") is not None for spool in spools)
    for spool in spools:
        spool.close()
