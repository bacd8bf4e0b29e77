"""deploy/kubernetes: what each overlay comes to, held to Kubernetes' own schemas, to our settings and to our rules.

`kubectl kustomize` builds the overlays, without a cluster. KEDA's kinds have no schema that can be installed here: the
part of them that we use is written down in `keda.py`, from KEDA's documentation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml
from kubernetes_validate import utils  # pyright: ignore[reportMissingTypeStubs]
from packaging.version import Version

from api.app import create_app
from deploy.cluster_keys import EXAMPLE, secrets_text
from deploy.keys import Keys
from shared.pools import pool_of
from shared.settings import Settings, unknown_settings
from shared.version import VERSION
from tests.unit.deploy.keda import KINDS, ScaledObject

Object = dict[str, Any]

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / "deploy" / "kubernetes"
ON_GPUS: Final = ("overlays/gpu", "overlays/gpu-classes", "overlays/aws")
OVERLAYS: Final = ("base", "overlays/demo", *ON_GPUS)
OURS: Final = frozenset({"gateway", "page", "courier", "worker"})
VERSIONS: Final = sorted(set(utils.all_versions()), key=Version)[-3:]
"""The newest that the package knows."""
SPARE_S: Final = 15.0
"""What a worker takes to hand back and to leave, on a slow machine: it gives up on the store after seconds."""
WORKLOADS: Final = frozenset({"Deployment", "StatefulSet"})
UNITS: Final = {"": 1, "Mi": 2**20, "Gi": 2**30}


@cache
def built(overlay: str) -> tuple[Object, ...]:
    kubectl = Path(sys.executable).with_name("kubectl")
    told = subprocess.run(
        [kubectl, "kustomize", FOLDER / overlay], capture_output=True, check=True, env={**os.environ, "KUBECONFIG": ""}
    )
    return tuple(yaml.safe_load_all(told.stdout))


@cache
def routes() -> frozenset[str]:
    return frozenset(create_app(Settings()).openapi()["paths"])


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [one for one in built(overlay) if one["kind"] in kinds]


def workloads(overlay: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in of_kind(overlay, *WORKLOADS)}


def pod_of(workload: Object) -> Object:
    return cast("Object", workload["spec"]["template"]["spec"])


def labels_of(workload: Object) -> dict[str, str]:
    return cast("dict[str, str]", workload["spec"]["template"]["metadata"]["labels"])


def part_of(workload: Object) -> str:
    """Which part of ours it runs, whatever class its GPUs are of."""
    return labels_of(workload)["app.kubernetes.io/name"]


def parts(overlay: str, *names: str) -> dict[str, Object]:
    """The workloads that run these parts: of workers one for each class."""
    return {name: one for name, one in workloads(overlay).items() if part_of(one) in names}


def container_of(workload: Object) -> Object:
    (only,) = pod_of(workload)["containers"]
    return cast("Object", only)


def env_of(overlay: str, workload: Object) -> dict[str, str | Object]:
    """What its container is told: values, and where others come from."""
    container = container_of(workload)
    env: dict[str, str | Object] = {}
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(overlay, "ConfigMap")}
    for source in container.get("envFrom", ()):
        env |= maps[source["configMapRef"]["name"]]
    for one in container.get("env", ()):
        env[one["name"]] = one.get("value", one.get("valueFrom", ""))
    return env


def nodes(node: object) -> Iterator[Object]:
    if isinstance(node, dict):
        yield cast("Object", node)
        node = list(cast("Object", node).values())
    if isinstance(node, list):
        for one in cast("list[object]", node):
            yield from nodes(one)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """As Kubernetes reads a label selector."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        one["operator"] == "In" and labels.get(one["key"]) in one["values"]
        for one in selector.get("matchExpressions", ())
    )


def size(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w*)", quantity).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(number) * UNITS[unit]


each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.fixture(scope="module")
def schemas() -> Iterator[None]:
    """Read each schema once: they are of megabytes, and the package reads them for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


@pytest.mark.usefixtures("schemas")
class TestSchemas:
    def test_they_are_of_three_versions(self) -> None:
        assert len(VERSIONS) == 3

    @pytest.mark.parametrize("version", VERSIONS)
    @each_overlay
    def test_each_object_is_one_of_kubernetes_and_has_no_field_that_it_has_not(
        self, overlay: str, version: str
    ) -> None:
        for one in built(overlay):
            if one["kind"] not in KINDS:
                kubernetes_validate.validate(one, version, strict=True)  # pyright: ignore[reportUnknownMemberType]

    def test_a_field_that_there_is_not_would_be_seen(self) -> None:
        wrong: Object = {**workloads("base")["gateway"], "spek": True}
        with pytest.raises(kubernetes_validate.ValidationError, match="spek"):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)  # pyright: ignore[reportUnknownMemberType]

    @each_overlay
    def test_keda_s_objects_are_as_its_documentation_has_them(self, overlay: str) -> None:
        scalers = of_kind(overlay, *KINDS)
        for one in scalers:
            KINDS[one["kind"]].model_validate(one)
        assert bool(scalers) == (overlay in ON_GPUS)


class TestPods:
    @each_overlay
    def test_none_may_more_than_it_needs(self, overlay: str) -> None:
        for name, workload in workloads(overlay).items():
            pod, container = pod_of(workload), container_of(workload)
            assert pod["automountServiceAccountToken"] is False, name
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["runAsUser"] > 0, name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod), name

    @each_overlay
    def test_no_service_s_variables_are_taken_for_settings(self, overlay: str) -> None:
        assert all(pod_of(workload)["enableServiceLinks"] is False for workload in workloads(overlay).values())

    @each_overlay
    def test_each_says_what_it_needs_and_what_it_may_take(self, overlay: str) -> None:
        for name, workload in workloads(overlay).items():
            resources = container_of(workload)["resources"]
            assert set(resources["requests"]) >= {"cpu", "memory"}, name
            assert size(resources["limits"]["memory"]) >= size(resources["requests"]["memory"]), name

    @each_overlay
    def test_each_is_asked_whether_it_lives_and_each_that_is_waited_for_whether_it_is_ready(self, overlay: str) -> None:
        for name, workload in workloads(overlay).items():
            container = container_of(workload)
            assert {"startupProbe", "livenessProbe"} <= set(container), name
            assert ("readinessProbe" in container) == (name != "courier"), name

    @each_overlay
    def test_each_mount_has_its_volume_of_one_kind_and_no_folder_grows_without_end(self, overlay: str) -> None:
        for name, workload in workloads(overlay).items():
            volumes = {one["name"]: one for one in pod_of(workload).get("volumes", ())}
            claims = {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", ())}
            assert {one["name"] for one in container_of(workload)["volumeMounts"]} == set(volumes) | claims, name
            for volume in volumes.values():
                (source,) = set(volume) - {"name"}
                assert source != "emptyDir" or "sizeLimit" in volume["emptyDir"], name

    @each_overlay
    def test_each_claim_is_mounted_and_models_outlive_a_worker_where_they_are_large(self, overlay: str) -> None:
        claims = {one["metadata"]["name"] for one in of_kind(overlay, "PersistentVolumeClaim")}
        volumes = [one for workload in workloads(overlay).values() for one in pod_of(workload).get("volumes", ())]
        mounted = {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}
        assert mounted == claims
        assert ("models" in claims) == (overlay in ON_GPUS)

    @each_overlay
    def test_each_image_is_of_a_version(self, overlay: str) -> None:
        for workload in workloads(overlay).values():
            image = container_of(workload)["image"]
            if "darkroom-" in image:
                assert overlay == "base" or image.endswith(f":{VERSION}"), image
            else:
                assert re.search(r":[\w.-]*\d", image), image

    def test_each_has_the_time_that_its_farewell_takes(self) -> None:
        settings = Settings()
        grace = {name: pod_of(one)["terminationGracePeriodSeconds"] for name, one in workloads("base").items()}

        assert grace["worker"] > settings.drain_s + SPARE_S
        assert grace["courier"] > settings.webhook_timeout_s

    @each_overlay
    def test_a_worker_s_spool_has_room_for_what_it_may_hold(self, overlay: str) -> None:
        for name, worker in parts(overlay, "worker").items():
            (spool,) = (one for one in pod_of(worker)["volumes"] if one["name"] == "spool")
            assert size(spool["emptyDir"]["sizeLimit"]) > Settings().spool_mb * 1_000_000, name


class TestSettings:
    @each_overlay
    def test_each_variable_is_a_setting_and_has_a_value_that_it_may_have(
        self, overlay: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
            monkeypatch.delenv(name)
        ours = parts(overlay, *OURS)
        assert {part_of(one) for one in ours.values()} == OURS
        for name, workload in ours.items():
            env = env_of(overlay, workload)
            with monkeypatch.context() as told:
                for variable, value in env.items():
                    secret = "redis://:a-secret@redis:6379/0" if "REDIS" in variable else f"a-secret-of-{variable}"
                    told.setenv(variable, value if isinstance(value, str) else secret)
                assert unknown_settings() == {}, name
                Settings()

    @each_overlay
    def test_secrets_are_referred_to_and_the_example_has_each_of_them(self, overlay: str) -> None:
        offered = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE))
        referred = [one["secretKeyRef"] for one in nodes(list(built(overlay))) if "secretKeyRef" in one]
        referred += [
            one for auth in of_kind(overlay, "TriggerAuthentication") for one in auth["spec"]["secretTargetRef"]
        ]

        assert not of_kind(overlay, "Secret")
        assert {one["name"] for one in referred} == {"darkroom-secrets"}
        assert {one["key"] for one in referred} <= offered

    def test_the_example_has_no_secret_that_nobody_refers_to(self) -> None:
        offered = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE))
        referred = {
            one["key"] for overlay in OVERLAYS for one in nodes(list(built(overlay))) if set(one) >= {"key", "name"}
        }
        assert offered <= referred

    def test_each_part_is_told_the_secrets_that_it_needs_and_no_others(self) -> None:
        told = {
            name: {variable for variable, value in env_of("base", one).items() if not isinstance(value, str)}
            for name, one in workloads("base").items()
        }
        store = {"DARKROOM_S3_ACCESS_KEY", "DARKROOM_S3_SECRET_KEY"}

        assert told == {
            "gateway": {
                "DARKROOM_REDIS_URL",
                *store,
                "DARKROOM_OPERATOR_KEY",
                "DARKROOM_PAGE_KEY",
                "DARKROOM_WATCH_KEY",
            },
            "page": {"DARKROOM_PAGE_KEY", "DARKROOM_VISITOR_SECRET"},
            "courier": {"DARKROOM_REDIS_URL"},
            "worker": {"DARKROOM_REDIS_URL", *store},
        }

    def test_with_a_role_nobody_is_told_the_store_s_keys(self) -> None:
        for name in ("gateway", "worker"):
            workload = workloads("overlays/aws")[name]
            env = env_of("overlays/aws", workload)
            assert not {variable for variable in env if re.search("S3_.*KEY", variable)}
            assert env["DARKROOM_S3_ENDPOINT"] == ""
            accounts = [one["metadata"]["name"] for one in of_kind("overlays/aws", "ServiceAccount")]
            assert pod_of(workload)["serviceAccountName"] in accounts

    def test_new_keys_fill_the_whole_example_and_open_the_demo(self) -> None:
        keys = Keys()
        filled = dict(re.findall(r"^(\w+)=(.*)$", secrets_text(EXAMPLE.read_text(), keys), re.MULTILINE))
        url = urlsplit(str(filled["DARKROOM_REDIS_URL"]))

        assert all(len(value) >= 16 for value in filled.values())
        assert len(set(filled.values())) == len(filled)
        assert (url.password, url.hostname) == (filled["DARKROOM_REDIS_PASSWORD"], "valkey")
        assert (url.hostname, url.port) in addresses("overlays/demo")


def addresses(overlay: str) -> set[tuple[str, int]]:
    return {
        (one["metadata"]["name"], port["port"]) for one in of_kind(overlay, "Service") for port in one["spec"]["ports"]
    }


class TestReferences:
    @each_overlay
    def test_each_selector_selects_a_workload_of_ours(self, overlay: str) -> None:
        own = {name: labels_of(one) for name, one in workloads(overlay).items()}
        for name, workload in workloads(overlay).items():
            assert [one for one in workloads(overlay) if selects(workload["spec"]["selector"], own[one])] == [name]
        for service in of_kind(overlay, "Service"):
            ((workload),) = [
                one
                for one in workloads(overlay).values()
                if selects({"matchLabels": service["spec"]["selector"]}, labels_of(one))
            ]
            ports = {port["name"] for port in container_of(workload)["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        for one in of_kind(overlay, "PodDisruptionBudget", "NetworkPolicy"):
            selector = one["spec"]["selector" if one["kind"] == "PodDisruptionBudget" else "podSelector"]
            assert any(selects(selector, labels) for labels in own.values()), one["metadata"]["name"]

    @each_overlay
    def test_each_pod_of_ours_has_one_disruption_budget_for_with_two_it_could_not_be_evicted(
        self, overlay: str
    ) -> None:
        budgets = [one["spec"]["selector"] for one in of_kind(overlay, "PodDisruptionBudget")]
        for name, workload in workloads(overlay).items():
            its = sum(selects(selector, labels_of(workload)) for selector in budgets)
            assert its == (part_of(workload) in OURS - {"page"}), name

    @each_overlay
    def test_what_is_scaled_is_there_with_a_request_to_go_by_and_no_number_of_its_own(self, overlay: str) -> None:
        for scaler in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
            target = workloads(overlay)[scaler["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"]
            assert "cpu" in container_of(target)["resources"]["requests"]

    @each_overlay
    def test_a_probe_asks_for_a_path_that_is_served(self, overlay: str) -> None:
        container = container_of(workloads(overlay)["gateway"])
        asked = {
            urlsplit(str(container[f"{probe}Probe"]["httpGet"]["path"]))
            for probe in ("startup", "liveness", "readiness")
        }

        assert {one.path for one in asked} <= routes()
        assert parse_qs(urlsplit(str(container["readinessProbe"]["httpGet"]["path"])).query) == {"for": ["traffic"]}

    @pytest.mark.parametrize("overlay", ON_GPUS)
    def test_each_scaler_asks_our_gateway_for_the_pool_that_its_workers_are_in(self, overlay: str) -> None:
        scaled = set[str]()
        for told in of_kind(overlay, "ScaledObject"):
            spec = ScaledObject.model_validate(told).spec
            (trigger,) = spec.triggers
            url = urlsplit(trigger.metadata.url)
            namespace = told["metadata"]["namespace"]
            env = env_of(overlay, workloads(overlay)[spec.scaleTargetRef.name])

            assert (f"{url.hostname}".removesuffix(f".{namespace}.svc.cluster.local"), url.port) in addresses(overlay)
            assert url.path in routes()
            model, gpu_class = cast("str", env["DARKROOM_MODEL"]), cast("str | None", env.get("DARKROOM_POOL"))
            assert parse_qs(url.query)["model"] == [pool_of(model, gpu_class)]
            assert trigger.authenticationRef.name in [
                one["metadata"]["name"] for one in of_kind(overlay, "TriggerAuthentication")
            ]
            scaled.add(spec.scaleTargetRef.name)
        assert scaled == set(parts(overlay, "worker"))


class TestWorkerProbes:
    @pytest.mark.parametrize(
        ("state", "age_s", "starts_lives_is_ready"),
        [
            (None, 0, (False, False, False)),
            ("warming", 0, (True, True, False)),
            ("ready", 0, (True, True, True)),
            ("draining", 0, (True, True, False)),
            ("ready", 300, (True, False, True)),
        ],
    )
    def test_they_tell_how_it_is_by_the_file_that_it_writes(
        self, tmp_path: Path, state: str | None, age_s: int, starts_lives_is_ready: tuple[bool, bool, bool]
    ) -> None:
        container = container_of(workloads("base")["worker"])
        told = env_of("base", workloads("base")["worker"])["DARKROOM_STATE_FILE"]
        file = tmp_path / "state"
        if state is not None:
            file.write_text(f"{state}\n")
            written_at = time.time() - age_s
            os.utime(file, (written_at, written_at))

        def passes(probe: str) -> bool:
            command = [word.replace(cast("str", told), str(file)) for word in container[probe]["exec"]["command"]]
            assert str(file) in " ".join(command)
            return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

        probes = ("startupProbe", "livenessProbe", "readinessProbe")
        assert tuple(map(passes, probes)) == starts_lives_is_ready


class TestNetwork:
    """What the policies come to between our own pods, by Kubernetes' rule: allowed at both ends, or not at all."""

    @staticmethod
    def allows(overlay: str, source: str, target: str, port: int) -> bool:
        pods = {name: labels_of(one) for name, one in workloads(overlay).items()}

        def allowed(policy_type: str, rules: str, peers: str, own: str, other: str) -> bool:
            for policy in of_kind(overlay, "NetworkPolicy"):
                spec = policy["spec"]
                if policy_type not in spec["policyTypes"] or not selects(spec["podSelector"], pods[own]):
                    continue
                for rule in spec.get(rules, ()):
                    ports = [one["port"] for one in rule.get("ports", ())]
                    among = [one["podSelector"] for one in rule.get(peers, ()) if "podSelector" in one]
                    if port in ports and any(selects(one, pods[other]) for one in among):
                        return True
            return False

        return allowed("Egress", "egress", "to", source, target) and allowed(
            "Ingress", "ingress", "from", target, source
        )

    @each_overlay
    def test_nothing_is_allowed_that_is_not_said(self, overlay: str) -> None:
        assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [
            one["spec"] for one in of_kind(overlay, "NetworkPolicy")
        ]

    def test_in_the_demo_each_reaches_what_it_needs_and_nobody_else(self) -> None:
        ports = {"gateway": 8000, "page": 7860, "valkey": 6379, "store": 8333}
        ways = {
            (source, target)
            for source in workloads("overlays/demo")
            for target, port in ports.items()
            if self.allows("overlays/demo", source, target, port)
        }

        assert ways == {
            ("page", "gateway"),
            *((source, "valkey") for source in ("gateway", "courier", "worker")),
            *((source, "store") for source in ("gateway", "worker")),
        }

    @each_overlay
    def test_webhooks_go_to_no_private_network(self, overlay: str) -> None:
        (courier,) = (one for one in of_kind(overlay, "NetworkPolicy") if one["metadata"]["name"] == "courier")
        (rule,) = courier["spec"]["egress"]
        barred = {network for peer in rule["to"] for network in peer["ipBlock"]["except"]}
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "fc00::/7"} <= barred
