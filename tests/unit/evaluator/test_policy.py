"""The policy: what people may write, and what they are told of mistakes."""

from pathlib import Path

import pytest

from services.evaluator.adapters.policies import load_policy
from services.evaluator.domain.policy import Policy, calculate_policy_sha256, dump_policy, parse_policy, read_policy
from shared.errors import InvalidRequest


def test_without_a_file_every_gate_has_its_default_and_the_shipped_file_says_the_same(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "services" / "evaluator" / "policy.yaml"
    assert load_policy(shipped) == load_policy(None) == Policy()
    empty = tmp_path / "policy.yaml"
    empty.write_text("# nothing\n")
    assert load_policy(empty) == Policy()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"win_rate": {"raters": 2}}, "win_rate.raters: Expected `int` >= 3"),
        ({"win_rate": {"rater": 9}}, "win_rate: Object contains unknown field `rater`"),
        ({"size": {}}, "size: unknown gate; known are win_rate"),
        ({"refusals": {"margin": 1.5}}, "refusals.margin: Expected `float` <= 1.0"),
        ({"safety": {"blocks": "sometimes"}}, "safety.blocks: Invalid enum value 'sometimes'"),
        ({"safety": {"never_say": "this"}}, "safety.never_say: Expected `array`, got `str`"),
        (["win_rate"], "a policy is a mapping of gates"),
    ],
)
def test_a_mistake_names_its_field(content: object, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_policy(content)
    assert refused.value.detail.startswith(told)


@pytest.mark.parametrize("text", ["win_rate: [", "win_rate: {raters: 2}"])
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(InvalidRequest):
        load_policy(file)
    with pytest.raises(InvalidRequest, match="no policy can be read"):
        load_policy(tmp_path / "missing.yaml")


def test_the_hash_is_of_what_the_policy_says() -> None:
    stricter = parse_policy({"refusals": {"margin": 0.05}})
    assert calculate_policy_sha256(stricter) != calculate_policy_sha256(Policy())
    assert calculate_policy_sha256(parse_policy(dump_policy(stricter))) == calculate_policy_sha256(stricter)
    assert read_policy({"policy": dump_policy(stricter)}) == stricter
    assert read_policy({}) == Policy()
