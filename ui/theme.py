"""The look: a darkroom under a safelight. Fonts are those that Gradio brings; nothing is fetched."""

from __future__ import annotations

from typing import Final

from gradio.themes.base import Base
from gradio.themes.utils import colors, fonts, sizes

SAFELIGHT: Final = colors.Color(
    name="safelight",
    c50="#fff1ef",
    c100="#ffdfdb",
    c200="#ffc3bc",
    c300="#ff9d92",
    c400="#fb7268",
    c500="#e5484d",
    c600="#cf3038",
    c700="#ad232c",
    c800="#8a1f27",
    c900="#5f1a1f",
    c950="#351012",
)
PAPER: Final = colors.Color(
    name="paper",
    c50="#faf6f4",
    c100="#f1eae7",
    c200="#dfd5d1",
    c300="#c5b8b3",
    c400="#a79994",
    c500="#867873",
    c600="#64574f",
    c700="#463b38",
    c800="#2b2321",
    c900="#1d1716",
    c950="#14100f",
)


def darkroom_theme() -> Base:
    """Make the theme; it is dark whatever the browser prefers."""
    theme = Base(
        primary_hue=SAFELIGHT,
        secondary_hue=SAFELIGHT,
        neutral_hue=PAPER,
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
        button_primary_text_color_dark="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_cancel_background_fill_dark="*neutral_800",
        button_cancel_background_fill_hover_dark="*neutral_700",
        button_cancel_text_color_dark="*neutral_100",
        slider_color_dark="*primary_500",
    )
    _darken(theme)
    return theme


def _darken(theme: Base) -> None:
    """Make the dark palette the only one: Gradio follows the browser's preference otherwise."""
    for name, value in list(vars(theme).items()):
        if name.endswith("_dark"):
            if value is not None:
                setattr(theme, name.removesuffix("_dark"), value)
            delattr(theme, name)
