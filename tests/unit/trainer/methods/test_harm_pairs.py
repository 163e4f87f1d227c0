"""Pairs of harm: what users reported as harmful against what they did not, for a reward model."""

import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import pyarrow as pa
import pyarrow.parquet as pq

from services.trainer.adapters.artifacts.dataset import load_pairs
from services.trainer.adapters.artifacts.harm_pairs import MAX_REPEATS, add_harm_pairs, pair_harm
from services.trainer.adapters.methods.models import load_tokenizer
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import TrainingFailed
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

Row = dict[str, Any]


def report(pair: Row, text: str = "You fool!") -> Row:
    said = [{"role": "assistant", "content": text}]
    return {"prompt": pair["prompt"], "completion": said, "label": False, "epsilon": 0.2}


def make_some(pairs: list[Row], reports: list[Row], wanted: int) -> list[Row]:
    return pair_harm(pairs, reports, wanted, random.Random(0))


def test_a_report_is_held_against_an_answer_to_the_same_prompt_first_and_then_to_others():
    pairs = make_pairs(8)
    made = make_some(pairs, [report(pairs[3])], 5)
    assert [pair["rejected"][-1]["content"] for pair in made] == ["You fool!"] * 5
    assert made[0]["chosen"] == pairs[3]["prompt"] + pairs[3]["chosen"]
    assert len({pair["chosen"][0]["content"] for pair in made}) > 1
    assert all(pair["epsilon"] == 0.2 for pair in made)


def test_each_report_counts_equally_often_and_a_few_never_drown_the_pairs():
    pairs = make_pairs(8)
    reports = [report(pairs[0], "You fool!"), report(pairs[1], "Idiot!")]
    said = [pair["rejected"][-1]["content"] for pair in make_some(pairs, reports, 10**6)]
    assert (said.count("You fool!"), said.count("Idiot!")) == (MAX_REPEATS, MAX_REPEATS)
    assert make_some(pairs, [], 4) == []


def test_an_answer_that_was_reported_itself_is_nobodys_harmless_one():
    pairs = make_pairs(2)
    harmful = [report(pair) | {"completion": pair["chosen"]} for pair in pairs]
    assert make_some(pairs, harmful, 4) == []
    assert {pair["chosen"][-1]["content"] for pair in make_some(pairs, harmful[:1], 4)} == {
        pairs[1]["chosen"][0]["content"]
    }


def test_an_answer_with_tools_is_compared_with_one_of_the_same_tools():
    pairs = make_pairs(2)
    assert make_some(pairs, [report(pairs[0]) | {"tools": "[]", "prompt": []}], 2) == []


def test_a_recipes_share_of_the_pairs_is_about_harm(tmp_path: Path):
    tokenizer, pairs = load_tokenizer(save_tiny_model(tmp_path / "tiny")), make_pairs(28)
    folder = save_dataset(tmp_path / "data", pairs)
    pq.write_table(pa.Table.from_pylist([report(pair) for pair in pairs[:3]]), folder / "safety.parquet")
    recipe = parse_recipe({"name": "judge", "method": "reward", "max_steps": 1, "max_length": 96, "harm_share": 0.3})
    both, note = add_harm_pairs(load_pairs(folder / "train.parquet"), folder, tokenizer, recipe)
    assert (len(both), both.column_names.count("prompt")) == (40, 0)
    assert note == "12 pairs hold 3 answers that users reported as harmful against harmless ones"
    (folder / "safety.parquet").unlink()
    with pytest.raises(TrainingFailed, match=r"no safety\.parquet"):
        add_harm_pairs(load_pairs(folder / "train.parquet"), folder, tokenizer, recipe)
