"""deploy/kubernetes/components/traces in an overlay: who is told where traces go, and who may go there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml
from kubernetes_validate import utils  # pyright: ignore[reportMissingTypeStubs]
from packaging.version import Version

from shared.settings import Telemetry

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "kubernetes"
TRACED: Final = {"gateway", "courier", "worker"}
OVERLAY: Final = {"resources": ["../demo"], "components": ["../../components/traces"]}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What an overlay with traces comes to."""
    folder = tmp_path_factory.mktemp("traces") / "kubernetes"
    shutil.copytree(FOLDER, folder)
    overlay = folder / "overlays" / "traced"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"kind": "Kustomization", **OVERLAY}))
    command = [Path(sys.executable).with_name("kubectl"), "kustomize", overlay]
    told = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "KUBECONFIG": ""})
    return list(yaml.safe_load_all(told.stdout))


def deployments(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == "Deployment"}


def test_gateway_courier_and_workers_are_told_where_traces_go_and_nobody_else(objects: list[dict[str, Any]]) -> None:
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    told = set[str]()
    for name, one in deployments(objects).items():
        (container,) = one["spec"]["template"]["spec"]["containers"]
        env = {key for source in container.get("envFrom", ()) for key in maps[source["configMapRef"]["name"]]}
        headers = [entry for entry in container.get("env", ()) if entry["name"] == "OTEL_EXPORTER_OTLP_HEADERS"]
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in env:
            told.add(name)
            assert headers[0]["valueFrom"]["secretKeyRef"]["optional"]
        else:
            assert not headers
    assert told == TRACED


def test_what_they_are_told_is_sent(objects: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    (data,) = [one["data"] for one in objects if one["kind"] == "ConfigMap" and "OTEL_TRACES_SAMPLER" in one["data"]]
    for name, value in data.items():
        monkeypatch.setenv(name, value)

    assert Telemetry().is_wanted
    assert Telemetry().trouble == ""


def test_they_may_go_there(objects: list[dict[str, Any]]) -> None:
    (policy,) = [one for one in objects if one["metadata"]["name"] == "traces"]
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert set(expression["values"]) == TRACED
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in deployments(objects).values()]
    assert {one[expression["key"]] for one in labels} >= TRACED
    newest = max(utils.all_versions(), key=Version)
    kubernetes_validate.validate(policy, newest, strict=True)
