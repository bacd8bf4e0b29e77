"""What the page's tests fill in."""

from __future__ import annotations

from ui.form import FIELDS
from ui.handlers import View


def form_of(view: View, **said: object) -> dict[str, object]:
    """The form as the browser sends it, untouched but for what is said; a seed that is typed is locked."""
    return {name: view.controls[name].value for name in FIELDS} | {"seed_locked": "seed" in said} | said
