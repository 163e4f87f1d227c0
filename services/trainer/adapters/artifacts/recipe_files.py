"""Recipes on disk."""

from collections.abc import Set
from pathlib import Path

import yaml

from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.reward_functions import check_listed
from services.trainer.domain.recipe.schema import Recipe
from shared.errors import InvalidRequest, NotFound


def load_recipe(folder: Path, name: str, *, reward_functions: Set[str] = frozenset()) -> Recipe:
    """Load the recipe `<folder>/<name>.yaml`. `reward_functions`: those that it may name.

    Raises:
        NotFound: no such file; only plain names are looked up.
        InvalidRequest: the file is not YAML, or names the fields that are wrong.
    """
    path = folder / f"{name}.yaml"
    if not name.replace("_", "").replace("-", "").isalnum() or not path.is_file():
        raise NotFound(f"no recipe {name!r}")
    recipe = load_recipe_file(path)
    check_listed(recipe, reward_functions)
    return recipe


def load_recipe_file(path: Path, *, stored: bool = False) -> Recipe:
    """Load the recipe in this file. `stored`: as of `parse_recipe`.

    Raises:
        NotFound: no such file.
        InvalidRequest: the file is not YAML in UTF-8, or names the fields that are wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"recipe {str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"recipe {path.stem!r} is not valid YAML: {error}") from error
    return parse_recipe(content, stored=stored)
