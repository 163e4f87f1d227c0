"""Which gates an evaluation has."""

from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import derive_verdict


def test_a_movement_that_training_could_not_hold_against_its_ceiling_is_inconclusive() -> None:
    reason = "drift.max_parent_kl could not be checked: out of memory"
    assert "kl" not in {gate.name for gate in assess_all("2", {}, [], [], Policy())}
    [gate] = [gate for gate in assess_all("2", {}, [], [], Policy(), reason) if gate.name == "kl"]
    assert gate.verdict == derive_verdict([gate]) == "inconclusive"
    assert gate.summary == f"cause: error; {reason}"
