"""What happens when a visitor does something or time passes. Knows the gateway's client, not Gradio.

What a visitor sees is a `View`; `Handlers.look` makes the next one from the last. Nothing about a visitor is kept here:
who they are comes with each request, and which jobs are theirs the gateway knows.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shared.contract import JobBody, JobRequest, ModelBody
from shared.errors import (
    DarkroomError,
    GatewayUnavailable,
    InvalidRequest,
    JobNotFound,
    KeyRefused,
    KeyRequired,
    NoModel,
    ScopeMissing,
)
from shared.generation import MAX_SEED, STRONG_VARIATION, SUBTLE_VARIATION
from ui.again import again_of, variation_of
from ui.choices import Control, controls_of
from ui.feed import Asked, Feed, look_at_jobs
from ui.fitting import Fitted, reused
from ui.form import Form, Problems, check, drawn_texts, placed, request_of
from ui.notices import (
    away_notice,
    cookie_notice,
    example_chips,
    headline_of,
    key_notice,
    model_notices,
    nothing_served,
    plain_words,
    refusal,
    served,
)
from ui.styles import Styles
from ui.tokens import tokens_line
from ui.visitors import Person

BUSY_POLL_S: Final = 0.5
"""Between two looks while a job waits or runs."""
IDLE_POLL_S: Final = 3.0
"""Between two looks otherwise: is the gateway there, does the model change, has another tab asked for something?"""

NOT_YOURS: Final = "It is not among your pictures any more: it was deleted, or has expired."

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
    feed: Feed = field(default_factory=Feed)

    @property
    def can_generate(self) -> bool:
        """True once there is a model."""
        return self.card is not None

    @property
    def poll_s(self) -> float:
        """When to look again."""
        return BUSY_POLL_S if self.feed.is_busy and not self.is_away else IDLE_POLL_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a press."""

    job: JobBody | None = None
    """One that is new, or has changed."""
    gone: str | None = None
    """The id of a job that there is no longer."""
    fitted: Fitted | None = None
    """What the form shall say now."""
    problems: Problems = field(default_factory=lambda: Problems({}))
    """What is wrong with the form."""
    refusal: str = ""
    """HTML that says why it was not done though nothing in the form is wrong."""
    words: str = ""
    """A line that says what was done, where the page doesn't show it."""


Verb = Callable[[Person, View, JobBody, int], Answer]
"""What can be done with a job, or with a picture of it."""


class Handlers:
    """The page's events, over one gateway; serves any number of visitors and threads."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._verbs: Mapping[str, Verb] = {
            "cancel": self._cancel,
            "retry": self._retry,
            "delete": self._delete,
            "reuse": self._reuse,
            "again": self._again,
            "vary-subtle": self._vary(SUBTLE_VARIATION),
            "vary-strong": self._vary(STRONG_VARIATION),
        }

    def look(self, person: Person | None, seen: View, asked: Asked, draft: Form) -> View:
        """Look at a visitor's jobs and at the models, and say what the page shows now.

        `draft` is the form as this browser last had it: values that the model takes are put back.
        """
        if person is None:
            return _away(seen, cookie_notice())
        try:
            view = replace(seen, feed=look_at_jobs(person.client, seen.feed, asked))
            return _with_models(view, person.client.models(), draft, self._styles)
        except (KeyRequired, KeyRefused, ScopeMissing) as error:
            return _away(seen, key_notice(error, is_signed_in=person.key is not None))
        except DarkroomError as error:
            away = _away(seen, away_notice(headline_of(error), plain_words(error)))
            if away.notices != seen.notices:  # once an outage, not once a look
                _log.warning("%s", error)
            return away

    def generate(self, person: Person | None, card: ModelBody | None, form: Form) -> Answer:
        """Submit the form, if nothing in it is wrong."""
        if card is not None and (wrong := self.check(card, form)):
            return Answer(problems=Problems(wrong))
        try:
            return self._submit(person, request_of(form, self._styles))
        except InvalidRequest as error:
            return Answer(problems=placed(error.errors, form))

    def tenant_of(self, person: Person | None) -> str | None:
        """Tell whose key somebody signed in with; None for a visitor.

        Raises KeyRefused for a key that is not known any longer, and what any verb raises while nobody can tell.
        """
        return None if person is None or person.key is None else person.client.me().tenant

    def count(self, person: Person | None, card: ModelBody | None, form: Form) -> dict[str, str]:
        """Say how much of its texts a model reads, with what the style adds to them; HTML by field, none if unknown."""
        texts = drawn_texts(form, self._styles)
        if person is None or card is None:
            return dict.fromkeys(texts, "")
        try:
            found = person.client.count_tokens(**texts, model=card.id)
        except DarkroomError:  # the texts can be sent all the same
            return dict.fromkeys(texts, "")
        readings = {"prompt": found.reading.prompt, "negative_prompt": found.reading.negative_prompt}
        return {
            field: tokens_line(reading) if reading is not None and reading.tokens else ""
            for field, reading in readings.items()
        }

    def check(self, card: ModelBody, form: Form) -> Mapping[str, str]:
        """Find what is wrong with the form before anything is sent; by the slot where it is said."""
        return check(form, card, self._styles)

    def act(self, person: Person | None, seen: View, what: str, job_id: str, index: int) -> Answer:
        """Do what a card's button says. A job that is gone, or has ended meanwhile, is shown as it is.

        The page may have forgotten a job that a browser shows; if the gateway doesn't know it either, it may be another
        key's.
        """
        known, verb = seen.feed.job(job_id), self._verbs.get(what)
        if person is None or verb is None:
            return Answer()
        try:
            return verb(person, seen, known or person.client.job(job_id), index)
        except JobNotFound:
            return Answer(words=NOT_YOURS) if known is None else Answer(gone=job_id)
        except DarkroomError as error:
            if not isinstance(error, InvalidRequest):
                _log.warning("%s refused: %s", what, error)
            is_signed_in = person.key is not None
            return Answer(
                refusal=refusal(error, is_signed_in=is_signed_in), words=plain_words(error, is_signed_in=is_signed_in)
            )

    def _cancel(self, person: Person, _seen: View, job: JobBody, _index: int) -> Answer:
        return Answer(job=person.client.cancel(job.id))

    def _retry(self, person: Person, _seen: View, job: JobBody, _index: int) -> Answer:
        return Answer(job=person.client.retry(job.id))

    def _delete(self, person: Person, _seen: View, job: JobBody, _index: int) -> Answer:
        person.client.delete(job.id)
        return Answer(gone=job.id)

    def _again(self, person: Person, _seen: View, job: JobBody, _index: int) -> Answer:
        return self._submit(person, again_of(job))

    def _vary(self, strength: float) -> Verb:
        def vary(person: Person, _seen: View, job: JobBody, index: int) -> Answer:
            seed = secrets.randbelow(MAX_SEED + 1)
            answer = self._submit(person, variation_of(job, index, variation_seed=seed, strength=strength))
            return replace(answer, words=_words_of_variation(job)) if answer.job else answer

        return vary

    def _reuse(self, _person: Person, seen: View, job: JobBody, index: int) -> Answer:
        if seen.card is None:
            return Answer(words="There is no model yet that could take the settings.")
        taken = reused(job, index, seen.models, seen.card, self._styles)
        return Answer(fitted=taken, words=" ".join(("Its settings are in the form.", *taken.notes)))

    def _submit(self, person: Person | None, request: JobRequest) -> Answer:
        if person is None:
            return Answer(refusal=cookie_notice())
        is_signed_in = person.key is not None
        try:
            return Answer(job=person.client.submit(request))
        except InvalidRequest:
            raise
        except GatewayUnavailable as error:
            _log.warning("Submit unanswered: %s", error)
            was_sent = error.__cause__ is not None  # else it was refused for an outage that others had met
            maybe = "Your request may have been accepted all the same." * was_sent
            return Answer(refusal=refusal(error, maybe, is_signed_in=is_signed_in))
        except DarkroomError as error:
            _log.warning("Submit refused: %s", error)
            return Answer(refusal=refusal(error, is_signed_in=is_signed_in))


def _words_of_variation(job: JobBody) -> str:
    """Say which picture a variation of this job's varies, where that is not the one that was pressed."""
    if not job.params.is_variation:
        return ""
    return f"A variation has no seed of its own: like this picture, these vary the one of seed {job.params.seed}."


def _with_models(seen: View, models: tuple[ModelBody, ...], draft: Form, styles: Styles) -> View:
    models = _offered(models, None if seen.card is None else seen.card.id)
    if not models:
        return _away(seen, away_notice("No model yet.", str(NoModel())))
    by_choice = sorted(models, key=lambda model: (model.id != draft.get("model"), not model.is_default))
    card = by_choice[0]
    view = replace(seen, is_away=False, models=models, card=card, served=served(card), notices=model_notices(card))
    if seen.card is not None and seen.card.id == card.id and _without_workers(seen.models) == _without_workers(models):
        return view
    if seen.card is not None:
        draft = {**draft, "model": seen.card.id}  # the one that its other values were meant for
    return replace(
        view, controls=controls_of(models, card, draft, styles), examples=example_chips(card.example_prompts)
    )


def _away(view: View, notices: str) -> View:
    return replace(view, is_away=True, served=nothing_served(view.card), notices=notices)


def _offered(models: tuple[ModelBody, ...], in_use: str | None) -> tuple[ModelBody, ...]:
    """Leave out the models that nobody serves while others are served, or loaded: their jobs could wait for ever.

    The one that a form is `in_use` for stays: its worker may be restarting, and the form is somebody's work.
    """
    ready = {model.id for model in models if model.ready_workers}
    offered = ready or {model.id for model in models if model.warming_workers}
    return tuple(model for model in models if not offered or model.id in offered or model.id == in_use)


def _without_workers(models: tuple[ModelBody, ...]) -> list[ModelBody]:
    """Leave out what changes with every worker that comes or goes: the form does not depend on it."""
    nobody: dict[str, object] = {"ready_workers": 0, "warming_workers": 0, "pools": ()}
    return [model.model_copy(update=nobody) for model in models]
