"""Rows 1 to 6: the same pictures by every way, and an interactive job while bulk jobs run.

    python -m bench speed

All ways are up at once and take turns, so that a drift of the machine meets them all; the first pictures of each are
thrown away, and so are rounds in which the machine's host gave more than 2 % of its processor to others. Ratios are of
one round, its bare loop being 1.00, and medians over the rounds. Darkroom's worker is
`bench.traced_worker`: the product's, with clock readings around its parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

from bench import split
from bench.host import Stolen
from bench.load import Round
from bench.orders import like_default, mixed
from bench.site import Site
from bench.subject import Subject
from bench.table import Bar, markdown
from bench.ways import ANSWER_S, BareLoop, CeleryJobs, Darkroom, GradioPage, Way
from shared.lanes import Lane

ONE_USER_BAR: Final = Bar(0.95)
MIXED_BAR: Final = Bar(1.5)
PRIORITY_BAR: Final = Bar(1.5, at_least=False)
MOST_STOLEN: Final = 0.02
"""Of the processor by the machine's host, in a round that counts: more, and the round shows the host's other guests."""
PATIENCE_S: Final = 240.0
"""For rounds that are thrown away for that, of either kind; then what is drawn is taken."""
PAUSE_BETWEEN_S: Final = 0.37
"""Between two interactive jobs, so that they meet the bulk jobs at ever another step."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is drawn."""

    turns: int = 24
    """Rounds of one user: many and short, since the machine's speed changes from one second to the next."""
    pictures: int = 2
    """A round of one user, one after another, with the model's own steps and guidance."""
    rounds: int = 5
    """Of all users."""
    mixed: int = 24
    """A round of all users, of mixed steps and guidance."""
    users: int = 8
    bulk: int = 200
    """Bulk jobs behind which an interactive one comes."""
    bulk_by_others: int = 10
    """The same for the ways that have no lanes: their interactive job waits for all of these."""
    interactive: int = 6
    others: bool = True
    """Whether rows 2 and 3 are measured."""


@dataclass(slots=True)
class Rounds:
    """What one way did, round by round."""

    rounds: list[Round] = field(default_factory=list[Round])

    @property
    def per_minute(self) -> float:
        """Pictures a minute."""
        return median(one.per_minute for one in self.rounds)

    @property
    def median_s(self) -> float:
        """What a user waited."""
        return median(one.median_s for one in self.rounds)

    def ratio(self, base: Rounds) -> float:
        """Pictures a minute in terms of another way's in the same round."""
        return median(one.per_minute / other.per_minute for one, other in zip(self.rounds, base.rounds, strict=True))

    def differing(self, base: Rounds) -> tuple[int, int]:
        """How many pictures are not the other way's, and of how many."""
        pairs = [
            (digest, other.digests[order])
            for one, other in zip(self.rounds, base.rounds, strict=True)
            for order, digest in one.digests.items()
        ]
        return sum(mine != its for mine, its in pairs), len(pairs)


@dataclass(frozen=True, slots=True)
class Turns:
    """Rounds of several ways in turn, and how far the host disturbed them."""

    of: Mapping[Way, Rounds]
    stolen: tuple[float, ...]
    """Of each round that counts, the share of the processor that the host gave to others."""
    thrown: int
    """Rounds that were thrown away for that."""

    def __str__(self) -> str:
        """For the table's notes."""
        return f"{self.thrown} more that the host disturbed; it took {max(self.stolen):.1%} at most in those that count"


@dataclass(frozen=True, slots=True)
class Ways:
    """All ways, each up and warm."""

    bare: BareLoop
    darkroom: Darkroom
    others: Mapping[int, Way]
    """By their row."""


def main(folder: Path, subject: Subject, scale: Scale) -> dict[str, Rounds]:
    """Start all ways, measure, print the tables; returns what was measured by the names of the ways."""
    trace = folder / "trace.jsonl"
    with _all_up(folder, subject, scale, trace) as ways:
        in_turn = _one_user(ways, subject, scale)
        by_users = _many_users(ways, subject, scale)
        _print_speeds(ways, scale, in_turn, by_users)
        _print_split(ways, in_turn, trace)
        _print_priorities(ways, subject, scale)
        return {
            "bare loop": in_turn.of[ways.bare],
            "Darkroom, one user": in_turn.of[ways.darkroom],
            "bare loop, mixed": by_users.of[ways.bare],
            f"Darkroom, {scale.users} users, mixed": by_users.of[ways.darkroom],
        }


def one_user(folder: Path, subject: Subject, scale: Scale) -> None:
    """Rows 1 and 4 by themselves, and where a job's time goes."""
    trace = folder / "trace.jsonl"
    with _all_up(folder, subject, replace(scale, others=False), trace) as ways:
        in_turn = _one_user(ways, subject, scale)
        _print_speeds(ways, scale, in_turn)
        _print_split(ways, in_turn, trace)


@contextmanager
def _all_up(folder: Path, subject: Subject, scale: Scale, trace: Path) -> Generator[Ways]:
    with ExitStack() as stack:
        site = stack.enter_context(Site(folder, model=subject.model))
        ways = Ways(
            BareLoop(site, subject.checkpoint),
            Darkroom(site, worker="bench.traced_worker", environment={"BENCH_TRACE": str(trace)}),
            {2: GradioPage(site, subject.checkpoint), 3: CeleryJobs(site, subject.checkpoint)} if scale.others else {},
        )
        for way in (ways.bare, *ways.others.values(), ways.darkroom):
            stack.enter_context(way)
            way.draw(mixed(subject, scale.users, seed=9_000), scale.users)
        said = ways.bare.said
        print(f"\n### {subject.card.title}, {subject.size}, {said['device']}, {said['threads']} threads each way\n")
        yield ways


def _one_user(ways: Ways, subject: Subject, scale: Scale) -> Turns:
    """Draw lists of the model's own kind one after another: the bare loop and Darkroom in turn."""
    return _in_turn(
        (ways.bare, ways.darkroom),
        lambda way, number: way.draw(like_default(subject, scale.pictures, seed=100 * number), 1),
        scale.turns,
    )


def _many_users(ways: Ways, subject: Subject, scale: Scale) -> Turns:
    """Draw lists of mixed steps and guidance: every way in turn."""
    ways.darkroom.alone = False
    try:
        return _in_turn(
            (ways.bare, *ways.others.values(), ways.darkroom),
            lambda way, number: way.draw(mixed(subject, scale.mixed, seed=1_000 + 100 * number), scale.users),
            scale.rounds,
        )
    finally:
        ways.darkroom.alone = True


def _in_turn(ways: Sequence[Way], draw: Callable[[Way, int], Round], rounds: int) -> Turns:
    """So many rounds of all ways, forth and back; those that the host disturbed are drawn again, within reason."""
    found = {way: Rounds() for way in ways}
    stolen: list[float] = []
    thrown, thrown_s = 0, 0.0
    while len(stolen) < rounds:
        number = len(stolen) + thrown
        reading = Stolen.now()
        turn = {way: draw(way, number) for way in (ways if len(stolen) % 2 == 0 else reversed(ways))}
        share = reading.share_since()
        if share > MOST_STOLEN and thrown_s < PATIENCE_S:
            thrown += 1
            thrown_s += time.monotonic() - reading.at_s
            continue
        stolen.append(share)
        for way, drawn in turn.items():
            found[way].rounds.append(drawn)
    return Turns(found, tuple(stolen), thrown)


def _print_speeds(ways: Ways, scale: Scale, in_turn: Turns, by_users: Turns | None = None) -> None:
    def row(number: int, name: str, way: Way, found: Turns, bar: Bar | None = None) -> list[object]:
        mine = found.of[way]
        ratio = mine.ratio(found.of[ways.bare])
        users = scale.users if found is by_users and way is not ways.bare else 1
        judged = bar.judge(ratio) if bar else None
        return [number, name, users, mine.per_minute, ratio, mine.median_s, judged]

    rows = [
        row(1, "bare loop, the model's own steps", ways.bare, in_turn),
        row(4, "Darkroom, the same pictures", ways.darkroom, in_turn, ONE_USER_BAR),
    ]
    told = [f"{_differing(in_turn.of[ways.darkroom], in_turn.of[ways.bare])} by Darkroom for one user"]
    measured = [f"one user: {scale.turns} rounds of {scale.pictures} pictures, {in_turn}"]
    if by_users:
        rows += [
            row(1, "bare loop, mixed steps and guidance", ways.bare, by_users),
            *(row(number, f"{way.name}, the same pictures", way, by_users) for number, way in ways.others.items()),
            row(5, "Darkroom, the same pictures", ways.darkroom, by_users, MIXED_BAR),
        ]
        others = [way for way in by_users.of if way is not ways.bare]
        told += [f"{_differing(by_users.of[way], by_users.of[ways.bare])} by {way.name}" for way in others]
        measured.append(f"mixed: {scale.rounds} of {scale.mixed}, {by_users}")
    head = ("row", "way", "users", "pictures a minute", "to the bare loop", "s a picture, median", "bar")
    print(markdown(head, rows))
    print(f"\nPictures that are not the bare loop's, pixel by pixel: {'; '.join(told)}.")
    print(f"Medians over rounds. {'; '.join(measured)}.")


def _print_split(ways: Ways, in_turn: Turns, trace: Path) -> None:
    counted = {one.order for drawn in in_turn.of[ways.darkroom].rounds for one in drawn.drawn}
    split.report((seen for seen in ways.darkroom.seen if seen.order in counted), trace)


def _differing(mine: Rounds, base: Rounds) -> str:
    differ, of = mine.differing(base)
    return f"{differ} of {of}"


def _print_priorities(ways: Ways, subject: Subject, scale: Scale) -> None:
    """Row 6."""
    idle_s, behind_s, ended = _behind_bulk(ways.darkroom, subject, scale)
    ratio = behind_s / idle_s
    rows: list[list[object]] = [
        ["Darkroom, two lanes", scale.bulk, idle_s, behind_s, ratio, PRIORITY_BAR.judge(ratio)],
    ]
    for way in ways.others.values():
        idle_s, behind_s = _behind_others(way, subject, scale)
        ratio = behind_s / idle_s
        times = (scale.bulk + 1) / (scale.bulk_by_others + 1)
        rows.append([way.name, scale.bulk_by_others, idle_s, behind_s, ratio, None])
        rows.append([f"{way.name}, reckoned from that", scale.bulk, None, behind_s * times, ratio * times, None])
    head = ("row 6: an interactive job", "bulk jobs before it", "s idle", "s behind them", "ratio", "bar")
    print(f"\n{markdown(head, rows)}")
    print(
        f"\nMedians of {scale.interactive} for Darkroom ({ended} bulk jobs ended beside them); one job by the others."
    )


def _behind_bulk(darkroom: Darkroom, subject: Subject, scale: Scale) -> tuple[float, float, int]:
    """An interactive job's seconds on an idle worker, those while bulk jobs run, and how many ended meanwhile."""
    idle_s = darkroom.draw(like_default(subject, scale.interactive, seed=6_000), 1).median_s
    client = darkroom.client
    bulk = [
        client.submit(order.request(lane=Lane.BULK, alone=False)).id
        for order in like_default(subject, scale.bulk, seed=10_000)
    ]
    until = time.monotonic() + ANSWER_S
    while client.job(bulk[0]).started_at is None and time.monotonic() < until:
        time.sleep(PAUSE_BETWEEN_S)
    times: list[float] = []
    for order in like_default(subject, scale.interactive, seed=8_000):
        time.sleep(PAUSE_BETWEEN_S)
        times.append(darkroom.draw([order], 1).median_s)
    ended = sum(client.cancel(job).status == "succeeded" for job in bulk)
    return idle_s, median(times), ended


def _behind_others(way: Way, subject: Subject, scale: Scale) -> tuple[float, float]:
    """The same where all wait in one line: the last of so many that come at once."""
    idle_s = way.draw(like_default(subject, 3, seed=6_000), 1).median_s
    orders = like_default(subject, scale.bulk_by_others + 1, seed=7_000)
    return idle_s, max(one.took_s for one in way.draw(orders, len(orders)).drawn)
