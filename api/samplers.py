"""AUTOMATIC1111's names of samplers and of their noise schedules, and which of our schedulers they mean.

Since its 1.9 a sampler and its noise schedule are two fields (`DPM++ 2M`, `Karras`), before they were one
(`DPM++ 2M Karras`); clients send either. Names are those of `modules/sd_samplers*.py` and `modules/sd_schedulers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.errors import FieldError, InvalidRequest
from shared.generation import ModelCard, Scheduler

AUTOMATIC: Final = "automatic"
"""The noise schedule that the sampler is made for."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler as AUTOMATIC1111 lists it."""

    name: str
    aliases: tuple[str, ...]
    scheduler: Scheduler
    schedule: str = AUTOMATIC
    """The noise schedule that it draws by; said or not."""

    def means(self, name: str) -> bool:
        """True for its name and its aliases, in any case."""
        return name.casefold() in {known.casefold() for known in (self.name, *self.aliases)}


SAMPLERS: Final = (
    Sampler("DPM++ 2M", ("DPM++ 2M Karras", "k_dpmpp_2m", "k_dpmpp_2m_ka"), Scheduler.DPMPP_2M_KARRAS, "karras"),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral"), Scheduler.EULER_ANCESTRAL),
    Sampler("Euler", ("k_euler",), Scheduler.EULER),
    Sampler("UniPC", (), Scheduler.UNIPC),
    Sampler("DDIM", (), Scheduler.DDIM),
    Sampler("LCM", ("k_lcm",), Scheduler.LCM),
)


def samplers_of(card: ModelCard) -> tuple[Sampler, ...]:
    """Those that a model draws by where no preset is named."""
    preset = card.preset(card.defaults.preset) if card.defaults.preset else None
    offered = {*card.schedulers, *([preset.scheduler] if preset else [])}
    return tuple(sampler for sampler in SAMPLERS if sampler.scheduler in offered)


def scheduler_of(card: ModelCard, name: str | None, schedule: str | None) -> Scheduler | None:
    """Our scheduler for a sampler and its noise schedule; None for none: the model's own. Raises InvalidRequest."""
    if not name:
        _require(not _is_said(schedule), "scheduler", "Say the sampler too (sampler_name), or leave both out.")
        return None
    sampler = next((one for one in samplers_of(card) if one.means(name)), None)
    if sampler is None:
        known = ", ".join(one.name for one in samplers_of(card))
        raise InvalidRequest((FieldError("sampler_name", f"Sampler not found. Known: {known}."),))
    is_its_own = not _is_said(schedule) or (schedule or "").casefold() == sampler.schedule
    _require(is_its_own, "scheduler", f"{sampler.name} draws by {sampler.schedule} alone: say that, or automatic.")
    return sampler.scheduler


def _is_said(schedule: str | None) -> bool:
    return bool(schedule) and (schedule or "").casefold() != AUTOMATIC


def _require(holds: bool, field: str, message: str) -> None:
    if not holds:
        raise InvalidRequest((FieldError(field, message),))
