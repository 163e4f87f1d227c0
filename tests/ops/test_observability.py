"""Rules, alerts and dashboards: fresh, tested, and about metrics that exist."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "observability" / "prometheus"
DASHBOARDS = ROOT / "observability" / "grafana" / "dashboards"
SUFFIXES = ("_bucket", "_sum", "_count")
FOREIGN = {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "vllm:num_requests_running", "up"}
"""Of NVIDIA's exporter, vLLM and Prometheus itself."""
HIGH_CARDINALITY = {"user", "user_id", "interaction_id", "event_id", "request_id", "run_id", "rollout_id", "prompt"}


def load_dashboards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "observability" / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def list_metrics() -> dict[str, list[str]]:
    """Metric -> labels, as declared anywhere in the product; declaring one twice is a mistake."""
    found: dict[str, list[str]] = {}
    for path in (path for folder in ("shared", "services") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Counter", "Gauge", "Histogram"):
                if not node.args or not isinstance(node.args[0], ast.Constant):
                    continue  # collections.Counter
                name = str(node.args[0].value)
                assert name not in found, f"{name} is declared twice"
                labels = node.args[2].elts if len(node.args) > 2 and isinstance(node.args[2], ast.List) else []
                found[name] = [str(label.value) for label in labels if isinstance(label, ast.Constant)]
    return found


def list_recorded() -> set[str]:
    groups = yaml.safe_load((PROMETHEUS / "recording.yml").read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


def list_alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def list_queries() -> list[tuple[str, str]]:
    """(where, query) of every panel, alert and recording rule."""
    queries = []
    for path in DASHBOARDS.glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            queries += [(f"{path.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    queries += [(alert["alert"], alert["expr"]) for alert in list_alerts()]
    groups = yaml.safe_load((PROMETHEUS / "recording.yml").read_text())["groups"]
    return queries + [(rule["record"], rule["expr"]) for group in groups for rule in group["rules"]]


def run_promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not on PATH: see `make test-ops`"
    return subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=600, check=False
    )


def test_the_dashboards_are_what_the_code_says():
    code = load_dashboards()
    assert {path.stem for path in DASHBOARDS.glob("*.json")} == set(code.BOARDS)
    for name in code.BOARDS:
        assert (DASHBOARDS / f"{name}.json").read_text() == code.render(name), "run: make dashboards"


def test_the_charts_rules_are_the_same():
    for rules in ("recording.yml", "alerts.yml"):
        assert (ROOT / "helm/heliotrope/rules" / rules).read_text() == (PROMETHEUS / rules).read_text()


@pytest.mark.parametrize("where, query", list_queries())
def test_every_query_names_metrics_that_exist(where: str, query: str):
    declared = set(list_metrics())
    known = declared | list_recorded() | FOREIGN | {name + suffix for name in declared for suffix in SUFFIXES}
    named = set(re.findall(r"\b(?:heliotrope|vllm)[_:][\w:]+|\bDCGM_\w+|\bup\b", query))
    assert named, f"{where} names no metric"
    assert named <= known, f"{where} names {sorted(named - known)}"


def test_no_label_grows_with_users_or_events():
    for name, labels in list_metrics().items():
        assert not HIGH_CARDINALITY & set(labels), name


def test_the_configuration_is_valid():
    assert run_promtool("check", "config", "prometheus.yml").returncode == 0


def test_each_alert_fires_and_keeps_quiet_as_its_cases_say():
    said = run_promtool("test", "rules", "alerts_test.yml")
    assert said.returncode == 0, said.stdout + said.stderr
    names = [case["name"] for case in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]]
    for alert in list_alerts():
        assert f"{alert['alert']} fires" in names
        assert f"{alert['alert']} keeps quiet" in names


def test_an_alert_case_can_fail(tmp_path: Path):
    for name in ("recording.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path / name)
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())
    cases["tests"] = cases["tests"][:1]
    cases["tests"][0]["alert_rule_test"][0]["exp_alerts"] = []
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    assert run_promtool("test", "rules", str(tmp_path / "cases.yml")).returncode != 0


def test_every_alert_has_a_runbook():
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    for alert in list_alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"
        assert alert["alert"] in headings
