"""Prometheus beside the local stack."""

from pathlib import Path

import yaml

from local.layout import Layout
from local.servers.prometheus import describe_prometheus, write_config
from local.stack.stack import Stack


def test_it_scrapes_what_the_stack_has_and_leaves_out_the_rest(tmp_path: Path):
    layout = Layout(tmp_path, 9000)
    config = yaml.safe_load(write_config(tmp_path, layout, 5).read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert set(jobs) == {"heliotrope", "heliotrope-gpu"}
    assert "127.0.0.1:9001" in jobs["heliotrope"]
    assert jobs["heliotrope-gpu"] == ["127.0.0.1:9011"]
    assert all(Path(name).is_file() for name in config["rule_files"])


def test_others_exporters_can_be_elsewhere(tmp_path: Path):
    config = yaml.safe_load(write_config(tmp_path, Layout(tmp_path, 9000), 5, {"vllm": "gpu:8000"}).read_text())
    assert {"job_name": "vllm", "static_configs": [{"targets": ["gpu:8000"]}]} in config["scrape_configs"]


def test_the_stack_has_it_when_asked(tmp_path: Path):
    asked = Stack(tmp_path, 9000, environment={"HELIOTROPE_PROMETHEUS": "/usr/bin/prometheus"})
    assert asked.metrics_port == 9054
    assert Stack(tmp_path, 9000).metrics_port is None
    assert describe_prometheus(asked.layout, "/usr/bin/prometheus").command[0] == "/usr/bin/prometheus"
