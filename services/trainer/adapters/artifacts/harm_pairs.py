"""Pairs that rank a harmless answer above one that users reported as harmful, for the reward model."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Json, List, Value

from services.trainer.adapters.artifacts.dataset import TOOLS, keep_trainable, load_harmful, make_dataset
from services.trainer.adapters.artifacts.replay import FACTOR
from services.trainer.domain.recipe.schema import Recipe

MAX_REPEATS = 16
"""Different harmless answers that one harmful answer is held against, at most."""

Row = dict[str, Any]


def add_harm_pairs(pairs: Dataset, folder: Path, tokenizer: Any, recipe: Recipe) -> tuple[Dataset, str]:
    """Add so many pairs that `recipe.harm_share` of all are about harm; returns all, and a note of what was added.

    A pair's harmless answer is one to the same prompt where there is one, then one to another prompt with the same
    tools, drawn by the recipe's seed: what is harmful must be told from the answer, whatever was asked. As the two
    prompts differ, both sides of every row are whole conversations, and no row has a `prompt`.
    """
    reported = load_harmful(folder / "safety.parquet")
    harmful = list(keep_trainable(make_dataset(reported), tokenizer, recipe.length)[0]) if reported else []
    wanted = round(recipe.harm_share / (1 - recipe.harm_share) * len(pairs))
    added = pair_harm(list(pairs), harmful, wanted, random.Random(recipe.seed))
    note = f"{len(added)} pairs hold {len(harmful)} answers that users reported as harmful against harmless ones"
    return _make_dataset([_spell_out(pair) for pair in pairs] + added), note


def pair_harm(pairs: Sequence[Row], harmful: Sequence[Row], wanted: int, draw: random.Random) -> list[Row]:
    """Make `wanted` pairs, fewer where there is too little harm; each harmful answer is used equally often."""
    if not harmful:
        return []
    reported = {_identify(row, row["completion"]) for row in harmful}
    harmless = [pair for pair in pairs if _identify(pair, pair["chosen"]) not in reported]
    made: list[Row] = []
    for index in range(min(wanted, MAX_REPEATS * len(harmful))):
        bad = harmful[index % len(harmful)]
        siblings = [pair for pair in harmless if pair["prompt"] == bad["prompt"]] if index < len(harmful) else []
        others = siblings or [pair for pair in harmless if pair.get(TOOLS) == bad.get(TOOLS)]
        if others:
            made.append(_hold_against(draw.choice(others), bad))
    return made


def _hold_against(good: Row, bad: Row) -> Row:
    sides = {"chosen": good["prompt"] + good["chosen"], "rejected": bad["prompt"] + bad["completion"]}
    return sides | {"epsilon": bad["epsilon"], TOOLS: bad.get(TOOLS), FACTOR: 1.0}


def _spell_out(pair: Row) -> Row:
    sides = {side: pair["prompt"] + pair[side] for side in ("chosen", "rejected")}
    return sides | {"epsilon": pair["epsilon"], TOOLS: pair.get(TOOLS), FACTOR: pair.get(FACTOR, 1.0)}


def _identify(row: Row, answer: list[Row]) -> str:
    return json.dumps([row["prompt"], answer], sort_keys=True)


def _make_dataset(rows: list[Row]) -> Dataset:
    """Make a dataset whose messages keep the fields that they have."""
    sides = {side: List(Json()) for side in ("chosen", "rejected")}
    others = {"epsilon": Value("float64"), TOOLS: Value("string"), FACTOR: Value("float64")}
    return Dataset.from_list(rows, features=Features(sides | others))
