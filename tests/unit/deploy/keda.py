"""KEDA's kinds, as far as deploy/kubernetes uses them: from the documentation of KEDA 2.18 to 2.22.

Written by hand, since no package has its current schema; unknown fields are refused, as its CRD would drop them. The
parts that KEDA hands to Kubernetes as they are, the autoscaler's behavior, are Kubernetes' own.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _number(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError("KEDA takes numbers as text, and this is none")
    return text


NumberInText = Annotated[str, AfterValidator(_number)]


class Metadata(Strict):
    name: str
    namespace: str
    labels: dict[str, str] = {}


class Target(Strict):
    name: str
    apiVersion: str = "apps/v1"  # noqa: N815 (KEDA's word)
    kind: str = "Deployment"


class Fallback(Strict):
    failureThreshold: int = Field(ge=0)  # noqa: N815
    replicas: int = Field(ge=0)
    behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"] = "static"


class Policy(Strict):
    type: Literal["Pods", "Percent"]
    value: int = Field(gt=0)
    periodSeconds: int = Field(gt=0, le=1800)  # noqa: N815


class Rules(Strict):
    stabilizationWindowSeconds: int = Field(ge=0, le=3600)  # noqa: N815
    policies: list[Policy]
    selectPolicy: Literal["Max", "Min", "Disabled"] = "Max"  # noqa: N815


class Behavior(Strict):
    scaleUp: Rules  # noqa: N815
    scaleDown: Rules  # noqa: N815


class AutoscalerConfig(Strict):
    behavior: Behavior


class Advanced(Strict):
    horizontalPodAutoscalerConfig: AutoscalerConfig  # noqa: N815


class MetricsApi(Strict):
    """The trigger `metrics-api`."""

    url: str = Field(pattern=r"^https?://")
    valueLocation: str  # noqa: N815
    targetValue: NumberInText  # noqa: N815
    activationTargetValue: NumberInText = "0"  # noqa: N815
    authMode: Literal["apiKey", "basic", "tls", "bearer"]  # noqa: N815


class AuthenticationRef(Strict):
    name: str


class Trigger(Strict):
    type: Literal["metrics-api"]
    metricType: Literal["AverageValue"]  # noqa: N815 (older KEDAs fall back for no other)
    metadata: MetricsApi
    authenticationRef: AuthenticationRef  # noqa: N815


class ScaledObjectSpec(Strict):
    scaleTargetRef: Target  # noqa: N815
    minReplicaCount: int = Field(ge=0)  # noqa: N815
    maxReplicaCount: int = Field(gt=0)  # noqa: N815
    pollingInterval: int = Field(gt=0)  # noqa: N815
    cooldownPeriod: int = Field(ge=0)  # noqa: N815
    fallback: Fallback
    advanced: Advanced
    triggers: list[Trigger]


class ScaledObject(Strict):
    apiVersion: Literal["keda.sh/v1alpha1"]  # noqa: N815
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


class SecretTarget(Strict):
    parameter: Literal["token"]
    """What the mode `bearer` needs."""
    name: str
    key: str


class TriggerAuthenticationSpec(Strict):
    secretTargetRef: list[SecretTarget]  # noqa: N815


class TriggerAuthentication(Strict):
    apiVersion: Literal["keda.sh/v1alpha1"]  # noqa: N815
    kind: Literal["TriggerAuthentication"]
    metadata: Metadata
    spec: TriggerAuthenticationSpec


KINDS: Final[dict[str, type[Strict]]] = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
