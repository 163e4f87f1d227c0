"""Recipes: what is accepted, and how mistakes are explained."""

from pathlib import Path
from typing import Any

import pytest

from services.trainer.adapters.artifacts.recipe_files import load_recipe
from services.trainer.domain.recipe.parsing import calculate_recipe_sha256, dump_recipe, parse_recipe
from shared.errors import InvalidRequest, NotFound

MINIMAL = {"name": "support_bot", "method": "dpo", "max_steps": 40}
RECIPES = Path(__file__).parents[3] / "recipes"


def find_mistakes(content: object) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_recipe(content)
    return {error.field: error.message for error in caught.value.errors}


def test_a_recipe_needs_a_name_and_a_method():
    assert parse_recipe(MINIMAL).max_steps == 40
    assert find_mistakes({}) == dict.fromkeys(["name", "method"], "required")


def test_every_mistake_is_named_with_its_field():
    mistakes = find_mistakes(MINIMAL | {"max_steps": "forty", "lora": {"r": 0}, "learning_rat": 1e-4})
    assert set(mistakes) == {"max_steps", "lora.r", "learning_rat"}
    assert mistakes["learning_rat"] == "unknown field"
    assert mistakes["max_steps"] == "Expected `int | null`, got `str`"


def test_an_unknown_method_is_refused():
    assert "method" in find_mistakes(MINIMAL | {"method": "magic"})


def test_something_else_than_a_mapping_is_refused():
    assert find_mistakes(["dpo"]) == {"recipe": "not a mapping"}


def test_one_loss_may_be_written_without_a_list():
    assert parse_recipe(MINIMAL | {"loss_type": "ipo"}).weighted_losses == [("ipo", 1.0)]


def test_each_loss_has_its_weight():
    recipe = parse_recipe(MINIMAL | {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]})
    assert recipe.weighted_losses == [("sigmoid", 1.0), ("sft", 0.1)]
    assert set(find_mistakes(MINIMAL | {"loss_weights": [1.0, 0.1]})) == {"loss_weights"}


def test_what_the_method_does_not_use_is_a_mistake():
    mistakes = find_mistakes(MINIMAL | {"method": "sft", "loss_type": "ipo", "desirable_weight": 2.0})
    assert mistakes == {
        "loss_type": "not used by the method sft, only by dpo",
        "desirable_weight": "not used by the method sft, only by kto",
    }
    assert find_mistakes(MINIMAL | {"tuning": "full", "lora": {"r": 4}}) == {"lora": "not used when tuning is full"}


def test_precision_clipping_and_dropout_are_refused_where_trl_ignores_them():
    ppo = MINIMAL | {"method": "ppo", "reward_model": "r", "precision": "bf16", "max_grad_norm": 0.5}
    assert set(find_mistakes(ppo)) == {"precision", "max_grad_norm"}
    for method in ("dpo", "kto", "reward"):
        mistakes = find_mistakes(MINIMAL | {"method": method, "lora": {"dropout": 0.1}})
        assert mistakes == {"lora.dropout": f"not used by the method {method}, only by sft, rloo, grpo"}
    assert parse_recipe(MINIMAL | {"method": "sft", "lora": {"dropout": 0.1}}).lora.dropout == 0.1


@pytest.mark.parametrize(
    ("method", "settings", "field"),
    [
        ("ppo", {"logging_steps": 10}, "logging_steps"),
        ("ppo", {"guards": {"max_gradient_norm": 10.0}}, "guards.max_gradient_norm"),
        ("ppo", {"guards": {"min_reward_spread": 0.1}}, "guards.min_reward_spread"),
        ("dpo", {"guards": {"max_kl": 0.5}}, "guards.max_kl"),
        ("reward", {"guards": {"max_margin": 5.0}}, "guards.max_margin"),
        ("sft", {"guards": {"min_entropy_share": 0.5}}, "guards.min_entropy_share"),
        ("rloo", {"guards": {"eval_patience": 2}}, "guards.eval_patience"),
    ],
)
def test_a_guard_that_the_method_logs_nothing_for_is_a_mistake(method: str, settings: dict[str, Any], field: str):
    reward = {"reward_model": "r"} if method in ("ppo", "rloo") else {}
    mistakes = find_mistakes(MINIMAL | reward | {"method": method} | settings)
    assert set(mistakes) == {field}
    assert mistakes[field].startswith(f"not used by the method {method}, only by ")


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "ppo", "reward_model": "r", "logging_steps": 10},
        {"method": "dpo", "guards": {"max_kl": 0.5}},
        {"method": "sft", "guards": {"max_margin": 5.0}},
    ],
    ids=["ppo", "dpo", "sft"],
)
def test_a_stored_recipe_may_hold_what_was_accepted_before(settings: dict[str, Any]):
    recipe = parse_recipe(MINIMAL | settings, stored=True)
    assert parse_recipe(dump_recipe(recipe), stored=True) == recipe
    assert parse_recipe(LADDER | {"stages": [MINIMAL | settings, MINIMAL]}, stored=True).method == "ladder"
    with pytest.raises(InvalidRequest, match="beta"):
        parse_recipe(MINIMAL | settings | {"method": "sft", "beta": 0.5}, stored=True)


def test_a_ceiling_on_movement_needs_something_to_measure_on():
    drift = {"drift": {"examples": 0, "max_parent_kl": 1.0}}
    assert set(find_mistakes(MINIMAL | drift)) == set(find_mistakes(LADDER | drift)) == {"drift.examples"}
    assert parse_recipe(MINIMAL | {"drift": {"examples": 0}}).drift.ceilings == {}


def test_kto_needs_batches_to_compare_in():
    assert "at least 2" in find_mistakes(MINIMAL | {"method": "kto", "batch_size": 1})["batch_size"]


def test_a_sampling_method_needs_a_reward_model_and_whole_groups():
    mistakes = find_mistakes(MINIMAL | {"method": "rloo", "batch_size": 6, "max_length": 64, "target_kl": 6.0})
    assert mistakes == {
        "reward_model": "required by the method rloo (or a reward_function)",
        "sampling.max_new_tokens": "leaves no room for a prompt in 64 tokens",
        "sampling.answers_per_prompt": "a step's 6 answers are no multiple of the 4 for each prompt",
        "target_kl": "not used by the method rloo, only by ppo",
    }
    ppo = MINIMAL | {"method": "ppo", "reward_model": "r", "sampling": {"answers_per_prompt": 8}}
    assert set(find_mistakes(ppo)) == {"sampling.answers_per_prompt"}


def test_a_run_climbs_a_reward_model_or_a_function_and_not_both():
    named = MINIMAL | {"method": "grpo", "reward_function": "my-rewards:brevity"}
    assert parse_recipe(named).reward_function == "my-rewards:brevity"
    assert set(find_mistakes(named | {"reward_model": "r"})) == {"reward_function"}
    assert set(find_mistakes(named | {"method": "ppo", "reward_model": "r"})) == {"reward_function"}
    assert set(find_mistakes(named | {"reward_function": "import os; os.system('id')"})) == {"reward_function"}
    assert set(find_mistakes(named | {"method": "rloo", "grpo": {"loss": "dapo"}})) == {"grpo"}


LADDER = {
    "name": "all_the_way",
    "method": "ladder",
    "stages": [
        {"name": "imitate", "method": "sft", "max_steps": 10},
        {"name": "judge", "method": "reward", "max_steps": 5},
        {"name": "climb", "method": "rloo", "max_steps": 3},
    ],
}


def test_a_ladders_steps_are_those_of_its_stages_and_it_reads_back():
    recipe = parse_recipe(LADDER)
    assert recipe.max_steps == 18
    assert [stage.method for stage in recipe.stages] == ["sft", "reward", "rloo"]
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_mistakes_in_a_ladder_are_named_with_their_stage():
    climb = {"name": "climb", "method": "rloo", "max_steps": 3}
    mistakes = find_mistakes(LADDER | {"stages": [climb, {"name": "judge", "method": "reward", "max_steps": 1}]})
    assert mistakes == {
        "stages": "the last stage must train a chat model",
        "stages[0].reward_model": "required by the method rloo (or a reward_function)",
    }
    typing = find_mistakes(LADDER | {"stages": [climb | {"lora": {"r": "four"}, "seeed": 1}]})
    assert set(typing) == {"stages[0].lora.r", "stages[0].seeed"}
    assert set(find_mistakes(LADDER | {"beta": 0.2, "max_steps": 4})) == {"beta", "max_steps"}
    assert set(find_mistakes(LADDER | {"stages": [climb | {"dataset": "d", "reward_model": "r"}]})) == {
        "stages[0].dataset"
    }
    assert set(find_mistakes(LADDER | {"stages": [LADDER | {"max_steps": 18}]})) == {"stages[0].method"}
    assert set(find_mistakes(LADDER | {"stages": []})) == {"stages"}
    assert set(find_mistakes(LADDER | {"stages": ["sft"]})) == {"stages[0]"}


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "reward"])
def test_every_methods_stored_recipe_reads_back(method: str):
    recipe = parse_recipe(MINIMAL | {"method": method})
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_a_stored_recipe_reads_back_as_the_same():
    recipe = parse_recipe(MINIMAL | {"lora": {"target_modules": ["q_proj"]}})
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_the_hash_follows_from_the_content_alone():
    spelled_out = dict(reversed(list(dump_recipe(parse_recipe(MINIMAL)).items())))
    assert calculate_recipe_sha256(parse_recipe(spelled_out)) == calculate_recipe_sha256(parse_recipe(MINIMAL))
    assert calculate_recipe_sha256(parse_recipe(MINIMAL | {"seed": 1})) != calculate_recipe_sha256(
        parse_recipe(MINIMAL)
    )


def test_a_recipe_is_found_by_its_plain_name_only(tmp_path: Path):
    (tmp_path / "short.yaml").write_text("name: short\nmethod: dpo\nmax_steps: 3\n")
    assert load_recipe(tmp_path, "short").max_steps == 3
    for name in ("../short", "missing", ""):
        with pytest.raises(NotFound):
            load_recipe(tmp_path, name)


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path):
    (tmp_path / "broken.yaml").write_text("name: [unclosed")
    with pytest.raises(InvalidRequest, match="not valid YAML"):
        load_recipe(tmp_path, "broken")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_that_we_ship_are_valid(path: Path):
    assert load_recipe(RECIPES, path.stem).name == path.stem


@pytest.mark.parametrize("method", ["dpo", "ppo"])
def test_a_recipe_that_was_stored_when_fp32_was_the_default_reads_back(method: str):
    reward = {"reward_model": "r"} if method == "ppo" else {}
    assert parse_recipe(MINIMAL | reward | {"method": method, "precision": "fp32"}).precision == "fp32"
    assert parse_recipe(LADDER | {"precision": "fp32"}).method == "ladder"
