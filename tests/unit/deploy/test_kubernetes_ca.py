"""A CA of one's own in Kubernetes: who speaks to Redis or the store finds its certificates, whatever the overlay."""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest

from tests.unit.deploy.test_kubernetes import FOLDER, VERSIONS, Object, container_of, env_of, parts, pod_of, workloads

FILE = "/etc/darkroom-ca/ca.pem"


@pytest.fixture(params=["demo", "gpu", "gpu-classes", "aws"])
def overlay(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One of ours with the component, as an operator's own overlay names both."""
    ours, component = (
        os.path.relpath(FOLDER / name, tmp_path) for name in (f"overlays/{request.param}", "components/ca")
    )
    (tmp_path / "kustomization.yaml").write_text(
        f"kind: Kustomization\nresources: [{ours}]\ncomponents: [{component}]\n"
    )
    return str(tmp_path)


def mounted(workload: Object) -> dict[str, str]:
    """Where its container sees which ConfigMap."""
    maps = {one["name"]: one["configMap"]["name"] for one in pod_of(workload)["volumes"] if "configMap" in one}
    mounts = container_of(workload)["volumeMounts"]
    return {maps[one["name"]]: one["mountPath"] for one in mounts if one["name"] in maps and one["readOnly"]}


def test_who_speaks_to_redis_or_the_store_finds_it(overlay: str) -> None:
    for name, workload in parts(overlay, "gateway", "courier", "worker").items():
        assert mounted(workload)["darkroom-ca"] == str(Path(FILE).parent), name
        assert env_of(overlay, workload)["DARKROOM_CA_FILE"] == FILE


def test_a_pod_with_it_is_still_one_of_kubernetes(overlay: str) -> None:
    for worker in parts(overlay, "worker").values():
        kubernetes_validate.validate(worker, VERSIONS[-1], strict=True)  # pyright: ignore[reportUnknownMemberType]


def test_the_page_which_speaks_to_the_gateway_alone_does_not(overlay: str) -> None:
    assert "DARKROOM_CA_FILE" not in env_of(overlay, workloads(overlay)["page"])


def test_without_the_component_nobody_waits_for_a_config_map_that_is_not_there() -> None:
    for workload in workloads("overlays/gpu").values():
        assert not [one for one in pod_of(workload).get("volumes", ()) if "configMap" in one]
