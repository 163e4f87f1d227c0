"""The card that lies beside a candidate's weights: what it is, from what, and how it was made."""

import json
from collections.abc import Mapping
from typing import Any

from services.trainer.domain.refusals import describe_refusals
from services.trainer.domain.training import TrainingResult


def render_model_card(
    recipe: Mapping[str, Any], trained: TrainingResult, lineage: Mapping[str, str], dataset: Mapping[str, Any] | None
) -> str:
    """Render Markdown. `dataset`: the frozen dataset's manifest, as far as it is there."""
    methods = [f"`{stage['method']}`" for stage in recipe.get("stages") or [recipe]]
    sections = [
        f"# {recipe['name']}",
        f"Made by {', then '.join(methods)}: {trained.summary} after {trained.steps} steps on {trained.pairs} examples "
        f"({_describe_refused(trained)}). Whether it may answer users is for its evaluation and an admin to say.",
        "## Lineage",
        "\n".join(f"- {name.replace('_', ' ')}: `{value}`" for name, value in lineage.items()),
    ]
    if dataset:
        sections += ["## Data", _render_block(dataset)]
    return "\n\n".join([*sections, "## Recipe", _render_block(recipe)]) + "\n"


def _describe_refused(trained: TrainingResult) -> str:
    reasons = describe_refusals(trained.refused_rows)
    return f"{trained.refused} refused" + (f": {reasons}" if reasons else "")


def _render_block(content: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)}\n```"
