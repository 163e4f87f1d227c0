"""The whole loop in the cluster: chat, feedback, training, judging, approval, canary, champion."""

import json
import re

import pytest

from local.credentials import name_rater
from local.demo.plan import PLANS
from tests.kubernetes.cluster import (
    AS_OPERATOR,
    PODS,
    RELEASE,
    SLIM,
    finish_pod,
    kubectl,
    say,
    start_pod,
    wait_for_rollout,
)

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3600)]

COMMANDS = f"deployment/{RELEASE}-commands"


def make_rater_keys() -> dict[str, str]:
    """A key for each of the plan's raters, made as the manual says; by credential."""
    raters = PLANS["tiny"].raters
    kubectl("scale", COMMANDS, "--replicas=1")
    wait_for_rollout(COMMANDS)
    create = f"for n in $(seq {raters}); do heliotrope keys create rater-$n --role rater; done"
    keys = re.findall(r"hk_[0-9a-f]{12}_\S{43}", kubectl("exec", COMMANDS, "--", "sh", "-c", create))
    kubectl("scale", COMMANDS, "--replicas=0")
    assert len(keys) == raters
    return {name_rater(number): key for number, key in enumerate(keys)}


def test_feedback_makes_a_champion(release: dict[str, str]):
    environment = {"RELEASE": RELEASE, "KEYS": json.dumps(release | make_rater_keys())}
    start_pod("turn", SLIM, (PODS / "turn.py").read_text(), labels=AS_OPERATOR, environment=environment)
    told = finish_pod("turn", minutes=40)
    say(told)
    turned = json.loads(told.strip().splitlines()[-1])
    assert turned["rollout"] == "champion"
    assert turned["after"] != turned["before"]
