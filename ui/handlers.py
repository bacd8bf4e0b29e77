"""What happens when a visitor does something or time passes. Knows the gateway's client, not Gradio.

What a visitor sees is a `View`; `Handlers.look` makes the next one from the last. Nothing about a
visitor is kept here: which job is theirs comes from their browser every time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shared.client import Client
from shared.contract import JobBody, ModelBody
from shared.errors import DarkroomError, GatewayUnavailable, InvalidRequest, JobNotFound, NoModel
from shared.jobs import JobId, JobStatus
from ui.choices import Control, controls_of
from ui.form import Form, check, placed, request_of
from ui.notices import (
    away_notice,
    example_chips,
    model_notices,
    nothing_served,
    plain_words,
    problem_list,
    refusal,
    served,
)
from ui.outage import Outage
from ui.styles import Styles
from ui.tray import empty_tray, job_tray

BUSY_POLL_S: Final = 0.3
"""Between two looks while a job waits or runs."""
IDLE_POLL_S: Final = 3.0
"""Between two looks otherwise: is the gateway there, does the model change?"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """What one visitor's page shows."""

    models: tuple[ModelBody, ...] = ()
    card: ModelBody | None = None
    """Of the model that the form is for; None until a worker has named one."""
    is_away: bool = True
    """The gateway, or what it needs, does not answer, or nobody has named a model."""
    controls: dict[str, Control] = field(default_factory=dict[str, Control])
    served: str = field(default_factory=nothing_served)
    notices: str = ""
    examples: str = ""
    job_id: str | None = None
    """The job that was last looked for; `job` is None if there is none such."""
    job: JobBody | None = None
    preview: bytes | None = None
    tray: str = field(default_factory=empty_tray)

    @property
    def is_busy(self) -> bool:
        """True while a job of this visitor waits or runs."""
        return self.job is not None and not self.job.status.is_terminal

    @property
    def can_generate(self) -> bool:
        """True once there is a model, and no job of this visitor under way."""
        return self.card is not None and not self.is_busy

    @property
    def poll_s(self) -> float:
        """When to look again."""
        return BUSY_POLL_S if self.is_busy else IDLE_POLL_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a press on Generate or Cancel."""

    job_id: JobId | None = None
    """The job that was accepted; None if none was."""
    seed: int | None = None
    """The one that draws its first picture."""
    problems: str = ""
    """What is wrong that no control is to blame for, as HTML."""
    by_slot: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is wrong, by control."""


class Handlers:
    """The page's events, over one gateway; serves any number of visitors and threads."""

    def __init__(self, client: Client, styles: Styles) -> None:
        self._client = client
        self._styles = styles
        self._outage = Outage()

    def generate(self, form: Form, card: ModelBody | None) -> Answer:
        """Submit the form, unless it is wrong already by the card that the page knows."""
        if card is not None and (wrong := check(form, card, self._styles)):
            return Answer(by_slot=wrong)
        try:
            job = self._client.submit(request_of(form, self._styles))
            return Answer(job.id, seed=job.params.seed)
        except InvalidRequest as error:
            found = placed(error.errors, form)
            return Answer(problems=problem_list(found.rest), by_slot=found.by_slot)
        except GatewayUnavailable as error:
            _log.warning("Submit unanswered: %s", error)
            return Answer(problems=refusal(error, "Your request may have been accepted all the same."))
        except DarkroomError as error:
            _log.warning("Submit refused: %s", error)
            return Answer(problems=refusal(error))

    def cancel(self, job_id: str | None) -> Answer:
        """Cancel the visitor's job; one that has ended meanwhile stays as it is."""
        try:
            if job_id:
                self._client.cancel(job_id)
        except JobNotFound:
            pass  # it is gone, as asked
        except DarkroomError as error:
            _log.warning("Cancel refused: %s", error)
            return Answer(problems=refusal(error))
        return Answer()

    def look(self, seen: View, job_id: str | None, draft: Form) -> View:
        """Look at the visitor's job and at the models, and say what the page shows now.

        `draft` is the form as this browser last had it: values that the model takes are put back.
        """
        view = seen
        try:
            with self._outage.turn():
                view = replace(self._look_at_job(view, job_id), job_id=job_id)
                if view.job is None or view.job.status is not JobStatus.RUNNING or view.is_away:
                    view = self._look_at_models(view, draft)
        except DarkroomError as error:
            away = _away(view, away_notice("Out of reach.", plain_words(error)))
            if away.notices != seen.notices:  # once an outage, not once a look
                _log.warning("%s", error)
            return away
        return view

    def _look_at_job(self, seen: View, job_id: str | None) -> View:
        if job_id is None:
            return replace(seen, job=None, preview=None, tray=empty_tray())
        is_same = seen.job is not None and seen.job.id == job_id
        if is_same and not seen.is_busy:
            return seen
        try:
            job = self._client.job(job_id)
        except JobNotFound:
            return replace(seen, job=None, preview=None, tray=empty_tray())
        preview = seen.preview if is_same else None
        if job.status is JobStatus.RUNNING and not (is_same and seen.job and seen.job.progress == job.progress):
            preview = self._client.preview(job_id) or preview
        return replace(seen, job=job, preview=preview, tray=job_tray(job, preview))

    def _look_at_models(self, seen: View, draft: Form) -> View:
        models = _offered(self._client.models())
        if not models:
            return _away(seen, away_notice("No model yet.", str(NoModel())))
        by_choice = sorted(models, key=lambda model: (model.id != draft.get("model"), not model.is_default))
        card = by_choice[0]
        view = replace(seen, is_away=False, models=models, card=card, served=served(card), notices=model_notices(card))
        if (
            seen.card is not None
            and seen.card.id == card.id
            and _without_workers(seen.models) == _without_workers(models)
        ):
            return view
        if seen.card is not None:
            draft = {**draft, "model": seen.card.id}  # the one that its other values were meant for
        return replace(
            view, controls=controls_of(models, card, draft, self._styles), examples=example_chips(card.example_prompts)
        )


def _away(view: View, notices: str) -> View:
    return replace(view, is_away=True, served=nothing_served(view.card), notices=notices)


def _offered(models: tuple[ModelBody, ...]) -> tuple[ModelBody, ...]:
    """Leave out the models that nobody serves while others are served, or loaded: their jobs could wait for ever."""
    ready = tuple(model for model in models if model.ready_workers)
    return ready or tuple(model for model in models if model.warming_workers) or models


def _without_workers(models: tuple[ModelBody, ...]) -> list[ModelBody]:
    """Leave out what changes with every worker that comes or goes: the form does not depend on it."""
    return [model.model_copy(update={"ready_workers": 0, "warming_workers": 0}) for model in models]
