"""Installed from nothing by the manual's lines: what is ready, what is reached, and what is not."""

import json

import pytest

from tests.kubernetes.cluster import (
    AS_OPERATOR,
    NAMESPACE,
    PODS,
    RELEASE,
    SLIM,
    STRANGERS,
    find_pods,
    finish_pod,
    is_ready,
    kubectl,
    say,
    start_pod,
)
from tests.kubernetes.conftest import make_secret
from tests.kubernetes.manual import read_manual

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

SERVICES = (
    "ingest",
    "gateway",
    "curator",
    "drift-monitor",
    "deployer",
    "console",
    "evaluator",
    "trainer",
    "trainer-worker",
    "vllm",
)
PUBLIC = ("gateway:8002", "ingest:8001", "deployer:8004", "console:8000")
INTERNAL = ("curator:8003", "trainer:8008", "evaluator:8007", "vllm:8000", "vllm-replicas:8010")
STORE = "kafka.stores:9092"
CLOUD = "169.254.169.254:80"


def test_the_manual_names_every_secret_that_an_installation_needs():
    assert set(read_manual().secret) == set(make_secret())


def test_every_pod_is_ready_under_restricted_and_default_deny(release: dict[str, str]):
    states = {name: [is_ready(pod) for pod in find_pods(name)] for name in SERVICES}
    assert states == {name: [True] for name in SERVICES}
    assert set(release) == {"frontend", "ops", "admin"}
    restarts = {
        status["name"]: status["restartCount"]
        for name in SERVICES
        for pod in find_pods(name)
        for status in pod["status"]["containerStatuses"]
    }
    say(f"restarts: {restarts}")


def test_what_may_be_reached_is_reached_and_nothing_else(release: dict[str, str]):
    addresses = [f"{RELEASE}-{name.replace(':', f'.{NAMESPACE}:')}" for name in (*PUBLIC, *INTERNAL)]
    script = (PODS / "reach.py").read_text()
    callers = {"stranger": (STRANGERS, {}), "unlabelled": (NAMESPACE, {}), "ours": (NAMESPACE, AS_OPERATOR)}
    for name, (namespace, labels) in callers.items():
        start_pod(name, SLIM, script, "20", *addresses, STORE, CLOUD, namespace=namespace, labels=labels)
    reached = {name: json.loads(finish_pod(name, namespace=namespace)) for name, (namespace, _) in callers.items()}
    for address in (*addresses, STORE, CLOUD):
        say(f"{address:40}" + "".join(f"{name}: {reached[name][address]!s:8}" for name in callers))
    public, internal = addresses[: len(PUBLIC)], addresses[len(PUBLIC) :]
    strangers = {name: is_there for name, is_there in reached["stranger"].items() if name != CLOUD}
    assert strangers == dict.fromkeys([*public, STORE], True) | dict.fromkeys(internal, False)
    assert not any(reached["unlabelled"].values())
    assert reached["ours"] == dict.fromkeys([*addresses, STORE], True) | {CLOUD: False}


def test_a_service_reaches_its_stores_and_nothing_of_the_clouds_own(release: dict[str, str]):
    script = (PODS / "reach.py").read_text()
    for component in ("ingest", "curator", "trainer-worker", "evaluator"):
        told = kubectl("exec", f"deploy/{RELEASE}-{component}", "--", "python", "-c", script, "0", STORE, CLOUD)
        assert json.loads(told) == {STORE: True, CLOUD: False}, component
