"""Each alert asks what there is, is tried on what it is for and what it is not for, and has something to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from shared.errors import leaf_of
from tests.compose_files import ROOT, read
from tests.prometheus import tool
from tests.promql import FOLDER, Rule, aggregations, labels_of, rules, selectors, series, told_labels

GUIDE: Final = ROOT / "docs" / "operations" / "alerts.md"
PROMETHEUS: Final = cast("dict[str, Any]", yaml.safe_load((FOLDER / "prometheus.yml").read_text()))


def anchor(heading: str) -> str:
    """As forges make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections() -> dict[str, str]:
    parts = re.split(r"^### (.+)$", GUIDE.read_text(), flags=re.MULTILINE)
    return {anchor(heading): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture(params=rules(), ids=lambda rule: rule.name)
def rule(request: pytest.FixtureRequest) -> Rule:
    return request.param


def test_it_asks_for_metrics_and_labels_that_there_are(rule: Rule) -> None:
    known = series()

    asked = selectors(rule.expr)
    assert asked
    for one in asked:
        assert one.name in known, one.name
        assert labels_of(one) <= known[one.name], one.prettify()
    for by, added_up in aggregations(rule.expr):
        for one in added_up:
            assert by <= known[str(one.name)], one.prettify()


def test_codes_that_it_names_are_errors_of_ours(rule: Rule) -> None:
    codes = [match.value for one in selectors(rule.expr) for match in one.matchers.matchers if match.name == "code"]

    assert [code for code in codes if leaf_of(code) is None] == []


def test_it_says_how_bad_it_is_and_its_text_has_only_labels_that_come_out(rule: Rule) -> None:
    assert rule.body["labels"] == {"severity": rule.body["labels"]["severity"]}
    assert rule.body["labels"]["severity"] in {"critical", "warning"}
    kept = {label for by, _ in aggregations(rule.expr) for label in by}
    assert told_labels(rule.body["annotations"]["summary"]) <= kept


def test_what_is_short_does_not_wake_anybody(rule: Rule) -> None:
    """It lasts, or looks back over a while by itself."""
    looks_back = "[" in rule.expr

    assert "for" in rule.body or looks_back


def test_its_runbook_says_what_it_means_how_to_look_and_what_to_do(rule: Rule) -> None:
    page, _, named = str(rule.body["annotations"]["runbook_url"]).partition("#")

    assert ROOT / page == GUIDE
    assert named == anchor(rule.name)
    text = sections()[named]
    assert [word for word in ("**Means.**", "**Look.**", "**Do.**") if word not in text] == []
    assert f"*{rule.body['labels']['severity']}*" in text


def test_the_guide_knows_no_other_alerts() -> None:
    assert sections().keys() == {anchor(rule.name) for rule in rules()}


def test_what_is_kept_quiet_for_something_worse_are_alerts_that_there_are() -> None:
    lines = re.search(r"^```yaml\n(inhibit_rules:.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert lines
    told = [
        line
        for one in yaml.safe_load(lines[1])["inhibit_rules"]
        for line in one["source_matchers"] + one["target_matchers"]
    ]
    names = {name for line in told for name in re.findall(r"\b[A-Z]\w+", line)}

    assert len(names) > 3
    assert names <= {rule.name for rule in rules()}


def test_it_is_tried_on_what_it_is_for_and_on_what_it_is_not_for(rule: Rule) -> None:
    trials = cast("list[dict[str, Any]]", yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"])
    fires = [trial for trial in trials if re.match(rf"{rule.name}\b", trial["name"])]
    stays = [trial for trial in trials if re.match(rf"not {rule.name}\b", trial["name"])]

    assert fires
    assert all(rule.name in str(trial["promql_expr_test"][1:] or trial["promql_expr_test"]) for trial in fires)
    assert stays
    assert [trial["name"] for trial in stays if f'"{rule.name}"' in str(trial["promql_expr_test"])] == []
    tried = {one["expr"] for trial in fires + stays for one in trial["promql_expr_test"]}
    assert tried == {'count by (alertname) (ALERTS{alertstate="firing"})'}  # nothing else fires either


def test_series_that_alerts_are_tried_on_are_such_as_there_are() -> None:
    known = series()
    trials = cast("list[dict[str, Any]]", yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"])

    for one in (selectors(given["series"])[0] for trial in trials for given in trial.get("input_series", ())):
        labels = known[str(one.name)]
        # Only what is added up may lack labels.
        assert labels_of(one) <= labels, one.prettify()


def test_one_target_is_asked_by_the_watch_key_from_a_file_that_the_container_writes() -> None:
    (scrape,) = PROMETHEUS["scrape_configs"]
    service = read("docker-compose.yml")["services"]["prometheus"]
    key_file = scrape["authorization"]["credentials_file"]

    assert scrape["static_configs"] == [{"targets": ["gateway:8000"]}]
    assert f"> {key_file})" in service["entrypoint"][2]
    assert any(key_file.startswith(f"{mount.split(':')[0]}/") for mount in service["tmpfs"])  # memory, not a disk


def test_prometheus_finds_its_files_where_compose_puts_them() -> None:
    service = read("docker-compose.yml")["services"]["prometheus"]
    mounted: dict[str, Path] = {
        volume["target"]: ROOT / volume["source"] for volume in service["volumes"] if isinstance(volume, dict)
    }

    assert mounted == {
        "/etc/prometheus/prometheus.yml": FOLDER / "prometheus.yml",
        PROMETHEUS["rule_files"][0]: FOLDER / "rules.yml",
    }
    assert "--config.file=/etc/prometheus/prometheus.yml" in service["command"]


def test_the_files_that_are_mounted_are_readable_to_others() -> None:
    """Neither container runs as whoever checked them out."""
    files = [*FOLDER.rglob("*.yml"), *FOLDER.rglob("*.json")]

    assert files
    assert [path for path in files if not _readable(path)] == []


def _readable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o004)


def promtool(*words: str | Path) -> None:
    said = subprocess.run([tool("promtool"), *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_prometheus_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    here = (FOLDER / "prometheus.yml").read_text().replace(PROMETHEUS["rule_files"][0], str(FOLDER / "rules.yml"))
    (tmp_path / "watch-key").touch()
    (tmp_path / "prometheus.yml").write_text(here.replace("/tmp/watch-key", str(tmp_path / "watch-key")))  # noqa: S108

    promtool("check", "config", tmp_path / "prometheus.yml")
    promtool("check", "rules", FOLDER / "rules.yml")


def test_each_alert_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    promtool("test", "rules", FOLDER / "rules_test.yml")


def test_the_alertmanager_that_is_written_of_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yml").read_text()
    asked_for = re.sub(
        r"^#(\S| )", r"\1", text.partition("your Alertmanager.\n")[2].partition("\n\n")[0], flags=re.MULTILINE
    )
    (tmp_path / "prometheus.yml").write_text(asked_for)

    assert "alertmanagers:" in asked_for
    promtool("check", "config", tmp_path / "prometheus.yml")
