"""A model card and the recipe beside a candidate's weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.trainer.domain.model_card import render_model_card
from services.trainer.domain.training import Job, TrainingResult

SUMMARY = ("counts", "rules", "label_rules", "left_out", "replay")
"""What a card says of the data, out of the dataset's manifest."""


def save_model_card(job: Job, recipe: Mapping[str, Any], trained: TrainingResult, lineage: Mapping[str, str]) -> None:
    """Leave `README.md` and `recipe.json` in the candidate's folder; the weights' hash does not depend on them."""
    manifest = job.dataset / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    summary = {name: content[name] for name in SUMMARY if name in content}
    (job.candidate / "README.md").write_text(render_model_card(recipe, trained, lineage, summary), encoding="utf-8")
    (job.candidate / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def copy_card(candidate: Path, folder: Path) -> Path:
    """Copy what people read of a candidate into the folder, without its weights; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "recipe.json", "MLmodel", "manifest.json"):
        shutil.copyfile(candidate / name, folder / name)
    return folder


def save_signature(candidate: Path) -> None:
    """Leave an `MLmodel` file: chat messages in, text out. It names no flavour, for model servers load the files."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    signature = ModelSignature(
        inputs=Schema([ColSpec(Array(message), "messages")]), outputs=Schema([ColSpec(DataType.string, "content")])
    )
    Model(artifact_path="model", signature=signature).save(candidate / "MLmodel")
