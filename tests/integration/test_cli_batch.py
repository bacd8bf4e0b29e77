"""`darkroom batch` at a real gateway: each line's pictures once, whatever becomes of the command."""

from __future__ import annotations

import json
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any

from shared.client import Client
from tests.integration.command import WITHIN_S, Command, Drawing
from tests.integration.serving import Hand, Serving, serving
from tests.servers import wait_until


def write_prompts(folder: Path, number: int) -> None:
    (folder / "prompts.txt").write_text("".join(f"a red cube, {index}\n" for index in range(number)))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out/manifest.jsonl").read_text().splitlines()[1:]]


def test_every_line_becomes_its_pictures_and_a_record(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "prompts.csv").write_text(
        "prompt,seed,num_images,output_format,metadata.scene,deterministic\n"
        '"a red cube, shiny",7,2,jpeg,one,FALSE\n'
        "007,,,,,\n"
    )
    with Drawing(hand):
        done = darkroom.run("batch", "prompts.csv", "-o", "out")

    assert (done.returncode, done.stdout) == (0, "3 pictures of 2 lines in out\n")
    first, second = records(tmp_path)
    assert (first["line"], second["line"]) == (2, 3)
    assert [picture["seed"] for picture in first["pictures"]] == [7, 8]
    assert [picture["file"] for picture in first["pictures"]] == ["000002-0.jpg", "000002-1.jpg"]
    for picture in (*first["pictures"], *second["pictures"]):
        assert sha256((tmp_path / "out" / picture["file"]).read_bytes()).hexdigest() == picture["sha256"]
    job = client.job(first["job"])
    assert (job.metadata, job.lane, job.params.deterministic) == ({"scene": "one"}, "bulk", False)
    assert client.job(second["job"]).params.prompt == "007"


def test_a_run_that_was_killed_goes_on_and_draws_nothing_twice(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 12)
    words = ("batch", "prompts.txt", "-o", "out", "--at-once", "4")
    killed = darkroom.start(*words)
    with Drawing(hand, most=5):
        wait_until(
            lambda: len(list((tmp_path / "out").glob("*.png"))) >= 4, limit_s=WITHIN_S, what="4 pictures are there"
        )
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=WITHIN_S)
    # It was writing its next record.
    with (tmp_path / "out/manifest.jsonl").open("a") as manifest:
        manifest.write('{"line": 12, "requ')
    before = len(client.jobs(limit=100).data)

    with Drawing(hand):
        done = darkroom.run(*words)

    assert done.returncode == 0, done.stderr
    jobs = client.jobs(limit=100).data
    assert 4 < before < 12 == len(jobs)
    found = records(tmp_path)
    assert [record["line"] for record in found] == list(range(1, 13))
    assert {record["job"] for record in found} == {job.id for job in jobs}
    for record in found:
        (picture,) = record["pictures"]
        assert (tmp_path / "out" / picture["file"]).read_text() == f"{record['job']} 0"


def test_ctrl_c_leaves_it_to_be_taken_up(darkroom: Command, hand: Hand, client: Client, tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    command = darkroom.start("batch", "prompts.txt", "-o", "out", "--at-once", "2")
    wait_until(lambda: len(client.jobs().data) == 2, limit_s=WITHIN_S, what="two jobs were submitted")
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=WITHIN_S)
    assert (command.returncode, "The same command goes on from here" in told) == (130, True)

    with Drawing(hand):
        assert darkroom.run("batch", "prompts.txt", "-o", "out").returncode == 0
    assert len(client.jobs().data) == 3


def test_a_submit_whose_answer_was_not_noted_is_found_again(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 3)
    with Drawing(hand):
        darkroom.run("batch", "prompts.txt", "-o", "out")
        manifest = tmp_path / "out/manifest.jsonl"
        manifest.write_text(manifest.read_text().splitlines(keepends=True)[0])
        again = darkroom.run("batch", "prompts.txt", "-o", "out")

    assert again.returncode == 0
    assert len(client.jobs().data) == 3
    assert all(record["pictures"] for record in records(tmp_path))


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_has_ended_however_it_ended(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 2)
    words = ("batch", "prompts.txt", "-o", "out")
    first = darkroom.start(*words)
    wait_until(lambda: len(client.jobs().data) == 2, limit_s=WITHIN_S, what="two jobs were submitted")
    second = darkroom.run(*words)
    assert (second.returncode, "Another run is at work in out" in second.stderr) == (2, True)

    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=WITHIN_S)
    with Drawing(hand):
        assert darkroom.run(*words).returncode == 0
    assert len(client.jobs().data) == 2


def test_a_full_disk_ends_it_with_a_sentence_and_it_goes_on_when_there_is_room(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 8)
    words = ("batch", "prompts.txt", "-o", "out", "--at-once", "2")
    with Drawing(hand):
        # For three lines' records of the manifest or so; a picture is smaller.
        full = darkroom.run_on_a_full_disk(*words, room=1000)
        assert (full.returncode, "Can't write to out" in full.stderr) == (2, True)
        assert "Traceback" not in full.stderr
        done = darkroom.run(*words)

    assert (done.returncode, done.stdout) == (0, "8 pictures of 8 lines in out\n")
    assert [record["line"] for record in records(tmp_path)] == list(range(1, 9))
    assert len(client.jobs().data) == 8


def test_a_prompt_may_hold_what_unicode_takes_for_the_end_of_a_line(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a red\u2028cube\x85"}\n')
    with Drawing(hand):
        assert darkroom.run("batch", "prompts.jsonl", "-o", "out").returncode == 0
    again = darkroom.run("batch", "prompts.jsonl", "-o", "out")

    assert (again.returncode, again.stdout) == (0, "1 pictures of 1 lines in out\n")
    assert len(client.jobs().data) == 1


def test_an_outage_is_told_and_waited_out(darkroom: Command, hand: Hand, tmp_path: Path) -> None:
    hand.forget_all()
    write_prompts(tmp_path, 2)
    command = darkroom.start("batch", "prompts.txt", "-o", "out")
    assert command.stderr is not None
    told = command.stderr.readline()
    assert "Start a worker" in told
    assert "Waiting for up to 10 min" in told

    hand.arrive()
    with Drawing(hand):
        command.communicate(timeout=WITHIN_S)
    assert command.returncode == 0


def test_a_run_that_is_done_asks_for_nothing_but_a_file_that_is_gone(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 2)
    with Drawing(hand):
        darkroom.run("batch", "prompts.txt", "-o", "out")
    (tmp_path / "out/000002-0.png").unlink()
    again = darkroom.run("batch", "prompts.txt", "-o", "out")

    assert (again.returncode, "1 of 2 lines are done already." in again.stderr) == (0, True)
    assert (tmp_path / "out/000002-0.png").exists()
    assert len(client.jobs().data) == 2


class TestWrongLines:
    def test_all_are_told_and_none_is_sent(self, darkroom: Command, client: Client, tmp_path: Path) -> None:
        (tmp_path / "prompts.jsonl").write_text(
            '{"prompt": "a red cube"}\n{"prompt": "x", "seed": "7"}\n\n{"prompt": "x", "stepz": 1}\nnonsense\n["x"]\n'
        )
        done = darkroom.run("batch", "prompts.jsonl", "-o", "out")

        assert (done.returncode, done.stdout) == (2, "")
        told = [line.split(": ")[:2] for line in done.stderr.splitlines()]
        assert [where for where, _ in told] == ["line 2", "line 4", "line 5", "line 6"]
        assert [field for _, field in told[:2]] == ["seed", "stepz"]
        assert "line 4: stepz: There is no such field.\n" in done.stderr
        assert client.jobs().data == ()
        assert not (tmp_path / "out").exists()

    def test_a_column_that_is_no_field_is_told_once(self, darkroom: Command, tmp_path: Path) -> None:
        (tmp_path / "prompts.csv").write_text("prompt,colour,\nx,red,\nx,blue,\n")
        done = darkroom.run("batch", "prompts.csv", "-o", "out")

        assert (done.returncode, done.stderr) == (2, "line 1: colour: There is no such field.\n")

    def test_what_the_model_does_not_draw_is_told_too(self, darkroom: Command, client: Client, tmp_path: Path) -> None:
        (tmp_path / "prompts.csv").write_text("prompt,num_images,width,height\nx,1,64,64\nx,99,64,64\nx,1,17,64\n")
        done = darkroom.run("batch", "prompts.csv", "-o", "out")

        assert done.returncode == 2
        assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
            ["line 3", "num_images"],
            ["line 4", "size"],
        ]
        assert client.jobs().data == ()

    def test_what_is_no_file_of_prompts_is_not_drawn_line_by_line(self, darkroom: Command, tmp_path: Path) -> None:
        (tmp_path / "prompts.json").write_text('[\n{"prompt": "x"}\n]\n')
        done = darkroom.run("batch", "prompts.json", "-o", "out")

        assert (done.returncode, ".jsonl" in done.stderr) == (2, True)

    def test_the_same_mistake_on_each_line_is_told_for_some(self, darkroom: Command, tmp_path: Path) -> None:
        (tmp_path / "prompts.csv").write_text("prompt,seed\n" + "x,seven\n" * 60)
        done = darkroom.run("batch", "prompts.csv", "-o", "out")

        assert (done.returncode, len(done.stderr.splitlines())) == (2, 51)
        assert done.stderr.endswith("And 10 more.\n")

    def test_a_line_that_has_changed_since_is_no_line_of_this_run(
        self, darkroom: Command, hand: Hand, tmp_path: Path
    ) -> None:
        write_prompts(tmp_path, 2)
        with Drawing(hand):
            darkroom.run("batch", "prompts.txt", "-o", "out")
        (tmp_path / "prompts.txt").write_text("a red cube, 0\nanother\n")
        done = darkroom.run("batch", "prompts.txt", "-o", "out")

        assert (done.returncode, done.stderr.startswith("line 2: has changed")) == (2, True)


def test_lines_that_fail_are_told_at_the_end_and_asked_for_anew_only_if_told_to(
    darkroom: Command, hand: Hand, client: Client, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 2)
    command = darkroom.start("batch", "prompts.txt", "-o", "out", "--at-once", "1")
    wait_until(lambda: bool(client.jobs().data), limit_s=WITHIN_S, what="a job was submitted")
    hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")
    with Drawing(hand):
        _, told = command.communicate(timeout=WITHIN_S)
        assert command.returncode == 1
        assert "line 1 failed: Ask for a smaller one." in told

        left = darkroom.run("batch", "prompts.txt", "-o", "out")
        assert (left.returncode, len(client.jobs().data)) == (1, 2)

        anew = darkroom.run("batch", "prompts.txt", "-o", "out", "--retry-failed")
        assert (anew.returncode, len(client.jobs().data)) == (0, 3)


def test_a_full_queue_is_waited_out(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    write_prompts(tmp_path, 6)
    with serving(gateway.settings.model_copy(update={"max_waiting": 1})) as narrow, Drawing(hand):
        done = Command(narrow, tmp_path).run("batch", "prompts.txt", "-o", "out")

    assert (done.returncode, done.stdout) == (0, "6 pictures of 6 lines in out\n")


def test_at_a_terminal_the_bar_tells_the_rate(darkroom: Command, hand: Hand, tmp_path: Path) -> None:
    write_prompts(tmp_path, 4)
    with Drawing(hand):
        terminal = darkroom.at_terminal("batch", "prompts.txt", "-o", "out", TERM="xterm-256color")
        assert terminal.end() == 0

    assert "4/4" in terminal.seen
    assert "/min" in terminal.seen
