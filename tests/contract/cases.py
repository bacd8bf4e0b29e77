"""Schemathesis over the document: what is asked, what is checked, what is left out and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httpx2
import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.core import NOT_SET
from schemathesis.engine import Status, StopReason, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.contract.asking import EVENTS, events_in, faults_of, operations_of
from tests.contract.stage import KEY

SEED: Final = 1138
WAIT_S: Final = 0.05
"""A held read is as right when it is held shortly, and five thousand of them end the sooner."""
REQUEST_WITHIN_S: Final = 30.0
STREAM_WITHIN_S: Final = 0.5
"""How long a stream is read that does not end: what it has told by then is checked."""

ACCEPTED: Final = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"]
"""What schemathesis takes for the acceptance of a right request; 5xx are another check's."""

STATEFUL: Final = "stateful"
PHASES: Final = ("examples", "coverage", "fuzzing", STATEFUL)

REFUSED: Final = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "5xx"]
"""What it takes for the refusal of a wrong one."""


@dataclass(frozen=True)
class Exemption:
    """A check that can't hold for an operation."""

    operation_id: str
    check: str
    settings: dict[str, Any]
    why: str


EXEMPTIONS: Final = (
    *(
        Exemption(
            operation_id,
            "positive_data_acceptance",
            {"expected-statuses": [*ACCEPTED, "422"]},
            "which sizes, steps, schedulers and presets there are is the model's affair and changes with the fleet "
            "(GET /v1/models); a schema that says so would be wrong tomorrow",
        )
        for operation_id in ("submit_job", "retry_job", "submit_batch", "count_tokens")
    ),
    *(
        Exemption(
            operation_id,
            "positive_data_acceptance",
            {"expected-statuses": [*ACCEPTED, status]},
            "which sizes, counts and presets there are is the model's affair, and what a dialect has and Darkroom "
            "has not is refused by what its fields say together",
        )
        for operation_id, status in (
            ("generate_images", "400"),
            ("txt2img", "422"),
            ("set_options", "422"),
            ("generate_image", "422"),
        )
    ),
    *(
        Exemption(
            operation_id,
            "negative_data_rejection",
            {"expected-statuses": [*REFUSED, "200"]},
            'as AUTOMATIC1111 itself does, it takes `"5"` and `false` for numbers, since its clients send them',
        )
        for operation_id in ("txt2img", "set_options")
    ),
    *(
        Exemption(
            operation_id,
            "positive_data_acceptance",
            {"expected-statuses": [*ACCEPTED, "422"]},
            "which hosts may be sent to is the operator's affair, and a tenant has ten webhooks at most",
        )
        for operation_id in ("make_webhook", "alter_webhook")
    ),
    *(
        Exemption(
            operation_id,
            "ensure_resource_availability",
            {"enabled": False},
            "a job that was just accepted has no picture yet, and a preview only while it runs: 404 is right",
        )
        for operation_id in ("fetch_image", "fetch_preview")
    ),
)


@dataclass
class Outcome:
    """What a run found."""

    seed: int
    cases: Counter[str] = field(default_factory=Counter[str])
    """By phase."""
    operations: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    checks: Counter[str] = field(default_factory=Counter[str])
    """Those that were run, by name."""
    failures: list[str] = field(default_factory=list[str])
    scenarios: int = 0
    """Of the stateful phase: chains of requests, in which each uses what the one before answered."""
    is_complete: bool = True

    def take(self, phase: str, recorder: ScenarioRecorder) -> None:
        """Count what a scenario asked and what came of it."""
        self.scenarios += phase == STATEFUL
        for case_id, interaction in recorder.interactions.items():
            self.cases[phase] += 1
            if case_id in recorder.cases:
                case = cast("Case[Any]", recorder.cases[case_id].value)  # pyright: ignore[reportUnknownMemberType]: generic
                self.operations[case.operation.label] += 1
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
        for checks in recorder.checks.values():
            for check in checks:
                self.checks[check.name] += 1
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    self.failures.append(
                        f"{recorder.label}: {check.name}: {failure.title}: {failure.message}\n"
                        f"    {check.failure_info.code_sample}"
                    )

    def __str__(self) -> str:
        phases = ", ".join(f"{number} {phase}" for phase, number in self.cases.items())
        lines = [
            f"{self.cases.total()} cases over {len(self.operations)} operations (seed {self.seed}): {phases}",
            "answers: " + ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items())),
            *(f"  {number:7} {name}" for name, number in self.checks.most_common()),
            *(f"left out: {one.check} of {one.operation_id}: {one.why}" for one in EXEMPTIONS),
            f"{len(self.failures)} failures" + ("" if self.is_complete else "; the run broke off"),
            *self.failures,
        ]
        return "\n".join(lines)


def run_cases(url: str, *, max_examples: int, seed: int = SEED, phases: tuple[str, ...] = PHASES) -> Outcome:
    """Ask the gateway whatever its document allows and forbids: `max_examples` an operation in each drawing phase.

    The stateful phase has an engine of its own, which knows no job of the other phases. Such jobs end and are deleted
    meanwhile, the same scenario meets them differently when it is run again, Hypothesis raises Flaky, and schemathesis
    ends the phase there, as a success.
    """
    outcome = Outcome(seed)
    for some in (tuple(name for name in phases if name != STATEFUL), (STATEFUL,) if STATEFUL in phases else ()):
        if some:
            _run(outcome, url, max_examples=max_examples, phases=some)
    if STATEFUL in phases and outcome.scenarios < max_examples:
        outcome.failures.append(f"stateful: broke off after {outcome.scenarios} of {max_examples} scenarios")
    return outcome


def _run(outcome: Outcome, url: str, *, max_examples: int, phases: tuple[str, ...]) -> None:
    described = cast(
        "dict[str, Any]", httpx2.get(f"{url}/openapi.json", trust_env=False, timeout=REQUEST_WITHIN_S).json()
    )
    streams = [one.described["operationId"] for one in operations_of(described) if one.is_stream]
    schemes = list(described["components"]["securitySchemes"])
    config = _config(url, max_examples, outcome.seed, phases, streams, schemes)
    document = schemathesis.openapi.from_dict(described, config=config)
    is_complete = False
    for event in from_schema(document).execute():
        match event:
            case events.ScenarioFinished():
                outcome.take(event.phase.value, event.recorder)
            case events.NonFatalError():
                outcome.failures.append(f"{event.label}: {event.info.title}: {event.info.message}")
            case events.FatalError():
                outcome.failures.append(repr(event.exception))
            case events.PhaseFinished() if event.status in {Status.ERROR, Status.INTERRUPTED}:
                outcome.failures.append(f"{event.phase.name}: {event.status}")
            case events.EngineFinished():
                is_complete = event.stop_reason is StopReason.COMPLETED
            case _:
                pass
    outcome.is_complete &= is_complete


def _config(  # noqa: PLR0917 - each is said once, by one caller
    url: str, max_examples: int, seed: int, phases: tuple[str, ...], streams: list[str], schemes: list[str]
) -> schemathesis.Config:
    exempt: dict[str, dict[str, Any]] = {}
    for one in EXEMPTIONS:
        exempt.setdefault(one.operation_id, {})[one.check] = one.settings
    special: dict[str, dict[str, Any]] = {operation_id: {"checks": checks} for operation_id, checks in exempt.items()}
    for operation_id in streams:
        special.setdefault(operation_id, {})["request-timeout"] = STREAM_WITHIN_S
    return schemathesis.Config.from_dict(  # pyright: ignore[reportUnknownMemberType]: a dict of anything
        {
            "seed": seed,
            "base-url": url,
            "request-timeout": REQUEST_WITHIN_S,
            "continue-on-failure": True,
            "max-stream-events": 3,
            "suppress-health-check": ["all"],  # of how fast it draws cases, on a busy machine
            "cache": {"enabled": False},
            "generation": {"max-examples": max_examples, "deterministic": True, "no-shrink": True, "database": "none"},
            "auth": {"openapi": {name: {"bearer": KEY} for name in schemes}},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            "operations": [{"include-operation-id": operation_id, **more} for operation_id, more in special.items()],
        }
    )


def wait_shortly(_: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    wait = case.query.get("wait")
    if isinstance(wait, int | float) and wait > WAIT_S:
        case.query["wait"] = WAIT_S


def as_said(_: schemathesis.SerializationContext, value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", errors="surrogatepass")


schemathesis.serializer("application/jsonl")(as_said)  # the document says nothing of what is in such a text


@schemathesis.check  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator]: partly typed
def event_data_conformance(_: CheckContext, answer: Response, case: Case[Any]) -> None:
    """Hold what an event says against the schema of its name: `contentSchema`, which by itself asserts nothing."""
    if not any(EVENTS in said for said in answer.headers.get("content-type", ())):
        return
    document = case.operation.schema.raw_schema
    described = document["paths"][case.operation.path][case.operation.method]["responses"]["200"]["content"][EVENTS]
    kinds = {kind["properties"]["event"]["const"]: kind["properties"] for kind in described["itemSchema"]["oneOf"]}
    for event in events_in(answer.content.decode("utf-8", "replace")):
        faults = faults_of(document, kinds[event["event"]]["data"]["contentSchema"], json.loads(event["data"]))
        assert not faults, faults


def get_without_body(_: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Let a body not hide which methods an address takes: schemathesis asks for GET with the body of a POST."""
    if case.method.upper() == "GET":
        case.body = NOT_SET


for hook in (wait_shortly, get_without_body):
    schemathesis.hook("before_call")(hook)  # pyright: ignore[reportUnknownMemberType]: untyped
