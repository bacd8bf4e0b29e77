"""A job asked for again: the same once more, a variation of a picture, its settings back in the form."""

from __future__ import annotations

import pytest

from shared.contract import JobBody, JobRequest, job_body
from shared.jobs import Job
from shared.generation import GenerationParams
from tests.unit.ui.test_form import SDXL, STYLES, body, form
from ui.again import again_of, form_of, variation_of
from ui.fitting import reused
from ui.form import FIELDS, request_of
