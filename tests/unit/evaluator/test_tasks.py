"""What lm-eval says of each document, and the gate on it."""

from typing import Any

import pytest

from services.evaluator.adapters.task_harness import read_samples
from services.evaluator.domain.forgetting import assess_tasks
from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import JudgedPrompt, derive_verdict
from services.evaluator.domain.rules import TasksRule, apply_rule
from services.evaluator.ports import TasksFailed

RULE = TasksRule(blocks="failures", margin=0.15)


def sample(number: int, filtered_by: str = "none", **metrics: Any) -> dict[str, Any]:
    return {"doc_id": number, "filter": filtered_by, "metrics": list(metrics), **metrics}


def test_the_first_metric_that_is_yes_or_no_tells_and_of_filters_the_first() -> None:
    samples = [
        sample(0, bleu=0.4, acc=1.0),
        sample(1, bleu=0.0, acc=0.0),
        sample(0, "strict", bleu=0.4, acc=0.0),
        sample(1, "strict", bleu=0.4, acc=0.0),
    ]
    assert read_samples("t", samples, {"acc": True}) == {"task:t:0": True, "task:t:1": False}
    assert read_samples("t", samples, {"acc": False}) == {"task:t:0": False, "task:t:1": True}


@pytest.mark.parametrize("samples", [[], [sample(0, bleu=0.4)], [sample(0, said="yes")]], ids=["none", "share", "text"])
def test_a_task_that_tells_right_from_wrong_of_no_document_is_refused(samples: list[dict[str, Any]]) -> None:
    with pytest.raises(TasksFailed, match="no metric"):
        read_samples("t", samples, {})


def solve(lost: int, kept: int) -> dict[str, Any]:
    return {"solved": {f"task:t:{n}": [n >= lost, True] for n in range(lost + kept)}}


def test_a_lost_task_fails_a_kept_one_passes_and_a_few_documents_do_not() -> None:
    assert assess_tasks(solve(10, 90), RULE).verdict == "fail"
    assert assess_tasks(solve(0, 100), RULE).verdict == "pass"
    assert assess_tasks(solve(0, 5), RULE).verdict == "inconclusive"


def test_tasks_that_were_asked_for_and_broke_down_block_whatever_the_policy_says() -> None:
    gate = assess_tasks({"failure": "the candidate: bad.yaml: no mapping"}, RULE)
    assert (gate.name, gate.verdict, gate.cause) == ("tasks", "inconclusive", "error")
    assert "bad.yaml" in gate.summary
    blocking = apply_rule(gate, TasksRule(blocks="never"))
    assert blocking.blocks
    assert derive_verdict([blocking]) == "inconclusive"
    assert not apply_rule(assess_tasks(solve(0, 5), RULE), RULE).blocks


def test_the_gate_is_there_where_tasks_were_run() -> None:
    generation = {"suite": None, "tasks": {"failure": "x"}}
    prompts = [JudgedPrompt("p", [], "yes", "no")]
    names = [gate.name for gate in assess_all("2", generation, prompts, [], Policy())]
    assert "tasks" in names
    assert "tasks" not in [gate.name for gate in assess_all("2", {}, prompts, [], Policy())]
