"""`darkroom generate` at a real gateway: what it saves, shows, answers, and cancels."""

from __future__ import annotations

import io
import re
import signal
from pathlib import Path

import pytest
from PIL import Image

from shared.client import Client
from shared.contract import JobBody
from tests.integration.command import WITHIN_S, Command, Drawing, Terminal
from tests.integration.serving import Hand, Serving, serving
from tests.servers import free_port, wait_until


def submitted(client: Client) -> JobBody:
    wait_until(lambda: bool(client.jobs().data), limit_s=20, what="a job was submitted")
    return client.jobs().data[0]


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


class TestFiles:
    def test_one_picture_goes_into_the_file_that_is_named(self, darkroom: Command, hand: Hand, tmp_path: Path) -> None:
        with Drawing(hand) as drawing:
            done = darkroom.run("generate", "a red cube", "--seed", "7", "-o", "cube.png")

        assert (done.returncode, done.stdout) == (0, "cube.png\n")
        assert (tmp_path / "cube.png").read_text() == f"{drawing.drawn[0]} 0"

    def test_a_file_that_is_there_is_kept_unless_told_otherwise(
        self, darkroom: Command, hand: Hand, tmp_path: Path
    ) -> None:
        (tmp_path / "cube.png").write_text("mine")
        with Drawing(hand) as drawing:
            beside = darkroom.run("generate", "a red cube", "-o", "cube.png")
            assert (tmp_path / "cube.png").read_text() == "mine"
            over = darkroom.run("generate", "a red cube", "-o", "cube.png", "--force")

        assert (beside.stdout, over.stdout) == ("cube-2.png\n", "cube.png\n")
        assert (tmp_path / "cube-2.png").read_text() == f"{drawing.drawn[0]} 0"
        assert (tmp_path / "cube.png").read_text() == f"{drawing.drawn[1]} 0"

    def test_several_go_into_a_folder_that_is_made(self, darkroom: Command, hand: Hand, tmp_path: Path) -> None:
        with Drawing(hand) as drawing:
            done = darkroom.run("generate", "a red cube", "--count", "2", "-o", "cubes/new")

        names = [f"cubes/new/darkroom-{drawing.drawn[0]}-{index}.png" for index in (0, 1)]
        assert done.stdout.splitlines() == names
        assert [(tmp_path / name).exists() for name in names] == [True, True]

    def test_the_files_name_says_the_format(self, darkroom: Command, hand: Hand, client: Client) -> None:
        with Drawing(hand):
            assert darkroom.run("generate", "a red cube", "-o", "cube.webp").returncode == 0

        assert client.jobs().data[0].params.output_format == "webp"

    def test_the_job_is_printed_instead_if_asked(self, darkroom: Command, hand: Hand) -> None:
        with Drawing(hand):
            words = ("--json", "--negative", "dull", "--size", "96X64", "--steps", "3", "--guidance", "1.5")
            done = darkroom.run("generate", "a red cube", *words, "--scheduler", "ddim", "--lane", "bulk")

        job = JobBody.model_validate_json(done.stdout)
        assert (job.status, job.lane, job.params.negative_prompt) == ("succeeded", "bulk", "dull")
        assert (str(job.params.size), job.params.num_inference_steps) == ("96x64", 3)
        assert (job.params.guidance_scale, job.params.scheduler) == (1.5, "ddim")

    def test_neighbours_of_a_picture_are_drawn_by_their_own_seeds(self, darkroom: Command, hand: Hand) -> None:
        with Drawing(hand):
            words = ("--seed", "7", "--variation-seed", "30", "--variation-strength", "0.2", "--count", "2", "--json")
            done = darkroom.run("generate", "a red cube", *words)

        job = JobBody.model_validate_json(done.stdout)
        assert job.params.variation_strength == 0.2
        assert [(image.seed, image.variation_seed) for image in job.images] == [(7, 30), (7, 31)]

    def test_a_strength_that_is_none_is_named_and_nothing_is_drawn(self, darkroom: Command, client: Client) -> None:
        done = darkroom.run("generate", "a red cube", "--variation-strength", "2")

        assert done.returncode == 2
        assert "variation_strength" in done.stderr
        assert client.jobs().data == ()

    def test_stdin_says_the_prompt(self, darkroom: Command, hand: Hand, client: Client) -> None:
        with Drawing(hand):
            assert darkroom.run("generate", "-", said="a red cube\n").returncode == 0

        assert client.jobs().data[0].params.prompt == "a red cube"

    @pytest.mark.parametrize(
        "words",
        [("-o", "cube.gif"), ("-o", "mine/cube.png"), ("-o", "mine"), ("-o", "cube.png", "--format", "webp")],
        ids=["no_picture", "in_a_file", "a_file", "another_format"],
    )
    def test_nothing_is_drawn_for_a_place_that_can_not_be(
        self, darkroom: Command, client: Client, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        (tmp_path / "mine").touch()
        done = darkroom.run("generate", "a red cube", *words)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("--")
        assert client.jobs().data == ()
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_a_full_disk_loses_no_picture(self, darkroom: Command, hand: Hand, client: Client, tmp_path: Path) -> None:
        with Drawing(hand):
            full = darkroom.run_on_a_full_disk("generate", "a red cube", "-o", "cube.png", room=10)
        job = client.jobs().data[0]

        assert full.returncode == 2
        assert f"`darkroom watch {job.id} -o PLACE` saves the pictures." in full.stderr
        assert list(tmp_path.iterdir()) == []
        assert darkroom.run("watch", job.id, "-o", "cube.png").stdout == "cube.png\n"
        assert (tmp_path / "cube.png").read_text() == f"{job.id} 0"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux'")
    def test_output_that_has_no_room_is_a_sentence(self, darkroom: Command, hand: Hand) -> None:
        with Drawing(hand), Path("/dev/full").open("w") as full:
            command = darkroom.start("generate", "a red cube", stdout=full)
            _, told = command.communicate(timeout=WITHIN_S)

        assert (command.returncode, "Traceback" in told) == (1, False)
        assert told.splitlines()[-1].startswith("Can't read or write: ")


class TestWithoutATerminal:
    def test_each_change_is_a_line_on_stderr_and_nothing_moves(self, darkroom: Command, hand: Hand) -> None:
        with Drawing(hand):
            done = darkroom.run("generate", "a red cube", TERM="xterm-kitty")

        assert done.stderr.splitlines()[-2:] == ["picture 1 is done", "succeeded"]
        assert "\x1b" not in done.stderr + done.stdout

    def test_a_terminal_that_can_not_move_gets_lines(self, darkroom: Command, hand: Hand) -> None:
        with Drawing(hand):
            terminal = darkroom.at_terminal("generate", "a red cube", TERM="dumb")
            assert terminal.end() == 0

        assert "picture 1 is done" in terminal.seen
        assert "\x1b" not in terminal.seen


def draw_at(terminal: Terminal, hand: Hand, client: Client, *, until_it_shows: str) -> None:
    """Draw the job that the terminal waits for, once its third step is shown."""
    submitted(client)
    taken = hand.take()
    hand.show(taken, 3, jpeg())
    terminal.wait_for(until_it_shows)
    hand.draw(taken, 0, b"done")
    hand.finish(taken)


class TestAtATerminal:
    def test_the_bar_tells_the_place_then_the_steps(self, darkroom: Command, hand: Hand, client: Client) -> None:
        terminal = darkroom.at_terminal("generate", "a red cube", "-o", "cube.png", TERM="xterm-256color")
        terminal.wait_for("goes next")
        draw_at(terminal, hand, client, until_it_shows="3/4")

        assert terminal.end() == 0
        assert "cube.png" in terminal.seen.splitlines()[-1]

    def test_kitty_shows_the_preview_by_placeholders(self, darkroom: Command, hand: Hand, client: Client) -> None:
        terminal = darkroom.at_terminal("generate", "a red cube", TERM="xterm-kitty", COLORTERM="truecolor")
        draw_at(terminal, hand, client, until_it_shows="\U0010eeee")
        assert terminal.end() == 0

        (sent,) = set(re.findall(r"\x1b_Ga=T,U=1,f=100,i=(\d+),c=24,r=12,q=2,m=0;iVBOR", terminal.seen))
        red, green, blue = int(sent) >> 16, int(sent) >> 8 & 255, int(sent) & 255
        assert f"38;2;{red};{green};{blue}m\U0010eeee\u0305\u0305" in terminal.seen

    @pytest.mark.parametrize("words", [("--no-preview",), ()], ids=["told_not_to", "without_color"])
    def test_no_preview_is_shown(self, darkroom: Command, hand: Hand, client: Client, words: tuple[str, ...]) -> None:
        without = {} if words else {"NO_COLOR": "1"}
        terminal = darkroom.at_terminal("generate", "a red cube", *words, TERM="xterm-kitty", **without)
        draw_at(terminal, hand, client, until_it_shows="3/4")

        assert terminal.end() == 0
        assert "\x1b_G" not in terminal.seen
        assert "\U0010eeee" not in terminal.seen


class TestEnds:
    @pytest.mark.parametrize("running", [False, True], ids=["that_waits", "that_runs"])
    def test_ctrl_c_cancels_the_job(self, darkroom: Command, hand: Hand, client: Client, running: bool) -> None:
        command = darkroom.start("generate", "a red cube")
        job = submitted(client)
        if running:
            hand.take()
        assert command.stderr is not None
        while ("drawing" if running else "waiting") not in command.stderr.readline():
            pass
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=WITHIN_S)

        assert (command.returncode, out) == (130, "")
        assert f"job {job.id} is canceled" in err
        assert client.job(job.id).status == "canceled"

    def test_ctrl_c_while_the_gateway_is_away_tells_that_the_job_may_go_on(
        self, gateway: Serving, hand: Hand, client: Client, tmp_path: Path
    ) -> None:
        del hand
        with serving(gateway.settings) as other:
            command = Command(other, tmp_path).start("generate", "a red cube")
            job = submitted(client)
            assert command.stderr is not None
            assert "waiting" in command.stderr.readline()
        command.send_signal(signal.SIGINT)
        _, told = command.communicate(timeout=WITHIN_S)

        assert (command.returncode, "Traceback" in told) == (130, False)
        assert "could not cancel" in told
        assert f"Job {job.id} may go on." in told

    def test_a_failed_job(self, darkroom: Command, hand: Hand, client: Client) -> None:
        command = darkroom.start("generate", "a red cube")
        submitted(client)
        hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")
        out, err = command.communicate(timeout=WITHIN_S)

        assert (command.returncode, out) == (1, "")
        assert err.splitlines()[-1] == "Ask for a smaller one."

    def test_wrong_fields_are_told_each(self, darkroom: Command) -> None:
        done = darkroom.run("generate", "a red cube", "--steps", "9999", "--count", "99")

        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            "num_inference_steps: Must be from 1 to 50.",
            "num_images: Must be from 1 to 8.",
        ]

    def test_no_gateway(self, darkroom: Command) -> None:
        done = darkroom.run("--url", f"http://127.0.0.1:{free_port()}", "generate", "a red cube")

        assert done.returncode == 3
        assert "does not answer" in done.stderr
        assert "darkroom doctor" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "words",
        [
            ("generate",),
            ("generate", "x", "--size", "big"),
            ("--url", "nowhere", "jobs"),
            ("--key-file", "none", "jobs"),
        ],
        ids=["no_prompt", "no_size", "no_address", "no_key_file"],
    )
    def test_wrong_words(self, darkroom: Command, words: tuple[str, ...]) -> None:
        done = darkroom.run(*words)

        assert done.returncode == 2
        assert done.stderr
        assert "Traceback" not in done.stderr
