"""What a frozen dataset asked, read from its Parquet files."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import structlog

from shared.artifacts import Artifacts, ArtifactStoreUnavailable
from shared.conversation import derive_dialogue
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)


def load_training_questions(artifacts: Artifacts, uri: str) -> list[str]:
    """Return every distinct question in the dataset's splits, boilerplate stripped; none when it cannot be read.

    Raises:
        ArtifactStoreUnavailable: trying again may help.
    """
    try:
        folder = artifacts.fetch(uri, unlisted=True)
    except ArtifactStoreUnavailable:
        raise
    except HeliotropeError as error:
        logger.warning("dataset_unreadable", uri=uri, error=error.detail)
        return []
    questions = _read_questions(folder)
    artifacts.drop(folder)  # whoever is erased must not stay in a cache
    return questions


def _read_questions(folder: Path) -> list[str]:
    questions: set[str] = set()
    for file in sorted(folder.glob("*.parquet")):
        try:
            column = pyarrow.parquet.read_table(file, columns=["prompt"]).column("prompt").to_pylist()
        except (OSError, KeyError, pyarrow.ArrowInvalid) as error:
            logger.warning("dataset_unreadable", file=str(file), error=type(error).__name__)
            continue
        questions.update(_derive(prompt) for prompt in column)
    return sorted(questions)


def _derive(prompt: Any) -> str:
    """Return the text of a prompt: a list of chat messages, the same as JSON, or plain text."""
    if isinstance(prompt, list):
        return derive_dialogue(prompt)
    text = str(prompt)
    if text.startswith("["):
        try:
            return derive_dialogue(json.loads(text))
        except (json.JSONDecodeError, AttributeError):
            return text
    return text
