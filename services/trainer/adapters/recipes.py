"""Recipes on disk."""

from pathlib import Path

import yaml

from services.trainer.domain.recipe import Recipe, parse_recipe
from shared.errors import InvalidRequest, NotFound


def load_recipe(folder: Path, name: str) -> Recipe:
    """The recipe `<folder>/<name>.yaml`.

    Raises:
        NotFound: no such file; only plain names are looked up.
        InvalidRequest: the file is not YAML, or names the fields that are wrong.
    """
    path = folder / f"{name}.yaml"
    if not name.replace("_", "").replace("-", "").isalnum() or not path.is_file():
        raise NotFound(f"no recipe {name!r}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InvalidRequest(f"recipe {name!r} is not valid YAML: {error}") from error
    return parse_recipe(content)
