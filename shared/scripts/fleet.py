"""Who works, on what, and what the operators want of them; what lies ahead of the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.call import Call, Reply, blob, call_of, items, number, text
from shared.contract import Speed, WorkerState
from shared.errors import NoVocabulary, WorkerNotFound
from shared.generation import ModelCard
from shared.jobs import WorkerId
from shared.keys import DEFAULT, Keys
from shared.lanes import Lane
from shared.pools import model_in
from shared.vocabulary import Vocabulary

Said = TypeVar("Said", bound=BaseModel)

CARD_LIFE_S: Final = 7 * 24 * 3600
SCALED_S: Final = 120
"""After a scaler's question, how long its model counts as scaled: a few rounds of the scaler."""
REMEMBER_LOST_S: Final = 600
"""How long a worker that fell silent is remembered: when it is asked whether workers die again and again, and what it
was told, should it come back."""

_SPEEDS: Final = TypeAdapter(tuple[Speed, ...])


class Mode(StrEnum):
    """What the operators want of a worker, or of all."""

    WORK = "work"
    """Take jobs."""
    PAUSED = "paused"
    """Begin nothing more; end what runs."""
    DRAINED = "drained"
    """Begin nothing more; what runs is ended if that is soon, else handed back."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What can be served: the pools known, most recently served first, and the living workers."""

    cards: tuple[ModelCard, ...]
    """Of the pools: the `id` of each is its pool's name."""
    workers: tuple[WorkerState, ...]
    mode: Mode = Mode.WORK
    """Of all."""
    modes: Mapping[str, Mode] = field(default_factory=dict[str, Mode])
    """Of single workers, by id; not those that shall work."""
    lost: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many workers of a pool came in the last ten minutes, and died or failed since."""
    silent_ms: Mapping[str, int] = field(default_factory=dict[str, int], compare=False)
    """By worker: since its last heartbeat."""
    speeds: Mapping[str, tuple[Speed, ...]] = field(default_factory=dict[str, tuple[Speed, ...]])
    """By pool: how fast its last worker was, gone or not; without those that have drawn nothing yet."""
    scaled: frozenset[str] = frozenset()
    """Pools for which a scaler asks: it starts workers when jobs wait."""

    def mode_of(self, worker: str) -> Mode:
        """What a worker shall do: the stricter of its own orders and everybody's."""
        wanted = (self.mode, self.modes.get(worker, Mode.WORK))
        return next((mode for mode in (Mode.DRAINED, Mode.PAUSED) if mode in wanted), Mode.WORK)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker hears in answer to a heartbeat."""

    is_announced: bool
    """False if Redis has lost the model's card, or the vocabulary: announce it again."""
    mode: Mode


@dataclass(frozen=True, slots=True)
class WaitingWork:
    """What waits in a lane."""

    jobs: int
    work_ms: int


@dataclass(frozen=True, slots=True)
class RunningWork:
    """A running job, as far as it matters to those that wait."""

    worker: WorkerId
    lane: Lane
    work_ms: int
    """Expected, in all."""
    step: int
    steps: int
    elapsed_ms: int
    """Since the claim."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies ahead of a pool's queue."""

    waiting: Mapping[Lane, WaitingWork]
    running: tuple[RunningWork, ...]
    bulk_share: float
    """The bulk lane's part of the work while both lanes wait; 0 before the pool's first job."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What waits for nothing but a worker."""

    jobs: int
    work_ms: int
    """Expected."""
    oldest_ms: int
    """Since the submit of the oldest one, of those that go next for their tenants; 0 if none waits."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What is known of all pools together."""

    pools: tuple[str, ...]
    """That ever had a job waiting, served or not."""
    tallies: Mapping[str, int]
    """Submits by `Submission`, of those that might have found their pictures."""


def fleet(*, keys: Keys = DEFAULT) -> Call[Fleet]:
    """Tell which pools are known and which workers live, but for what a newer version says in words of its own."""

    def parse(_code: str, rest: list[Reply]) -> Fleet:
        cards, workers, modes, lost, silent, speeds, scaled = rest
        told = _pairs(modes)
        gone = [text(model) for model in items(lost)]
        living = [
            (worker, ms)
            for said, ms in zip(items(workers), items(silent), strict=True)
            if (worker := _read(WorkerState, said))
        ]
        known = [
            (card, kept, asked)
            for said, kept, asked in zip(items(cards), items(speeds), items(scaled), strict=True)
            if (card := _read(ModelCard, said))
        ]
        return Fleet(
            tuple(card for card, *_ in known),
            tuple(worker for worker, *_ in living),
            Mode(told.get("*", Mode.WORK)),
            {name: Mode(mode) for name, mode in told.items() if name != "*"},
            {model: gone.count(model) for model in gone},
            {worker.id: number(ms) for worker, ms in living},
            {card.id: _SPEEDS.validate_json(text(kept)) for card, kept, _ in known if text(kept)},
            frozenset(card.id for card, _, asked in known if number(asked)),
        )

    return call_of("fleet", keys, (REMEMBER_LOST_S * 1000,), parse)


def announce(card: ModelCard, vocabulary: Vocabulary | None = None, *, keys: Keys = DEFAULT) -> Call[None]:
    """Publish the card of this worker's pool, whose name is the card's id; once the model is loaded, its vocabulary."""
    words = ("", b"") if vocabulary is None else (vocabulary.digest, vocabulary.packed)
    return call_of("announce", keys, (card.id, card.model_dump_json(), CARD_LIFE_S, *words), _nothing)


def vocabulary(pool: str, known: str | None = None, *, keys: Keys = DEFAULT) -> Call[Vocabulary | None]:
    """Fetch by what a model's texts are read; None if that has the digest that is known. Raises NoVocabulary."""

    def parse(code: str, rest: list[Reply]) -> Vocabulary | None:
        if code == "SAME":
            return None
        if code != "OK":
            raise NoVocabulary(model_in(pool))
        digest, packed = rest
        return Vocabulary(text(digest), blob(packed))

    return call_of("vocabulary", keys, (pool, known or ""), parse)


def heartbeat(state: WorkerState, *, life_s: float, has_vocabulary: bool = False, keys: Keys = DEFAULT) -> Call[Orders]:
    """Say that this worker lives; unless said again it counts as gone after `life_s`.

    `has_vocabulary`: it can hand over the vocabulary, should Redis have lost it.
    """

    def parse(code: str, rest: list[Reply]) -> Orders:
        return Orders(code == "OK", Mode(text(rest[0]) or Mode.WORK))

    speeds = _SPEEDS.dump_json(state.speeds) if state.speeds else ""
    spoken = state.model_copy(update={"model": state.pool})  # gateways that know no classes take it for a model
    said = (state.id, state.pool, spoken.model_dump_json())
    args = (*said, round(life_s * 1000), CARD_LIFE_S, int(has_vocabulary), speeds)
    return call_of("heartbeat", keys, args, parse)


def leave(worker: WorkerId, pool: str, *, failed: bool = False, keys: Keys = DEFAULT) -> Call[None]:
    """Take this worker off the fleet; `failed` if it ends for a reason that may end the next one too."""
    return call_of("leave", keys, (worker, pool, int(failed)), _nothing)


def direct(mode: Mode, worker: WorkerId | None = None, *, keys: Keys = DEFAULT) -> Call[None]:
    """Tell a worker what to do; None: all workers, those that come later too. Raises WorkerNotFound."""

    def parse(code: str, _rest: list[Reply]) -> None:
        if code != "OK":
            raise WorkerNotFound(worker or "")

    return call_of("direct", keys, (worker or "*", "" if mode is Mode.WORK else mode), parse)


def outlook(pool: str, *, keys: Keys = DEFAULT) -> Call[Outlook]:
    """Tell what lies ahead of a pool's queue."""

    def parse(_code: str, rest: list[Reply]) -> Outlook:
        waiting, running, percent = rest
        lanes: dict[Lane, WaitingWork] = {}
        for entry in items(waiting):
            lane, jobs, work_ms = items(entry)
            lanes[Lane(text(lane))] = WaitingWork(number(jobs), number(work_ms))
        return Outlook(lanes, tuple(_running(items(entry)) for entry in items(running)), number(percent) / 100)

    return call_of("outlook", keys, (pool,), parse)


def demand(pool: str, *, keys: Keys = DEFAULT) -> Call[Demand]:
    """Tell a scaler what workers of a pool could begin; what is known of the pool is kept as long as it asks."""

    def parse(_code: str, rest: list[Reply]) -> Demand:
        return Demand(*map(number, rest))

    return call_of("demand", keys, (pool, CARD_LIFE_S, SCALED_S), parse)


def overview(*, keys: Keys = DEFAULT) -> Call[Overview]:
    """Tell which pools have ever had jobs, and how many submits found their pictures."""

    def parse(_code: str, rest: list[Reply]) -> Overview:
        pools, tallies = rest
        counts = {name: int(count) for name, count in _pairs(tallies).items()}
        return Overview(tuple(text(pool) for pool in items(pools)), counts)

    return call_of("overview", keys, (), parse)


def _running(entry: list[Reply]) -> RunningWork:
    worker, lane, *figures = entry
    work_ms, step, steps, elapsed_ms = map(number, figures)
    return RunningWork(WorkerId(text(worker)), Lane(text(lane)), work_ms, step, steps, elapsed_ms)


def _pairs(reply: Reply) -> dict[str, str]:
    words = [text(word) for word in items(reply)]
    return dict(zip(words[::2], words[1::2], strict=True))


def _nothing(_code: str, _rest: list[Reply]) -> None:
    return None


def _read(kind: type[Said], said: Reply) -> Said | None:
    """Read what can be read: a newer version may say more than this one knows."""
    try:
        return kind.model_validate_json(text(said))
    except ValidationError:
        return None
