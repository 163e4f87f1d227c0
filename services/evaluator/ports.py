"""What the evaluator needs of the world, for adapters to fulfil: a generator of answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from shared.conversation import Tool
from shared.errors import HeliotropeError
from shared.events import Message


class JobPrompt(msgspec.Struct, frozen=True):
    prompt_hash: str
    messages: list[Message]
    tools: list[Tool] = msgspec.field(default_factory=list)


class JobModel(msgspec.Struct, frozen=True):
    version: str
    checkpoint: str
    """Folder with weights and tokenizer."""


class GenerationJob(msgspec.Struct, frozen=True, kw_only=True):
    """Every model answers every prompt."""

    models: list[JobModel]
    prompts: list[JobPrompt]
    max_new_tokens: int
    batch_size: int
    dtype: Literal["bfloat16", "float32"]
    sampling: Literal["model", "greedy"]
    seed: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    done: int
    total: int
    version: str


class GenerationFailed(HeliotropeError):
    """A version could not answer; `version` is None when it is not known which."""

    title = "Generation failed"

    def __init__(self, detail: str, *, version: str | None = None) -> None:
        super().__init__(detail)
        self.version = version


Answers = dict[str, dict[str, str]]
"""By version, then by prompt hash; a prompt that its chat template refuses has no answer."""


@dataclass(frozen=True)
class Generated:
    """What the models said. What was not measured is None."""

    answers: Answers
    cut: dict[str, list[str]] | None = None
    """By version: the prompts whose answers the length limit cut."""
    divergences: dict[str, float] | None = None
    """By prompt: how much likelier the last model finds its own answer than the first one does, in nats a token."""


class AnswerGenerator(Protocol):
    def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
        """Answer every prompt with every model.

        Calls `heartbeat` every few seconds, with the progress if there is any; what it raises ends the generation.

        Raises:
            GenerationFailed: a model could not be loaded, or its process died.
        """
