"""Held-out pairs: right beside the champion, all and of like length."""

import numpy as np

from services.evaluator.domain.gates import assess_all
from services.evaluator.domain.pair_accuracy import HeldOutPair, assess_pair_accuracy
from services.evaluator.domain.policy import Policy
from services.evaluator.domain.report import JudgedPrompt
from services.evaluator.domain.rules import AnswerRule

RULE = AnswerRule(blocks="never")


def hold_out(right: int, wrong: int, *, each: int = 1, chosen: int = 10) -> list[HeldOutPair]:
    """Regions of pairs that are all right, or all wrong; the rejected answer has ten tokens."""
    margins = [1.0] * right + [-1.0] * wrong
    return [HeldOutPair(str(place), margin, chosen, 10) for place, margin in enumerate(margins) for _ in range(each)]


def test_who_favours_the_preferred_passes_who_favours_the_rejected_fails() -> None:
    assert [gate.verdict for gate in assess_pair_accuracy(hold_out(38, 2), RULE, RULE)] == ["pass", "pass"]
    assert [gate.verdict for gate in assess_pair_accuracy(hold_out(2, 38), RULE, RULE)] == ["fail", "fail"]
    assert [gate.verdict for gate in assess_pair_accuracy(hold_out(21, 19), RULE, RULE)] == ["inconclusive"] * 2


def test_a_champion_against_itself_is_a_half() -> None:
    [gate, _] = assess_pair_accuracy([HeldOutPair(str(n), 0.0, 10, 10) for n in range(40)], RULE, RULE)
    assert (gate.effect, gate.verdict) == (0.5, "inconclusive")


def test_a_taste_for_length_earns_nothing_among_answers_of_like_length() -> None:
    longer = [HeldOutPair(str(n), 1.0, 30, 10) for n in range(40)]
    alike = [HeldOutPair(f"like {n}", 1.0 if n % 2 else -1.0, 11, 10) for n in range(40)]
    everything, matched = assess_pair_accuracy([*longer, *alike], RULE, RULE)
    assert (everything.verdict, matched.verdict, matched.effect, matched.n) == ("pass", "inconclusive", 0.5, 40)


def test_many_pairs_of_few_regions_are_few_pieces_of_evidence() -> None:
    [gate, _] = assess_pair_accuracy(hold_out(5, 0, each=100), RULE, RULE)
    assert (gate.verdict, gate.n, gate.more_needed) == ("inconclusive", 5, 15)


def test_a_null_candidate_passes_as_rarely_as_promised_with_pairs_that_move_together() -> None:
    """2.5% are promised; at 2,000 rounds three standard errors are 1 point."""
    random, passed = np.random.default_rng(77), 0
    for _ in range(2_000):
        margins = random.choice([-1.0, 1.0], 30)
        pairs = [HeldOutPair(str(n), margin, 10, 10) for n, margin in enumerate(margins) for _ in range(3)]
        passed += assess_pair_accuracy(pairs, RULE, RULE)[0].verdict == "pass"
    assert passed / 2_000 <= 0.025 + 0.01


def test_the_gates_are_there_where_pairs_were_held_out() -> None:
    prompts = [JudgedPrompt("p", [], "yes", "no")]
    generation = {"held_out_pairs": [{"group": "cell", "margin": 1.0, "chosen_tokens": 10, "rejected_tokens": 12}] * 3}
    gates = {gate.name: gate for gate in assess_all("2", generation, prompts, [], Policy())}
    assert (gates["pair_accuracy"].n, gates["pair_accuracy"].blocks) == (1, False)
    assert "pair_accuracy_length_matched" in gates
    assert "pair_accuracy" not in {gate.name for gate in assess_all("2", {}, prompts, [], Policy())}
