"""What may be written in a recipe: each field with what is allowed, its default, and why that is the default."""

import difflib
import re
import typing
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from services.trainer.domain.recipe.reasons import REASONS
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.recipe.sections import Part


@dataclass(frozen=True)
class Field:
    path: str
    allowed: str
    default: str
    """As YAML has it; empty for a required field."""
    reason: str


def list_fields(part: type[Part] = Recipe, prefix: str = "") -> list[Field]:
    """List every field of a recipe in the order of the declaration, those of groups by dotted path."""
    fields: list[Field] = []
    for field in msgspec.structs.fields(part):
        path = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, Part):
            fields += list_fields(field.type, f"{path}.")
        else:
            default = "" if field.required else msgspec.json.encode(field.default).decode()
            fields.append(Field(path, describe_type(field.type), default, REASONS[path]))
    return fields


def describe_type(kind: Any) -> str:
    """Describe what values a field takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        bounds = "".join(_describe_bounds(meta) for meta in arguments[1:])
        return describe_type(arguments[0]) + bounds
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if isinstance(kind, type) and issubclass(kind, Part):
        return "recipe"
    if origin in (typing.Union, UnionType):
        return " | ".join(describe_type(argument) for argument in arguments)
    if origin is tuple:
        return f"list of ({describe_type(arguments[0])})"
    if origin is dict:
        return f"a {describe_type(arguments[1])} by rule"
    return {bool: "true | false", int: "whole number", float: "number", str: "text", type(None): "null"}[kind]


def _describe_bounds(meta: Meta) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    words = [f" {sign} {getattr(meta, name)}" for name, sign in signs.items() if getattr(meta, name) is not None]
    return ",".join(words)


def explain_mistake(path: str, message: str) -> str:
    """Explain what to write in place of a mistake that `parse_recipe` found at this path."""
    path = re.sub(r"^stages\[\d+\]\.", "", path)
    fields = {field.path: field for field in list_fields()}
    if message == "unknown field":
        near = difflib.get_close_matches(path, fields, n=1)
        return f"did you mean {near[0]}?" if near else "leave it out"
    if message.startswith("not used"):
        return "leave it out"
    place = path.partition("[")[0]
    if place not in fields:
        inner = sorted({name.split(".")[1] for name in fields if name.startswith(f"{place}.")})
        return f"a group of: {', '.join(inner)}" if inner else "see docs/recipes.md"
    allowed = f"allowed: {fields[place].allowed}"
    if "number" in fields[place].allowed and "got `str`" in message:
        return f"{allowed}; YAML reads 2e-3 as text, write 2.0e-3"
    return allowed


def render_reference() -> str:
    """Render the page docs/recipes.md."""
    rows = [
        f"| `{field.path}` | {_escape(field.allowed)} | {f'`{field.default}`' if field.default else 'required'} "
        f"| {_escape(field.reason)} |"
        for field in list_fields()
    ]
    return "\n".join([INTRODUCTION, "| field | allowed | default | why |", "|---|---|---|---|", *rows, ""])


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


INTRODUCTION = """# Recipes

A recipe is a YAML file that describes a training run. `heliotrope recipe check FILE` explains every mistake in one,
`heliotrope recipe suggest DATASET` writes one for a dataset;
`heliotrope train FILE` runs one without the rest of the system (see [training](training.md)). This page is what
`heliotrope recipe reference` prints; a test keeps it so.
"""
