"""What the page says beside the pictures, as HTML: which model is served, what is away, what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from shared.contract import ModelBody
from shared.errors import (
    DarkroomError,
    FieldError,
    GatewayUnavailable,
    KeyRefused,
    KeyRequired,
    ScopeMissing,
    TooMuch,
    UnexpectedAnswer,
)
from ui.form import LABELS

_NEEDS_COOKIE: Final = "This page needs a cookie"
_ALLOW_COOKIES: Final = "to know which pictures are yours. Allow cookies for this site, then load the page again."
NO_COOKIE: Final = f"{_NEEDS_COOKIE} {_ALLOW_COOKIES}"


def served(card: ModelBody) -> str:
    """Say which model draws, how many workers serve it, and of the demo model what it is."""
    count = card.ready_workers
    return _model(card, "on" if count else "off", "1 worker ready" if count == 1 else f"{count or 'no'} workers ready")


def nothing_served(card: ModelBody | None = None) -> str:
    """Say in the same place that there is no model, or no way to know; `card` is the last one known."""
    if card is not None:
        return _model(card, "off", "not available now")
    return '<p class="model"><span class="lamp none"></span><strong>No model</strong> <span>looking for one</span></p>'


def model_notices(card: ModelBody) -> str:
    """Say where nobody is there to draw."""
    if card.ready_workers:
        return ""
    if card.warming_workers:
        return _notice("wait", "A worker is loading the model.", "What you send waits in the queue until then.")
    return _notice("wait", "No worker is ready.", "What you send waits in the queue until one starts.")


def away_notice(headline: str, message: str) -> str:
    """Say what is away, and that the page watches for its return."""
    return _notice("wait", headline, f"{message} This page tries again by itself.")


def headline_of(error: DarkroomError) -> str:
    """Say why a look saw nothing: the gateway, or what it needs, is away; or it takes no more for now."""
    return "Not so fast." if isinstance(error, TooMuch) else "Out of reach."


def cookie_notice() -> str:
    """Say that a visitor can't be told from others."""
    return _notice("wait", _NEEDS_COOKIE, _ALLOW_COOKIES)


def key_notice(error: KeyRequired | KeyRefused | ScopeMissing, *, is_signed_in: bool) -> str:
    """Say that a key is needed, or that the one at hand is not good any longer, or not for this."""
    if is_signed_in:
        return _notice("wait", *_of_own_key(error))
    if isinstance(error, KeyRequired):
        return _notice("wait", "Sign in to draw.", "This service asks for a key; whoever runs it makes you one.")
    return _notice("wait", "Out of reach.", plain_words(error))


def identity(name: str | None, *, is_sure: bool = True) -> str:
    """Say who is signed in, and offer the way out; to a visitor the way in.

    `data-who` is what tabs compare (`ui/static/sign_in.js`); there is none while nobody can tell.
    """
    if name is not None:
        sure = f' data-who="{escape(name)}"' if is_sure else ""
        return (
            f'<span class="who"{sure} title="Your pictures are those of this key">{escape(name)}</span>'
            '<form method="post" action="sign-out"><button type="submit" class="tool">Sign out</button></form>'
        )
    return (
        '<button type="button" class="tool" data-who="" data-do="sign-in" aria-haspopup="dialog">Sign in</button>'
        '<dialog id="sign-in" class="darkroom confirm" aria-labelledby="sign-in-title">'
        '<form method="post" action="sign-in">'
        '<h2 id="sign-in-title">Sign in with a key</h2>'
        "<p>Without one you are a visitor: this browser knows your pictures again, and no other does."
        " With a key they are the same wherever you sign in.</p>"
        '<label for="sign-in-key">Key</label>'
        '<input id="sign-in-key" name="key" type="password" autocomplete="current-password" required'
        ' spellcheck="false" placeholder="darkroom_..." maxlength="512">'
        '<p class="refused" role="alert" hidden>This key is not known here. Check that all of it was copied.</p>'
        '<menu><button type="button" class="act" data-do="close">Not now</button>'
        '<button type="submit" class="act main">Sign in</button></menu></form></dialog>'
    )


def problem_list(errors: Sequence[FieldError]) -> str:
    """List every wrong field, named as its control is."""
    items = "".join(
        f"<li><strong>{escape(LABELS.get(error.field, error.field))}</strong> {escape(error.message)}</li>"
        for error in errors
    )
    return f'<div role="alert"><ul class="problems">{items}</ul></div>' if items else ""


def refusal(error: DarkroomError, consequence: str = "", *, is_signed_in: bool) -> str:
    """Say what stood against a press on a button though nothing in the form is wrong, and what that may mean."""
    words = plain_words(error, is_signed_in=is_signed_in)
    headline = "No answer" if isinstance(error, GatewayUnavailable) else "Not now"
    return (
        f'<div role="alert"><ul class="problems"><li data-code="{error.code}"><strong>{headline}</strong>'
        f" {escape(f'{words} {consequence}'.rstrip())}</li></ul></div>"
    )


def plain_words(error: DarkroomError, *, is_signed_in: bool = False) -> str:
    """Say an error to a visitor, to whom the gateway's address and its answers' form mean nothing.

    What is said of keys is of the page's, or of the one that they signed in with.
    """
    if isinstance(error, GatewayUnavailable):
        return "The gateway does not answer. What it has accepted is kept."
    if isinstance(error, UnexpectedAnswer):
        return "The gateway's answer makes no sense here. The page's log says more to whoever runs it."
    if isinstance(error, KeyRequired | KeyRefused | ScopeMissing):
        if is_signed_in:
            return " ".join(_of_own_key(error))
        return "The gateway does not know this page's key. Whoever runs it has to give both the same DARKROOM_PAGE_KEY."
    return str(error)


def _of_own_key(error: KeyRequired | KeyRefused | ScopeMissing) -> tuple[str, str]:
    if isinstance(error, ScopeMissing):
        return "Your key may not do this.", str(error)
    return "Your key is not known any longer.", "Sign out, and in again with another one."


def example_chips(prompts: Sequence[str]) -> str:
    """Offer prompts that the model draws well; a click puts one into the form."""
    chips = "".join(
        f'<li><button type="button" data-pick="prompt" data-value="{escape(prompt)}">{escape(prompt)}</button></li>'
        for prompt in prompts
    )
    return f'<p class="hint">Try one of these</p><ul class="chips">{chips}</ul>' if chips else ""


def _model(card: ModelBody, lamp: str, workers: str) -> str:
    words = "Draws simple shapes. For real pictures see the README." if card.is_demo else card.id
    return (
        f'<p class="model" title="{escape(card.description)}"><span class="lamp {lamp}"></span>'
        f"<strong>{escape(card.title)}</strong> <span>{workers}</span>"
        f' <span class="words{" demo" if card.is_demo else ""}">{escape(words)}</span></p>'
    )


def _notice(kind: str, headline: str, message: str) -> str:
    return f'<p class="notice {kind}" role="status"><strong>{escape(headline)}</strong> {escape(message)}</p>'
