"""What a job can be asked for again: its settings back in the form, the same once more, or a variation of a picture.

Knows neither Gradio nor HTTP.
"""

from __future__ import annotations

from shared.contract import JobBody, JobRequest
from shared.generation import GenerationParams
from ui.form import NEGATIVE_TYPED, PROMPT_TYPED, STYLE_CHOSEN, Form
from ui.styles import Styles


def form_of(job: JobBody, styles: Styles, index: int = 0) -> Form:
    """Say a job's settings as the form does, with the seed of its picture `index` and the texts as they were typed.

    `ui.fitting` makes them fit a model.
    """
    style, prompt, negative = _typed(job, styles)
    return {
        **fields_of(job.params),
        "model": job.model,
        "prompt": prompt,
        "negative_prompt": negative,
        "style": style,
        "preset": job.params.preset,
        "seed": job.params.seed_of(index),
        "num_images": job.params.num_images,
    }


def fields_of(params: GenerationParams) -> Form:
    """Say parameters as the form does; `adapter` and `guidance_cutoff`, which it has no controls for, stand by."""
    return {
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "style": "",
        "size": str(params.size),
        "num_inference_steps": params.num_inference_steps,
        "guidance_scale": params.guidance_scale,
        "seed": params.seed,
        "seed_locked": True,
        "scheduler": params.scheduler.value,
        "output_format": params.output_format.value,
        "output_size": "" if params.output_size is None else str(params.output_size),
        "adapter": params.adapter,
        "guidance_cutoff": params.guidance_cutoff,
    }


def unsaid_of(params: GenerationParams) -> tuple[str, ...]:
    """Note what the form can't say of parameters."""
    if not params.is_variation:
        return ()
    return (
        f"It was a variation of the picture of seed {params.seed}, which is not restored: its seed draws that one.",
    )


def again_of(job: JobBody) -> JobRequest:
    """Ask for the same once more, with another seed; of a variation with another variation seed."""
    params = job.params
    asked = _asked(job) | {"num_images": params.num_images}
    if params.is_variation:
        asked |= {"seed": params.seed, "variation_strength": params.variation_strength, "deterministic": False}
    return JobRequest.model_validate(asked)


def variation_of(job: JobBody, index: int, *, variation_seed: int, strength: float) -> JobRequest:
    """Ask for as many pictures as the job had that differ from its picture `index` by `strength`, 0 to 1."""
    varied = {"variation_seed": variation_seed, "variation_strength": strength}
    asked = _asked(job) | {
        "seed": job.params.seed_of(index),
        "num_images": job.params.num_images,
        "deterministic": False,
    }
    return JobRequest.model_validate(asked | varied)


def _asked(job: JobBody) -> dict[str, object]:
    params = job.params
    return {
        "model": job.model,
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "width": params.width,
        "height": params.height,
        "num_inference_steps": params.num_inference_steps,
        "guidance_scale": params.guidance_scale,
        "guidance_cutoff": params.guidance_cutoff,
        "scheduler": params.scheduler,
        "preset": params.preset,
        "output_format": params.output_format,
        "output_size": params.output_size,
        "metadata": job.metadata,
        "lane": job.lane,
    }


def _typed(job: JobBody, styles: Styles) -> tuple[str, str, str]:
    """Find style, prompt and negative prompt as typed: in the metadata, or by taking the style's words away."""
    params, said = job.params, job.metadata
    style = styles.by_name.get(said.get(STYLE_CHOSEN, ""))
    if style is None:
        return "", params.prompt, params.negative_prompt
    if PROMPT_TYPED in said and NEGATIVE_TYPED in said:
        return style.name, said[PROMPT_TYPED], said[NEGATIVE_TYPED]
    typed = style.without(params.prompt, params.negative_prompt)
    return ("", params.prompt, params.negative_prompt) if typed is None else (style.name, *typed)
