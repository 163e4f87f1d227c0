"""An uninstallation keeps what holds data, and an installation goes on where it was."""

from pathlib import Path

import pytest

from tests.kubernetes.cluster import NAMESPACE, RELEASE, ask, find_pods, wait_for
from tests.kubernetes.conftest import read_keys
from tests.kubernetes.manual import read_manual, run_line

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]


def list_pairs(keys: dict[str, str]) -> set[str]:
    return {pair["pair_id"] for pair in ask("curator:8003", "/v1/pairs?limit=1000", keys["ops"])["pairs"]}


def make_pair(keys: dict[str, str]) -> None:
    """Chat once, and edit the answer."""
    question = {"role": "user", "content": "Where is my parcel?"}
    chat = {"model": "heliotrope", "user": "kept", "max_tokens": 20, "messages": [question]}
    (answer,) = ask("gateway:8002", "/v1/chat/completions", keys["frontend"], chat)["heliotrope"]["interaction_ids"]
    edit = {"type": "edit", "interaction_id": answer, "user_id": "kept", "text": "Choose Track in My Orders."}
    ask("ingest:8001", "/v1/feedback", keys["frontend"], edit)


def test_an_installation_goes_on_where_an_uninstallation_left(
    release: dict[str, str], workplace: Path, tools: dict[str, str]
):
    champion = ask("deployer:8004", "/v1/routing", release["ops"])["champion"]
    make_pair(release)
    pairs = wait_for(lambda: list_pairs(release), "a pair of the edit")
    run_line(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait --timeout 10m", workplace, tools)
    assert find_pods("gateway") == []
    assert read_keys() == release
    for line in read_manual().lines:
        if line.startswith(("helm install", "helm test")) or " wait " in line:
            run_line(line, workplace, tools)
    assert read_keys() == release
    assert ask("deployer:8004", "/v1/routing", release["ops"])["champion"] == champion
    assert pairs <= list_pairs(release)
