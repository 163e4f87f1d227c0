"""What a candidate has to pass: which gates block, which only warn, and their thresholds."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from services.evaluator.domain.rules import (
    AnswerRule,
    CeilingRule,
    ContaminationRule,
    ExpenseRule,
    ForgettingRule,
    JudgeRule,
    MarginRule,
    RatioRule,
    Rule,
    SafetyRule,
    TasksRule,
)
from services.evaluator.domain.votes.win_rate import VotingPlan
from shared.errors import FieldError, InvalidRequest


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gates by name; what is left out has its default."""

    win_rate: VotingPlan = VotingPlan()
    length_controlled_win_rate: Rule = Rule(blocks="never")
    judged_win_rate: JudgeRule = JudgeRule(blocks="never")
    combined_win_rate: AnswerRule = AnswerRule(blocks="never")
    contamination: ContaminationRule = ContaminationRule()
    length: RatioRule = RatioRule()
    empty_answers: MarginRule = MarginRule(margin=0.13)
    repetition: MarginRule = MarginRule(margin=0.13)
    refusals: MarginRule = MarginRule(margin=0.13)
    judge_talk: MarginRule = MarginRule(blocks="failures")
    language_switch: MarginRule = MarginRule(blocks="failures")
    cut_answers: MarginRule = MarginRule(blocks="failures")
    diversity: MarginRule = MarginRule(blocks="failures", margin=0.75)
    safety: SafetyRule = SafetyRule()
    forgetting: ForgettingRule = ForgettingRule(blocks="failures", margin=0.15)
    pair_accuracy: AnswerRule = AnswerRule(blocks="never")
    pair_accuracy_length_matched: AnswerRule = AnswerRule(blocks="never")
    tasks: TasksRule = TasksRule(blocks="failures", margin=0.15)
    cost: ExpenseRule = ExpenseRule(blocks="never")
    latency: ExpenseRule = ExpenseRule(blocks="never")
    kl_to_champion: CeilingRule = CeilingRule(blocks="never", mean=1.0, p95=3.0)


def parse_policy(content: object) -> Policy:
    """Parse the policy in this mapping, with defaults filled in.

    Raises:
        InvalidRequest: with one `FieldError` for each gate that is wrong or unknown.
    """
    if not isinstance(content, Mapping):
        raise InvalidRequest("a policy is a mapping of gates", errors=[FieldError("policy", "not a mapping")])
    errors = [error for name, value in content.items() if (error := _find_error(str(name), value)) is not None]
    if errors:
        raise InvalidRequest("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)
    return msgspec.convert(dict(content), Policy)


def _find_error(name: str, value: object) -> FieldError | None:
    kinds = {field.name: field.type for field in msgspec.structs.fields(Policy)}
    if name not in kinds:
        return FieldError(name, f"unknown gate; known are {', '.join(kinds)}")
    try:
        msgspec.convert(value, kinds[name])
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        return FieldError(name + path.rstrip("`"), words)
    return None


def dump_policy(policy: Policy) -> dict[str, Any]:
    """Turn the policy into JSON values, defaults included."""
    content: dict[str, Any] = msgspec.to_builtins(policy)
    return content


def read_policy(generation: Mapping[str, Any]) -> Policy:
    """Return the policy that an evaluation was opened with, at the level that was left for it."""
    policy = msgspec.convert(generation.get("policy") or {}, Policy)
    left = (generation.get("error_budget") or {}).get("next_level")
    if left is None:
        return policy
    win_rate = msgspec.structs.replace(policy.win_rate, level=min(policy.win_rate.level, left))
    return msgspec.structs.replace(policy, win_rate=win_rate)


def calculate_policy_sha256(policy: Policy) -> str:
    """Return the SHA-256 (hex) of the canonical content, defaults included."""
    return hashlib.sha256(msgspec.json.encode(policy, order="sorted")).hexdigest()
