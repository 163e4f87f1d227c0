"""Parse a recipe from a mapping, and write it as one."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from services.trainer.domain.recipe.consistency import find_contradictions
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import Part
from shared.errors import FieldError, InvalidRequest


def parse_recipe(content: object, *, stored: bool = False) -> Recipe:
    """Parse the recipe in this mapping, with defaults filled in.

    Args:
        stored: it is a run's own, which some release has accepted: what that one did not refuse yet, passes.

    Raises:
        InvalidRequest: with one `FieldError` for each field that is wrong, unknown or missing.
    """
    if not isinstance(content, Mapping):
        raise InvalidRequest("a recipe is a mapping of settings", errors=[FieldError("recipe", "not a mapping")])
    content = dict(content)
    if isinstance(content.get("loss_type"), str):
        content["loss_type"] = [content["loss_type"]]
    content = _complete_ladder(content)
    errors = _find_errors(content)
    if not errors:
        recipe = msgspec.convert(content, Recipe)
        errors = find_contradictions(recipe, stored=stored)
        if not errors:
            return recipe
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    raise InvalidRequest(detail, errors=errors)


def _complete_ladder(content: dict[str, Any]) -> dict[str, Any]:
    """Write down a ladder's steps: they are its stages' steps, if each names its own."""
    stages = content.get("stages")
    if content.get("method") != "ladder" or not isinstance(stages, list | tuple):
        return content
    for_msgspec = [_with_loss_list(stage) for stage in stages]
    steps = [stage.get("max_steps") if isinstance(stage, Mapping) else None for stage in stages]
    known = [step for step in steps if isinstance(step, int)]
    total = {"max_steps": sum(known)} if known and len(known) == len(steps) else {}
    return total | content | {"stages": for_msgspec}


def _with_loss_list(stage: object) -> object:
    if isinstance(stage, Mapping) and isinstance(stage.get("loss_type"), str):
        return dict(stage) | {"loss_type": [stage["loss_type"]]}
    return stage


def _find_errors(content: Mapping[str, Any], part: type[Part] = Recipe, prefix: str = "") -> list[FieldError]:
    fields = {field.name: field for field in msgspec.structs.fields(part)}
    errors = [FieldError(f"{prefix}{name}", "unknown field") for name in content if name not in fields]
    for name, field in fields.items():
        if name in content:
            errors += _find_errors_of_field(content[name], field.type, prefix + name)
        elif field.required:
            errors.append(FieldError(prefix + name, "required"))
    return errors


def _find_errors_of_field(value: object, kind: Any, path: str) -> list[FieldError]:
    if isinstance(kind, type) and issubclass(kind, Part) and isinstance(value, Mapping):
        return _find_errors(value, kind, f"{path}.")
    if path == "stages" and isinstance(value, list | tuple) and all(isinstance(stage, Mapping) for stage in value):
        return [
            error for index, stage in enumerate(value) for error in _find_errors(stage, Recipe, f"{path}[{index}].")
        ]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [_locate(path, str(error))]
    return []


def _locate(name: str, message: str) -> FieldError:
    """Locate a mistake: msgspec ends its messages with ` - at `$.inner.path``."""
    words, _, path = message.partition(" - at `$")
    return FieldError(name + path.rstrip("`"), words)


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """Turn the recipe into JSON values, defaults included."""
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    return content


def calculate_recipe_sha256(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of the canonical content, defaults included: comments and order in the file do not
    count.
    """
    return hashlib.sha256(msgspec.json.encode(recipe, order="sorted")).hexdigest()
