"""The card beside a candidate's weights."""

from services.trainer.domain.model_card import render_model_card
from services.trainer.domain.recipe.parsing import dump_recipe, parse_recipe
from services.trainer.domain.training import TrainingResult

TRAINED = TrainingResult(4, "w" * 64, "all steps taken", 60, 2, {"no_room": 2})


def test_a_card_says_how_it_was_made_and_from_what():
    recipe = dump_recipe(parse_recipe({"name": "mine", "method": "kto", "max_steps": 4}))
    card = render_model_card(recipe, TRAINED, {"dataset_sha256": "d" * 64}, {"counts": {"labels": 60}})
    assert (
        "Made by `kto`: all steps taken after 4 steps on 60 examples (2 refused: 2 leave no room for an answer)."
        in card
    )
    assert f"- dataset sha256: `{'d' * 64}`" in card
    assert '"labels": 60' in card
    assert '"method": "kto"' in card


def test_a_ladders_card_names_its_stages_methods():
    stages = [{"name": method, "method": method, "max_steps": 2} for method in ("sft", "dpo")]
    recipe = dump_recipe(parse_recipe({"name": "mine", "method": "ladder", "stages": stages}))
    card = render_model_card(recipe, TRAINED, {}, None)
    assert "Made by `sft`, then `dpo`: all steps" in card
    assert "## Data" not in card
