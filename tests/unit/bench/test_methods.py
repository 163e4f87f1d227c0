"""The bench of all methods, from one end to the other with a tiny model and one step each."""

import json
from pathlib import Path

import pytest

from bench.methods.run import RECIPES, run
from recipes.command import Options, Progress
from recipes.freezing import read_lines
from recipes.safety_rlhf.make_data import DATA
from tests.unit.trainer.tiny_model import save_tiny_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    pairs = read_lines(DATA / "train.jsonl")
    texts = [turn["content"] for row in pairs for turn in row["prompt"]]
    texts += [row[side] for row in pairs for side in ("chosen", "rejected")]
    base = save_tiny_model(tmp_path / "base", texts=texts, vocab_size=4000)
    return Options(base=base, output=tmp_path / "run", keep=False, steps=1, questions=6)


def test_every_method_is_trained_and_judged_before_and_after(options: Options) -> None:
    result = json.loads(run(options, list(RECIPES), Progress()).read_text(encoding="utf-8"))
    goals = {goal["name"].partition(":")[0] for goal in result["goals"]}
    assert goals == RECIPES.keys() == {"sft", "dpo", "kto", "reward", "rloo", "grpo", "ppo"}
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["harmful, before"]["runs"] == 6
    assert all(f"{method}: harmful, after" in rows for method in goals - {"reward"})
    ranked = [rows[f"reward: held-out pairs ranked right, {when}"]["median"] for when in ("before", "after")]
    assert all(0 <= share <= 100 for share in ranked)


@pytest.mark.parametrize(
    ("methods", "message"), [(["dpo", "orpo"], "no such method: orpo"), (["ppo"], "need reward, too")]
)
def test_methods_that_cannot_be_run_are_named(options: Options, methods: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(options, methods, Progress())
