"""The form's controls, each with its plain words and the place where what is wrong with it is said.

Bounds and choices are empty until a model's card fills them. `elem_id` is the field's name: tests find a control by it.
What the controls do to each other is `ui.ask`'s.
"""

from __future__ import annotations

import json
from typing import Final

import gradio as gr

from ui.form import DESCRIBED, LABELS

Widget = gr.Textbox | gr.Number | gr.Slider | gr.Radio | gr.Dropdown | gr.Checkbox
Widgets = dict[str, Widget]
"""Controls by field."""

Slots = dict[str, gr.HTML]
"""Places under controls, by field."""

SLOT_JS: Final = """
const mark = () => {
  const isWrong = Boolean(element.querySelector("p"));
  for (const name of %s) {
    for (const input of document.querySelectorAll(`#${name} :is(textarea, input)`)) {
      if (isWrong) input.setAttribute("aria-describedby", "problem-%s");
      else input.removeAttribute("aria-describedby");
      if (input.type === "radio" || input.type === "range") continue;
      if (isWrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }
};
watch("value", mark);
mark();
"""
"""Ties what is said in a slot to the controls that it speaks of, for those who hear the page."""


RADIOS_JS: Final = """
const join = () => {
  for (const group of document.querySelectorAll("fieldset[id]:has(input[type=radio])")) {
    const label = group.querySelector("[data-testid=block-info]");
    if (label && group.getAttribute("aria-label") !== label.textContent) {
      group.setAttribute("role", "radiogroup");
      group.setAttribute("aria-label", label.textContent);
    }
    for (const input of group.querySelectorAll("input[type=radio]")) {
      if (input.name !== group.id) input.name = group.id;
    }
  }
};
new MutationObserver(join).observe(document.body, { childList: true, subtree: true });
join();
"""
"""Gradio 6.31 names each radio differently, and their group not at all: arrow keys would not move among them, and each
would be read as 1 of 1 of nothing."""


def slot(field: str) -> gr.HTML:
    """Place where it is said what is wrong with the control above."""
    script = SLOT_JS % (json.dumps(DESCRIBED[field]), field)
    return _html(f"problem-{field}", "problem", js_on_load=script)


def prompt() -> Widgets:
    """Place what says what to draw."""
    return {
        "prompt": gr.Textbox(
            label=LABELS["prompt"],
            placeholder="What should the picture show? Ctrl+Enter sends it.",
            lines=3,
            max_lines=12,
            elem_id="prompt",
        )
    }


def negative_prompt() -> Widgets:
    """Place what says what to leave out."""
    return {
        "negative_prompt": gr.Textbox(
            label=LABELS["negative_prompt"],
            placeholder="What should it not show? May stay empty.",
            lines=1,
            max_lines=6,
            elem_id="negative_prompt",
        )
    }


def tokens(field: str) -> gr.HTML:
    """Place where it is said how much of a text the model reads."""
    return _html(f"tokens-{field}", "tokens-slot")


def note(field: str) -> gr.HTML:
    """Place where a choice is described."""
    return _html(f"note-{field}", "note")


def style() -> Widgets:
    """Place the choice of a style; the demo model has none."""
    return {
        "style": gr.Dropdown(
            [],
            label=LABELS["style"],
            info="A look that is put around your prompt.",
            filterable=True,
            elem_id="style",
        )
    }


def model() -> Widgets:
    """Place the choice of model; it shows only where there is one."""
    choice = gr.Dropdown([], label=LABELS["model"], info="Who draws.", filterable=False, visible=False, elem_id="model")
    return {"model": choice}


def shapes() -> gr.HTML:
    """Place the rules by which the shapes beside their radios are drawn; nothing of it shows."""
    return _html("shapes", "unseen", js_on_load=RADIOS_JS)


def size() -> Widgets:
    """Place the choice of shape."""
    return {"size": gr.Radio(label=LABELS["size"], elem_id="size")}


def num_images() -> Widgets:
    """Place how many pictures."""
    return {
        "num_images": gr.Slider(
            1,
            4,
            1,
            step=1,
            label=LABELS["num_images"],
            info="How many at once; each takes the next seed.",
            elem_id="num_images",
            buttons=[],
        )
    }


def preset() -> Widgets:
    """Place the presets; they show only where there is a choice."""
    return {
        "preset": gr.Radio(
            [],
            label=LABELS["preset"],
            info="Sets steps, guidance, sampler and negative prompt.",
            visible=False,
            elem_id="preset",
        )
    }


def craft() -> Widgets:
    """Place what says how it is drawn."""
    steps = gr.Slider(
        1,
        50,
        20,
        step=1,
        label=LABELS["num_inference_steps"],
        info="How often the picture is worked over. More: finer, and a longer wait.",
        elem_id="num_inference_steps",
        buttons=[],
    )
    guidance = gr.Slider(
        0,
        15,
        5,
        step=0.5,
        label=LABELS["guidance_scale"],
        info="How closely to follow the prompt. Very high looks harsh; 1 or less ignores the negative prompt.",
        elem_id="guidance_scale",
        buttons=[],
    )
    sampler = gr.Dropdown(
        [],
        label=LABELS["scheduler"],
        info="The recipe that turns noise into a picture.",
        filterable=False,
        elem_id="scheduler",
    )
    return {"num_inference_steps": steps, "guidance_scale": guidance, "scheduler": sampler}


def seed() -> Widgets:
    """Place the seed and its lock; the dice beside them is `ui.ask`'s."""
    number = gr.Number(
        None,
        label=LABELS["seed"],
        info="The number that a picture grows from. Locked: the same picture again. Unlocked: another one each time.",
        placeholder="random",
        precision=0,
        scale=4,
        min_width=120,
        elem_id="seed",
    )
    lock = gr.Checkbox(
        value=False, label=LABELS["seed_locked"], container=False, scale=1, min_width=70, elem_id="seed_locked"
    )
    return {"seed": number, "seed_locked": lock}


def exact() -> Widgets:
    """Place the choice of an exact size; it shows only where the model takes any."""
    return {
        "exact": gr.Checkbox(
            value=False,
            label=LABELS["exact"],
            info="Instead of the shape above: width and height in pixels.",
            elem_id="exact",
        )
    }


def sides() -> Widgets:
    """Place an exact size's width and height."""
    return {
        side: gr.Number(label=LABELS[side], precision=0, min_width=100, elem_id=side) for side in ("width", "height")
    }


def output_format() -> Widgets:
    """Place the kind of file."""
    return {
        "output_format": gr.Radio(
            [],
            label=LABELS["output_format"],
            info="PNG keeps every detail; the others are smaller. All carry their settings inside.",
            elem_id="output_format",
        )
    }


def output_size() -> Widgets:
    """Place the finished picture's size."""
    return {
        "output_size": gr.Radio(
            [], label=LABELS["output_size"], info="Shrinks or enlarges the finished picture.", elem_id="output_size"
        )
    }


def _html(elem_id: str, elem_class: str, js_on_load: str | None = None) -> gr.HTML:
    return gr.HTML(
        "", elem_id=elem_id, elem_classes=[elem_class], js_on_load=js_on_load, apply_default_css=False, padding=False
    )
