"""The form's controls and the plain words beside them.

Bounds and choices are empty until a model's card fills them. `elem_id` is the field's name: the
style marks a wrong field by it, and tests find a control by it.
"""

from __future__ import annotations

import gradio as gr

from ui.form import LABELS

Widget = gr.Textbox | gr.Number | gr.Slider | gr.Radio | gr.Dropdown
Widgets = dict[str, Widget]
"""Controls by field."""


def words() -> Widgets:
    """Place what says what to draw."""
    prompt = gr.Textbox(
        label=LABELS["prompt"],
        placeholder="What should the picture show? Ctrl+Enter sends it.",
        lines=3,
        max_lines=12,
        elem_id="prompt",
    )
    negative = gr.Textbox(
        label=LABELS["negative_prompt"],
        placeholder="What should it not show? May stay empty.",
        lines=1,
        max_lines=6,
        elem_id="negative_prompt",
    )
    return {"prompt": prompt, "negative_prompt": negative}


def picture() -> Widgets:
    """Place what says which picture, and how many."""
    size = gr.Radio(label=LABELS["size"], info="Width to height, and pixels.", elem_id="size")
    count = gr.Slider(
        1,
        4,
        1,
        step=1,
        label=LABELS["num_images"],
        info="Each one takes the next seed.",
        elem_id="num_images",
        buttons=[],
    )
    return {"size": size, "num_images": count}


def seed() -> Widgets:
    """Place the seed; the dice beside it is the room's."""
    control = gr.Number(
        None,
        label=LABELS["seed"],
        info="Same seed, same picture. Empty: random.",
        placeholder="random",
        precision=0,
        scale=4,
        min_width=120,
        elem_id="seed",
    )
    return {"seed": control}


def craft() -> Widgets:
    """Place what says how it is drawn; the presets show only where there is a choice."""
    preset = gr.Radio(
        [],
        label=LABELS["preset"],
        info="Sets steps, guidance, sampler and negative prompt.",
        visible=False,
        elem_id="preset",
    )
    steps = gr.Slider(
        1,
        50,
        20,
        step=1,
        label=LABELS["num_inference_steps"],
        info="More steps: finer, and a longer wait.",
        elem_id="num_inference_steps",
        buttons=[],
    )
    guidance = gr.Slider(
        0,
        15,
        5,
        step=0.5,
        label=LABELS["guidance_scale"],
        info="How closely to follow the prompt. Very high looks harsh.",
        elem_id="guidance_scale",
        buttons=[],
    )
    return {"preset": preset, "num_inference_steps": steps, "guidance_scale": guidance}


def file() -> Widgets:
    """Place what says which method and what kind of file."""
    sampler = gr.Dropdown(
        [],
        label=LABELS["scheduler"],
        info="The recipe that turns noise into a picture.",
        filterable=False,
        elem_id="scheduler",
    )
    file_format = gr.Radio(
        [],
        label=LABELS["output_format"],
        info="PNG keeps every detail; the others are smaller. All carry their parameters inside.",
        elem_id="output_format",
    )
    resize = gr.Radio([], label=LABELS["output_size"], info="Of the finished picture.", elem_id="output_size")
    return {"scheduler": sampler, "output_format": file_format, "output_size": resize}


def model() -> Widgets:
    """Place the choice of model; it shows only where there is one."""
    choice = gr.Dropdown([], label=LABELS["model"], filterable=False, visible=False, elem_id="model")
    return {"model": choice}
