"""`python -m local.development.chart_readme`: write the chart's README from its values, in the form of helm-docs.

What a comment that begins with `-- ` says stands beside its key, and for all that is below it.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parents[2] / "helm" / "heliotrope"
COMMENT = re.compile(r"^\s*# ?(.*)$")
TYPES = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "object"}
INTRODUCTION = """
How to install, upgrade and scale it: [operations](../../docs/operations.md#install-with-helm). `values-small.yaml` is
for one node of two cores and 8 GB; `ci/` has further sets of values, which the tests render.

## Values

| Key | Type | Default | Description |
|-----|------|---------|-------------|
"""


class Row(NamedTuple):
    key: str
    value: Any
    description: str


def list_rows(text: str) -> list[Row]:
    """List the values of a values.yaml: leaves, and objects that are described as a whole."""
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return sorted(_walk(root, (), text.splitlines()))


def _walk(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        described = _find_description(lines, key.start_mark.line) if key.start_mark.column == 2 * len(path) else ""
        here = (*path, str(key.value))
        if isinstance(value, yaml.MappingNode) and value.value and not described:
            yield from _walk(value, here, lines)
        else:
            content = yaml.safe_load(yaml.serialize(value))
            yield Row(".".join(part.replace(".", "\\.") for part in here), content, described)


def _find_description(lines: list[str], line: int) -> str:
    """Return what the comment right above a line says after its `-- `."""
    said: list[str] = []
    while line > 0 and (found := COMMENT.match(lines[line - 1])):
        said.insert(0, found[1])
        line -= 1
        if found[1].startswith("-- "):
            return " ".join(said).removeprefix("-- ")
    return ""


def write_readme(chart: Path) -> str:
    """Return the README of a chart."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    title = f"# {about['name']}\n\nVersion {about['version']}, for Kubernetes {about['kubeVersion']}. "
    rows = map(_write_row, list_rows((chart / "values.yaml").read_text()))
    return title + f"{about['description']}\n" + INTRODUCTION + "\n".join(rows) + "\n"


def _write_row(row: Row) -> str:
    described = row.description.replace("|", "\\|")
    return f"| {row.key} | {TYPES[type(row.value)]} | `{json.dumps(row.value)}` | {described} |"


if __name__ == "__main__":
    sys.stdout.write(write_readme(CHART))
