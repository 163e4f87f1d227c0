from pathlib import Path

import pytest
import yaml

from services.trainer.domain.recipe.parsing import parse_recipe

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_named_like_its_file(path: Path) -> None:
    assert parse_recipe(yaml.safe_load(path.read_text())).name == path.stem
