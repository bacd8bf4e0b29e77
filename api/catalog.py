"""What the fleet serves, as the API says it, and which model a request gets.

A model is shown once, whatever pools serve it. The card that a name means has that name for its id: a model's, or a
pool's if the request names the class too. Which pool's queue a job goes to is `api.routing`'s to tell.
"""

from __future__ import annotations

from collections import Counter

from shared.contract import ModelBody, ModelList, ModelPool
from shared.errors import FieldError, InvalidRequest, NoModel
from shared.generation import ModelCard
from shared.pools import class_in, model_in
from shared.scripts import Fleet
from shared.tuning import TuningInEffect


def models(fleet: Fleet) -> tuple[ModelCard, ...]:
    """The card of each model, most recently served first; of several pools' that of the one with most ready workers."""
    if all(class_in(card.id) is None for card in fleet.cards):  # as with most, and for each submit
        return fleet.cards
    pools: dict[str, list[ModelCard]] = {}
    for card in fleet.cards:
        pools.setdefault(model_in(card.id), []).append(card)
    return tuple(
        max(cards, key=lambda card: _in_pool(fleet, card.id, "ready")).model_copy(update={"id": model})
        for model, cards in pools.items()
    )


def pools_of(fleet: Fleet, name: str) -> tuple[str, ...]:
    """The pools that may draw a job for this name, most recently served first; of one that nobody knows itself.

    A pool whose card is another than the model's, for it serves another revision or other presets, gets only what names
    it.
    """
    if class_in(name) is not None:
        return (name,)
    found = [card for card in fleet.cards if model_in(card.id) == name]
    if len(found) <= 1:
        return tuple(card.id for card in found) or (name,)
    model = next(card for card in models(fleet) if card.id == name)
    return tuple(card.id for card in found if _is_alike(card, model))


def others_of(fleet: Fleet, pool: str) -> tuple[str, ...]:
    """The pools that may draw what waits for this one and named no class.

    None if it is known to serve another revision than they, or other presets: theirs would be other pictures.
    """
    alike = pools_of(fleet, model_in(pool))
    if pool not in alike and any(card.id == pool for card in fleet.cards):
        return ()
    return tuple(other for other in alike if other != pool)


def catalog(fleet: Fleet) -> ModelList:
    """List the models, the default first."""
    if not fleet.cards:
        return ModelList(data=())
    default = default_card(fleet)
    others = sorted((card for card in models(fleet) if card.id != default.id), key=lambda card: card.id)
    return ModelList(
        data=tuple(
            ModelBody(
                **dict(card),
                ready_workers=ready_workers(fleet, card),
                warming_workers=_workers(fleet, card, "warming"),
                tunings=_tunings(fleet, card),
                pools=_pools(fleet, card),
                is_default=card.id == default.id,
            )
            for card in (default, *others)
        )
    )


def default_card(fleet: Fleet) -> ModelCard:
    """The model of a request that names none: the one that most ready workers serve.

    Without ready workers, the one that was served last. Raises NoModel if no worker ever named one.
    """
    known = models(fleet)
    if not known:
        raise NoModel
    if len(known) == 1:  # as with most, and for each submit
        return known[0]
    served = [card for card in known if ready_workers(fleet, card)]
    if not served:
        return known[0]
    return min(served, key=lambda card: (-ready_workers(fleet, card), card.id))


def card_for(fleet: Fleet, name: str | None) -> ModelCard:
    """The card of the model, or of the pool, that a request names, or the default's. Raises NoModel, InvalidRequest."""
    default = default_card(fleet)
    if name is None:
        return default
    known = models(fleet)
    for card in (*known, *fleet.cards):
        if card.id == name:
            return card
    model = model_in(name)
    if any(card.id == model for card in known):
        classes = ", ".join(sorted(card.id for card in fleet.cards if model_in(card.id) == model))
        raise InvalidRequest((FieldError("model", f"It has no such GPU class here. Known: {classes}."),))
    said = ", ".join(card.id for card in known)
    raise InvalidRequest((FieldError("model", f"There is no such model here. Known: {said}."),))


def ready_workers(fleet: Fleet, card: ModelCard) -> int:
    """How many workers would take a job of this model now."""
    return _workers(fleet, card, "ready")


def _workers(fleet: Fleet, card: ModelCard, state: str) -> int:
    return sum(_in_pool(fleet, pool, state) for pool in pools_of(fleet, card.id))


def _in_pool(fleet: Fleet, pool: str, state: str) -> int:
    return sum(worker.state == state and worker.pool == pool for worker in fleet.workers)


def _pools(fleet: Fleet, model: ModelCard) -> tuple[ModelPool, ...]:
    found = sorted((card for card in fleet.cards if model_in(card.id) == model.id), key=lambda card: card.id)
    if all(class_in(card.id) is None for card in found):
        return ()
    return tuple(
        ModelPool(
            name=card.id,
            gpu_class=class_in(card.id),
            ready_workers=_in_pool(fleet, card.id, "ready"),
            warming_workers=_in_pool(fleet, card.id, "warming"),
            is_alike=_is_alike(card, model),
        )
        for card in found
    )


def _is_alike(card: ModelCard, model: ModelCard) -> bool:
    return card.model_copy(update={"id": model.id}) == model


def _tunings(fleet: Fleet, card: ModelCard) -> tuple[TuningInEffect, ...]:
    """How the ready workers of this model compute, each way once, the commonest first."""
    pools = pools_of(fleet, card.id)
    ready = (worker.tuning for worker in fleet.workers if worker.state == "ready" and worker.pool in pools)
    return tuple(tuning for tuning, _ in Counter(tuning for tuning in ready if tuning is not None).most_common())
