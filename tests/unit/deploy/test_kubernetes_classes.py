"""Two classes of GPU in Kubernetes: each class is the worker of overlays/gpu, but for what makes it a class.

What holds for each overlay, selectors, budgets, scalers' addresses, is held to in test_kubernetes.py.
"""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Final, cast

import pytest

from tests.unit.deploy.test_kubernetes import (
    FOLDER,
    Object,
    built,
    container_of,
    env_of,
    labels_of,
    of_kind,
    parts,
    pod_of,
    selects,
    workloads,
)

OVERLAY: Final = "overlays/gpu-classes"
CLASSES: Final = ("l4", "h100")
LABEL: Final = "darkroom/class"
PRODUCT: Final = "nvidia.com/gpu.product"


def by_class(kind: str) -> dict[str, Object]:
    """The objects of a kind that a class has for itself."""
    labelled = {one["metadata"].get("labels", {}).get(LABEL): one for one in of_kind(OVERLAY, kind)}
    return {gpu_class: one for gpu_class, one in labelled.items() if gpu_class is not None}


def without_class(one: Object, gpu_class: str) -> Object:
    """The object as it would be if there were no classes."""
    bare = copy.deepcopy(one)
    assert bare["metadata"]["name"].endswith(f"-{gpu_class}")
    bare["metadata"]["name"] = bare["metadata"]["name"].removesuffix(f"-{gpu_class}")
    labels = cast("dict[str, str]", bare["metadata"]["labels"])
    assert labels.pop(LABEL) == gpu_class
    if not labels:
        del bare["metadata"]["labels"]
    if bare["kind"] in {"Deployment", "PodDisruptionBudget"}:
        assert bare["spec"]["selector"]["matchLabels"].pop(LABEL) == gpu_class
    if bare["kind"] == "Deployment":
        assert labels_of(bare).pop(LABEL) == gpu_class
        assert pod_of(bare)["nodeSelector"].pop(PRODUCT)
        container_of(bare)["env"].remove({"name": "DARKROOM_POOL", "value": gpu_class})
    if bare["kind"] == "ScaledObject":
        spec = bare["spec"]
        spec["scaleTargetRef"]["name"] = spec["scaleTargetRef"]["name"].removesuffix(f"-{gpu_class}")
        metadata = spec["triggers"][0]["metadata"]
        metadata["url"] = metadata["url"].replace(f"@{gpu_class}&", "&")
        del spec["maxReplicaCount"]
    return bare


@pytest.mark.parametrize("gpu_class", CLASSES)
@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "ScaledObject"])
def test_a_class_is_the_one_worker_of_the_overlay_without_classes_but_for_its_name(kind: str, gpu_class: str) -> None:
    (worker,) = (copy.deepcopy(one) for one in of_kind("overlays/gpu", kind) if one["metadata"]["name"] == "worker")
    worker["spec"].pop("maxReplicaCount", None)

    assert without_class(by_class(kind)[gpu_class], gpu_class) == worker


def test_all_else_is_as_without_classes() -> None:
    classes = [one for one in built(OVERLAY) if LABEL not in one["metadata"].get("labels", {})]

    assert classes == [one for one in built("overlays/gpu") if one["metadata"]["name"] != "worker"]


def test_each_class_has_workers_of_its_own_pool_on_machines_of_its_own() -> None:
    workers = parts(OVERLAY, "worker")

    assert {one["metadata"]["labels"][LABEL] for one in workers.values()} == set(CLASSES)
    assert len({pod_of(one)["nodeSelector"][PRODUCT] for one in workers.values()}) == len(CLASSES)
    for name, worker in workers.items():
        assert env_of(OVERLAY, worker)["DARKROOM_POOL"] == worker["metadata"]["labels"][LABEL]
        assert name == f"worker-{worker['metadata']['labels'][LABEL]}"


def test_network_policies_know_each_class_as_they_know_workers_without_one() -> None:
    def known(overlay: str, name: str) -> list[str]:
        labels = labels_of(workloads(overlay)[name])
        policies = of_kind(overlay, "NetworkPolicy")
        return [one["metadata"]["name"] for one in policies if selects(one["spec"]["podSelector"], labels)]

    for gpu_class in CLASSES:
        assert known(OVERLAY, f"worker-{gpu_class}") == known("overlays/gpu", "worker")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """deploy/kubernetes, to be changed as an operator would."""
    return shutil.copytree(FOLDER, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("secrets.env"))


def test_a_third_class_is_a_copied_folder_with_its_name_in_it(copied: Path) -> None:
    overlay = copied / OVERLAY
    shutil.copytree(overlay / "l4", overlay / "a100")
    for file, before, after in (
        (overlay / "a100" / "kustomization.yaml", r"\bl4\b", "a100"),
        (overlay / "kustomization.yaml", r"- l4$", "- l4\n  - a100"),
    ):
        file.write_text(re.sub(before, after, file.read_text(), flags=re.MULTILINE))
    workers = parts(str(overlay), "worker")
    asked = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["triggers"][0]["metadata"]["url"]
        for one in of_kind(str(overlay), "ScaledObject")
    }

    assert set(workers) == set(asked) == {"worker-l4", "worker-h100", "worker-a100"}
    assert env_of(str(overlay), workers["worker-a100"])["DARKROOM_POOL"] == "a100"
    assert "@a100&" in asked["worker-a100"]
    for one in workers.values():
        assert sum(selects(one["spec"]["selector"], labels_of(other)) for other in workers.values()) == 1


@pytest.fixture
def on_aws(copied: Path) -> str:
    """overlays/aws on top of the classes, as the operator changes one line of it, with both components."""
    file = copied / "overlays" / "aws" / "kustomization.yaml"
    changed, lines = re.subn(r"- \.\./gpu$", "- ../gpu-classes", file.read_text(), flags=re.MULTILINE)
    assert lines == 1
    file.write_text(f"{changed}components: [../../components/ca, ../../components/traces]\n")
    return str(file.parent)


def test_what_aws_and_the_components_change_in_workers_they_change_in_each_class(on_aws: str) -> None:
    workers = parts(on_aws, "worker")

    assert set(workers) == {f"worker-{gpu_class}" for gpu_class in CLASSES}
    for worker in workers.values():
        env = env_of(on_aws, worker)
        assert pod_of(worker)["serviceAccountName"] == "store"
        assert not {variable for variable in env if re.search("S3_.*KEY", variable)}
        assert {"DARKROOM_CA_FILE", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= set(env)
