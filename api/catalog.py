"""What the fleet serves, as the API says it, and which model a request gets."""

from __future__ import annotations

from collections import Counter

from shared.contract import ModelBody, ModelList
from shared.errors import FieldError, InvalidRequest, NoModel
from shared.generation import ModelCard
from shared.scripts import Fleet
from shared.tuning import TuningInEffect


def catalog(fleet: Fleet) -> ModelList:
    """List the models, the default first."""
    if not fleet.cards:
        return ModelList(data=())
    default = default_card(fleet)
    others = sorted((card for card in fleet.cards if card.id != default.id), key=lambda card: card.id)
    return ModelList(
        data=tuple(
            ModelBody(
                **dict(card),
                ready_workers=ready_workers(fleet, card),
                warming_workers=_workers(fleet, card, "warming"),
                tunings=_tunings(fleet, card),
                is_default=card.id == default.id,
            )
            for card in (default, *others)
        )
    )


def default_card(fleet: Fleet) -> ModelCard:
    """The model of a request that names none: the one that most ready workers serve.

    Without ready workers, the one that was served last. Raises NoModel if no worker ever named one.
    """
    if not fleet.cards:
        raise NoModel
    if len(fleet.cards) == 1:  # as with most, and for each submit
        return fleet.cards[0]
    served = [card for card in fleet.cards if ready_workers(fleet, card)]
    if not served:
        return fleet.cards[0]
    return min(served, key=lambda card: (-ready_workers(fleet, card), card.id))


def card_for(fleet: Fleet, model: str | None) -> ModelCard:
    """The card of the model that a request names, or the default's. Raises NoModel, InvalidRequest."""
    default = default_card(fleet)
    if model is None:
        return default
    for card in fleet.cards:
        if card.id == model:
            return card
    known = ", ".join(card.id for card in fleet.cards)
    raise InvalidRequest((FieldError("model", f"There is no such model here. Known: {known}."),))


def ready_workers(fleet: Fleet, card: ModelCard) -> int:
    """How many workers would take a job of this model now."""
    return _workers(fleet, card, "ready")


def _workers(fleet: Fleet, card: ModelCard, state: str) -> int:
    return sum(worker.state == state and worker.model == card.id for worker in fleet.workers)


def _tunings(fleet: Fleet, card: ModelCard) -> tuple[TuningInEffect, ...]:
    """How the ready workers of this model compute, each way once, the commonest first."""
    ready = (worker.tuning for worker in fleet.workers if worker.state == "ready" and worker.model == card.id)
    return tuple(tuning for tuning, _ in Counter(tuning for tuning in ready if tuning is not None).most_common())
