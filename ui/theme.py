"""The theme: Gradio's controls in the page's own colours. Fonts are those that Gradio brings; nothing is fetched.

Two palettes, one set of rules. `page.css` has the colours, `--tone-*` from the room (950) to what is written on it
(50) and `--glow-*` of the safelight, for the darkroom and, turned around, for daylight. Gradio's own dark mode, which
follows the browser's preference, plays no part.
"""

from __future__ import annotations

from typing import Final

from gradio.themes.base import Base
from gradio.themes.utils import colors, fonts, sizes

_SHADES: Final = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950)
_BEFORE: Final = {"tone-950": "#120d0b", "tone-100": "#f1eae7"}
"""Of the room and its words, while `page.css` is not there yet."""


def _ramp(name: str) -> colors.Color:
    shades = {f"c{shade}": f"var(--{name}-{shade}{_otherwise(f'{name}-{shade}')})" for shade in _SHADES}
    return colors.Color(**shades, name=name)


def _otherwise(colour: str) -> str:
    return f", {_BEFORE[colour]}" if colour in _BEFORE else ""


def darkroom_theme() -> Base:
    """Make the theme."""
    theme = Base(
        primary_hue=_ramp("glow"),
        secondary_hue=_ramp("glow"),
        neutral_hue=_ramp("tone"),
        radius_size=sizes.radius_md,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=(fonts.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "monospace"),
    )
    theme.set(  # pyright: ignore[reportUnknownMemberType]: its parameters have no types
        body_background_fill_dark="*neutral_950",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color_dark="*neutral_300",
        block_background_fill_dark="*neutral_900",
        block_label_background_fill_dark="*neutral_900",
        block_title_text_color_dark="*neutral_100",
        block_border_color_dark="*neutral_800",
        input_background_fill_dark="*neutral_950",
        input_border_color_dark="*neutral_600",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color_dark="var(--on-glow)",
        button_secondary_text_color_dark="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_cancel_background_fill_dark="*neutral_800",
        button_cancel_background_fill_hover_dark="*neutral_700",
        button_cancel_text_color_dark="*neutral_100",
        button_cancel_text_color_hover_dark="*neutral_100",
        slider_color_dark="*primary_500",
    )
    _unite(theme)
    return theme


def _unite(theme: Base) -> None:
    """Make one set of rules of Gradio's two, for the palettes are ours."""
    for name, value in list(vars(theme).items()):
        if name.endswith("_dark"):
            if value is not None:
                setattr(theme, name.removesuffix("_dark"), value)
            delattr(theme, name)
