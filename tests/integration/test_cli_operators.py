"""`darkroom jobs`, `watch`, `cancel`, `models`, and what operators type: workers, queue, orders, keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.client import Client
from shared.contract import Gpu
from shared.jobs import new_job_id
from shared.version import VERSION
from tests.integration.command import WITHIN_S, Command, Drawing
from tests.integration.keyholders import OPERATOR_KEY
from tests.integration.serving import CARD, Hand, Serving


class TestJobs:
    def test_are_listed_newest_first_with_why_they_wait(self, darkroom: Command, client: Client) -> None:
        ids = [client.submit(f"a red cube [{index}]").id for index in range(2)]
        client.cancel(ids[0])
        done = darkroom.run("jobs")

        _, newest, oldest = done.stdout.splitlines()
        assert (newest.split()[:2], oldest.split()[:2]) == ([ids[1], "queued"], [ids[0], "canceled"])
        assert "a red cube [1]" in newest
        assert "goes next" in newest

    def test_all_pages_of_one_status_are_a_line_of_json_each(self, darkroom: Command, client: Client) -> None:
        ids = [client.submit("a red cube").id for _ in range(23)]
        client.cancel(ids[0])
        assert len(darkroom.run("jobs", "--json").stdout.splitlines()) == 20
        done = darkroom.run("jobs", "--all", "--status", "queued", "--json")

        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids[:0:-1]

    def test_those_of_one_status_are_found_behind_others(self, darkroom: Command, client: Client) -> None:
        ids = [client.submit("a red cube").id for _ in range(23)]
        for canceled in ids[:3]:
            client.cancel(canceled)
        done = darkroom.run("jobs", "--status", "canceled", "-n", "2", "--json")

        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [ids[2], ids[1]]

    def test_a_job_is_one_line_whatever_its_prompt_says(self, darkroom: Command, client: Client) -> None:
        said = "two\nlines of :smile: " + 20 * "long and longer "
        client.cancel(client.submit(said).id)
        _, line = darkroom.run("jobs").stdout.splitlines()

        assert line.rstrip().endswith(" ".join(said.split()))

    def test_a_narrow_terminal_cuts_no_id(self, darkroom: Command, client: Client) -> None:
        ids = [client.submit("a red cube on a blue background, oil painting").id for _ in range(2)]
        terminal = darkroom.at_terminal("jobs", TERM="xterm-256color", COLUMNS="50")
        assert terminal.end() == 0

        assert [line.split()[0] for line in terminal.seen.splitlines()[1:]] == ids[::-1]

    def test_one_is_watched_to_its_end(self, darkroom: Command, hand: Hand, client: Client) -> None:
        job = client.submit("a red cube")
        with Drawing(hand):
            done = darkroom.run("watch", job.id)

        assert (done.returncode, done.stdout) == (0, f"{job.id} succeeded\n")

    def test_one_that_fails_fails_its_watch(self, darkroom: Command, hand: Hand, client: Client) -> None:
        job = client.submit("a red cube")
        hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")
        done = darkroom.run("watch", job.id)

        assert (done.returncode, done.stdout) == (1, f"{job.id} failed\n")
        assert done.stderr.endswith("Ask for a smaller one.\n")

    def test_the_newest_are_watched_at_a_terminal_until_ctrl_c(self, darkroom: Command, client: Client) -> None:
        terminal = darkroom.at_terminal("watch", TERM="xterm-256color")
        terminal.wait_for("STATUS")
        job = client.submit("a red cube")
        terminal.wait_for(job.id)
        terminal.process.send_signal(2)

        assert terminal.end() == 130
        assert client.job(job.id).status == "queued"

    def test_some_are_canceled_and_one_is_unknown(self, darkroom: Command, client: Client) -> None:
        ids = [client.submit("a red cube").id for _ in range(2)]
        unknown = new_job_id()
        done = darkroom.run("cancel", ids[0], unknown, ids[1])

        assert (done.returncode, done.stdout) == (4, f"{ids[0]} canceled\n{ids[1]} canceled\n")
        assert unknown in done.stderr

    def test_all_that_wait_or_run_are_canceled(self, darkroom: Command, hand: Hand, client: Client) -> None:
        with Drawing(hand):
            client.wait(client.submit("a red cube").id)
        ids = [client.submit("a red cube [other]").id for _ in range(2)]
        done = darkroom.run("cancel", "--all")

        assert (done.returncode, done.stdout) == (0, f"{ids[1]} canceled\n{ids[0]} canceled\n")
        assert [darkroom.run("cancel", *words).returncode for words in ((), ("--all", ids[0]))] == [2, 2]


class TestFleet:
    def test_models_tell_what_may_be_asked_for(self, darkroom: Command) -> None:
        shown, said = darkroom.run("models"), darkroom.run("models", "--json")

        assert f"{CARD.id} (default)" in shown.stdout
        assert "euler, ddim" in shown.stdout
        assert json.loads(said.stdout)["id"] == CARD.id

    def test_workers_and_queue_are_shown(self, darkroom: Command, hand: Hand, client: Client) -> None:
        client.submit("a red cube")

        assert hand.worker in darkroom.run("workers").stdout
        assert json.loads(darkroom.run("workers", "--json").stdout)["data"][0]["id"] == hand.worker
        assert CARD.id in darkroom.run("queue").stdout
        assert json.loads(darkroom.run("queue", "--json").stdout)["models"][0]["waiting"]["interactive"]["jobs"] == 1

    def test_a_worker_with_a_gpu_says_how_busy_that_is(self, darkroom: Command, hand: Hand) -> None:
        hand.arrive(gpu=Gpu(uuid="GPU-1", utilization=0.97))

        assert "cpu, 97% busy" in " ".join(darkroom.run("workers").stdout.split())

    def test_all_are_paused_drained_and_resumed(self, darkroom: Command, client: Client) -> None:
        for order, mode in (("pause", "paused"), ("drain", "drained"), ("resume", "work")):
            assert darkroom.run(order).stdout == f"all workers: {mode}\n"
            assert client.workers().mode == mode

    def test_one_is_paused(self, darkroom: Command, hand: Hand, client: Client) -> None:
        assert darkroom.run("pause", hand.worker).stdout == f"{hand.worker}: paused\n"
        assert (client.workers().mode, client.workers().data[0].mode) == ("work", "paused")
        assert darkroom.run("resume", "none").returncode == 4


class TestKeys:
    def test_are_made_used_listed_and_revoked(
        self, guarded: Serving, gateway: Serving, hand: Hand, tmp_path: Path
    ) -> None:
        del gateway
        darkroom = Command(guarded, tmp_path)
        operator = Command(guarded, tmp_path, DARKROOM_API_KEY=OPERATOR_KEY)

        made = operator.run("keys", "create", "night batch", "--tenant", "ann", "--days", "2", "-o", "ann.key")
        assert (made.returncode, made.stdout) == (0, "")
        key = (tmp_path / "ann.key").read_text().strip()
        assert (tmp_path / "ann.key").stat().st_mode & 0o777 == 0o600
        assert key not in made.stderr

        with Drawing(hand):
            assert darkroom.run("--key-file", "ann.key", "generate", "a red cube").returncode == 0
        # What is empty is unset.
        assert darkroom.run("jobs", DARKROOM_API_KEY="", DARKROOM_API_KEY_FILE="ann.key").returncode == 0
        refused = darkroom.run("generate", "a red cube")
        assert (refused.returncode, "key" in refused.stderr) == (4, True)
        assert darkroom.run("keys", "list", DARKROOM_API_KEY=key).returncode == 4

        (listed,) = [json.loads(line) for line in operator.run("keys", "list", "--json").stdout.splitlines()]
        assert (listed["name"], listed["tenant"], listed["scopes"]) == ("night batch", "ann", ["read", "submit"])
        assert listed["id"] in operator.run("keys", "list").stdout
        assert operator.run("keys", "revoke", listed["id"]).stdout == f"{listed['id']} revoked\n"
        assert darkroom.run("jobs", DARKROOM_API_KEY=key).returncode == 4
        assert operator.run("keys", "revoke", listed["id"]).returncode == 4

    def test_a_file_that_is_there_is_no_place_for_a_key(self, guarded: Serving, hand: Hand, tmp_path: Path) -> None:
        del hand
        (tmp_path / "ann.key").write_text("mine")
        operator = Command(guarded, tmp_path, DARKROOM_API_KEY=OPERATOR_KEY)
        done = operator.run("keys", "create", "x", "--tenant", "ann", "-o", "ann.key")

        assert (done.returncode, (tmp_path / "ann.key").read_text()) == (2, "mine")
        assert operator.run("keys", "list", "--json").stdout == ""

    def test_one_that_is_unknown_keeps_none_from_being_revoked(
        self, guarded: Serving, hand: Hand, tmp_path: Path
    ) -> None:
        del hand
        operator = Command(guarded, tmp_path, DARKROOM_API_KEY=OPERATOR_KEY)
        operator.run("keys", "create", "x", "--tenant", "ann")
        (listed,) = [json.loads(line) for line in operator.run("keys", "list", "--json").stdout.splitlines()]
        done = operator.run("keys", "revoke", "0" * 12, listed["id"])

        assert (done.returncode, done.stdout) == (4, f"{listed['id']} revoked\n")
        assert "0" * 12 in done.stderr

    @pytest.mark.parametrize("days", ["inf", "nan", "0", "1e9"])
    def test_no_life_of_a_key(self, darkroom: Command, days: str) -> None:
        done = darkroom.run("keys", "create", "x", "--tenant", "ann", "--days", days)

        assert (done.returncode, "Traceback" in done.stderr) == (2, False)

    def test_a_refused_key_leaves_no_file(self, guarded: Serving, hand: Hand, tmp_path: Path) -> None:
        del hand
        operator = Command(guarded, tmp_path, DARKROOM_API_KEY=OPERATOR_KEY)
        done = operator.run("keys", "create", "x", "--tenant", "NOT A NAME", "-o", "ann.key")

        assert (done.returncode, "tenant" in done.stderr) == (2, True)
        assert not (tmp_path / "ann.key").exists()

    def test_a_tenant_gets_limits(self, guarded: Serving, hand: Hand, tmp_path: Path) -> None:
        del hand
        operator = Command(guarded, tmp_path, DARKROOM_API_KEY=OPERATOR_KEY)
        operator.run("keys", "limit", "ann", "--weight", "2.5", "--max-running", "1")

        (tenant,) = [json.loads(line) for line in operator.run("keys", "tenants", "--json").stdout.splitlines()]
        assert tenant["name"] == "ann"
        assert (tenant["limits"]["weight"], tenant["limits"]["max_running"]) == (2.5, 1)
        assert tenant["limits"]["max_waiting"] is None
        assert "2.5" in operator.run("keys", "tenants").stdout


def test_the_version_needs_no_gateway(darkroom: Command) -> None:
    assert darkroom.run("--version").stdout == f"darkroom {VERSION}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_it(darkroom: Command, shell: str) -> None:
    told = darkroom.run(
        _DARKROOM_COMPLETE=f"complete_{shell}",
        COMP_WORDS="darkroom gen",
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="darkroom gen",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_WORD_TO_COMPLETE="gen",
    )

    assert "generate" in told.stdout


def test_output_that_nobody_reads_to_its_end_ends_it_without_a_word(darkroom: Command, client: Client) -> None:
    for _ in range(20):
        client.submit("a red cube")
    command = darkroom.start("jobs", "--json")
    assert command.stdout is not None
    command.stdout.close()
    command.stdout = None

    assert command.communicate(timeout=WITHIN_S)[1] == ""
