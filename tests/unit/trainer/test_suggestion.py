"""A recipe that is suggested for a dataset: which method, how long, and why."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from services.trainer.adapters.artifacts.recipe_files import load_recipe_file
from services.trainer.domain.planning.memory import ModelSize
from services.trainer.domain.planning.planner import GIB, Devices
from services.trainer.domain.planning.sizing import Sizes
from services.trainer.domain.planning.suggestion import (
    Holdings,
    Setting,
    draft_recipe,
    draft_settings,
    suggest_method,
    suggest_sizes,
)
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import InvalidRequest
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

ROOT = Path(__file__).parents[3]
QWEN_7B = ModelSize(
    parameters=7_600_000_000, layers=28, hidden=3584, intermediate=18944, key_value=512, vocabulary=152_064
)
EIGHT = Devices("gpu", 8, 80 * GIB, computes_in_bf16=True)


def make_holdings(**rows: int) -> Holdings:
    return Holdings(**{"pairs": 0, "validation_pairs": 0, "answers": 0, "liked": 0, "disliked": 0} | rows)


@pytest.mark.parametrize(
    ("rows", "method", "reason"),
    [
        ({"pairs": 500, "answers": 900, "liked": 900, "disliked": 900}, {"method": "dpo"}, "500 pairs say"),
        ({"pairs": 20}, {"method": "dpo"}, "fewer than 50"),
        ({"pairs": 20, "liked": 300, "disliked": 60}, {"method": "kto", "undesirable_weight": 5.0}, "only 20 pairs"),
        ({"liked": 60, "disliked": 90}, {"method": "kto", "desirable_weight": 1.5}, "60 liked and 90 disliked"),
        ({"pairs": 20, "answers": 30, "liked": 900}, {"method": "sft", "sft_rows": "both"}, "30 corrections"),
        ({"answers": 30}, {"method": "sft", "sft_rows": "sft"}, "30 corrections"),
    ],
)
def test_the_method_follows_from_what_the_dataset_holds(rows: dict[str, int], method: dict[str, Any], reason: str):
    chosen = suggest_method(make_holdings(**rows))
    assert method.items() <= chosen.fields.items()
    assert reason in chosen.reason


def test_what_is_no_matter_of_data_is_as_in_the_default_recipe():
    default = load_recipe_file(ROOT / "recipes" / "default.yaml")
    drafted = draft_recipe(draft_settings(suggest_method(make_holdings(pairs=500)), Devices("cpu", 1, GIB)))
    others = {"parallelism": default.parallelism, "name": default.name}
    assert msgspec.structs.replace(drafted, **others, save_steps=20, eval_steps=20) == default


def test_nothing_is_suggested_where_nothing_can_be_learned():
    with pytest.raises(InvalidRequest, match="nothing to learn"):
        suggest_method(make_holdings(liked=400))


def suggest(lengths: list[int], devices: Devices, *, context: int = 32_768) -> tuple[Recipe, list[Setting]]:
    holdings = make_holdings(pairs=len(lengths), validation_pairs=10)
    settings = draft_settings(suggest_method(holdings), devices)
    settings += suggest_sizes(settings, Sizes(lengths, QWEN_7B, devices, context), holdings)
    fields = {name: value for setting in settings for name, value in setting.fields.items()}
    return parse_recipe({"name": "suggested"} | fields), settings


def test_sizes_follow_from_lengths_and_memory_and_keep_a_steps_rows():
    recipe, settings = suggest([*range(100, 2_080), *[9_000] * 20], EIGHT)
    assert recipe.max_length == 2_080
    assert (recipe.passes, recipe.max_steps, recipe.precision) == (2, None, "bf16")
    assert recipe.batch_size * recipe.gradient_accumulation_steps * recipe.parallelism.processes == 8
    assert recipe.parallelism.strategy != "auto"
    reasons = "\n".join(setting.reason for setting in settings)
    assert "2080 tokens hold 99.0% of the rows" in reasons
    assert "2 passes over 2000 rows are 500 steps; at most 20 are lost" in reasons
    assert "fits" in reasons


def test_recomputing_activations_is_suggested_where_more_fits_with_it():
    short, _ = suggest([300] * 100, EIGHT)
    assert not short.activation_checkpointing
    long, settings = suggest([2_400] * 100, Devices("gpu", 1, 80 * GIB, computes_in_bf16=True))
    assert long.activation_checkpointing
    assert long.length == 2_400
    assert any("less of the rows would fit" in setting.reason for setting in settings)


def test_the_command_writes_a_recipe_that_reads_back_with_its_reasons(tmp_path: Path):
    dataset, base = save_dataset(tmp_path / "dataset", make_pairs(60)), save_tiny_model(tmp_path / "base")
    labels = [{"prompt": [], "completion": [], "label": index % 3 > 0} for index in range(9)]
    pq.write_table(pa.Table.from_pylist(labels), dataset / "labels.parquet")
    written = CliRunner().invoke(app, ["recipe", "suggest", str(dataset), "--base", str(base)])
    assert written.exit_code == 0, written.output
    recipe = parse_recipe(yaml.safe_load(written.stdout))
    assert (recipe.method, recipe.base, recipe.dataset) == ("dpo", str(base), str(dataset))
    assert (recipe.save_steps, recipe.eval_steps, recipe.length % 8) == (1, 1, 0)
    assert written.stdout.startswith(
        "# Suggested for a dataset of 60 pairs, 4 validation pairs, 0 answers to imitate, 9 labels."
    )
    assert "2 passes over 60 rows are 15 steps" in written.stdout
    unsized = CliRunner().invoke(app, ["recipe", "suggest", str(dataset), "--devices", "2"])
    assert parse_recipe(yaml.safe_load(unsized.stdout)).max_length is None
    assert CliRunner().invoke(app, ["recipe", "suggest", str(tmp_path)]).exit_code == 1


def test_a_draft_leaves_to_the_planner_what_it_does_not_know():
    draft = draft_recipe(draft_settings(Setting({"method": "sft"}, "a test"), EIGHT))
    assert (draft.parallelism.strategy, draft.max_length, draft.batch_size) == ("auto", None, 4)
