"""What the evaluator needs of the world, for adapters to fulfil: a generator of answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from services.evaluator.domain.pair_accuracy import HeldOutPair
from shared.conversation import Tool
from shared.errors import HeliotropeError
from shared.events import Message


class JobPrompt(msgspec.Struct, frozen=True):
    prompt_hash: str
    messages: list[Message]
    tools: list[Tool] = msgspec.field(default_factory=list)


class JobPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two answers of which users preferred one."""

    pair_id: str
    group: str
    """Its region of prompts."""
    prompt: JobPrompt
    chosen: str
    rejected: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One model's answer to one prompt, as it is kept."""

    text: str | None
    """None: the model's chat template refuses the prompt."""
    tokens: list[int] = []
    """Up to its end; empty where only a server knows them."""
    token_count: int | None = None
    """What was paid for, thoughts included."""
    is_cut: bool = False
    """It did not end by itself: a length limit or a filter cut it."""
    seconds: float | None = None
    """From the request to the whole answer, where it was asked for by itself."""


class JobModel(msgspec.Struct, frozen=True):
    version: str
    checkpoint: str
    """Folder with weights and tokenizer."""
    replies: dict[str, Reply] = {}
    """By prompt hash: what is known already and is not generated again."""


class GenerationJob(msgspec.Struct, frozen=True, kw_only=True):
    """Every model answers every prompt."""

    models: list[JobModel]
    prompts: list[JobPrompt]
    max_new_tokens: int
    batch_size: int
    dtype: Literal["bfloat16", "float32"]
    sampling: Literal["model", "greedy"]
    seed: int
    pairs: list[JobPair] = []
    """Looked at by the first model and the last, where there are two."""


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
    token_counts: dict[str, dict[str, int]] | None = None
    """By version and prompt: tokens of the answer, thoughts included."""
    seconds: dict[str, dict[str, float]] | None = None
    """By version and prompt: how long the answer took, where each was asked for by itself."""
    pairs: dict[str, HeldOutPair] | None = None
    """By pair: what the last model's margin has more than the first one's, and the last one's tokens."""


Replies = dict[str, dict[str, Reply]]
"""By version, then by prompt hash."""


def summarise(
    replies: Replies, divergences: dict[str, float] | None = None, pairs: dict[str, HeldOutPair] | None = None
) -> Generated:
    """Summarise replies as what is measured of them."""
    said = {
        version: {key: each for key, each in own.items() if each.text is not None} for version, own in replies.items()
    }
    return Generated(
        {version: {key: each.text or "" for key, each in own.items()} for version, own in said.items()},
        {version: [key for key, each in own.items() if each.is_cut] for version, own in said.items()},
        divergences,
        {
            version: {key: each.token_count for key, each in own.items() if each.token_count is not None}
            for version, own in said.items()
        },
        {
            version: {key: each.seconds for key, each in own.items() if each.seconds is not None}
            for version, own in said.items()
        },
        pairs,
    )


Keep = Callable[[str, dict[str, Reply]], None]
"""Takes a version and new replies by prompt hash, as they are made."""


def forget(version: str, replies: dict[str, Reply]) -> None:
    """Keep nothing."""


class AnswerGenerator(Protocol):
    def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
        """Answer every prompt with every model.

        Calls `heartbeat` every few seconds, with the progress if there is any; what it raises ends the generation.

        Raises:
            GenerationFailed: a model could not be loaded, or its process died.
        """


class EndpointFailed(HeliotropeError):
    """A server could not be reached, or did not answer as OpenAI's protocol wants it."""

    title = "Endpoint failed"


class Judge(Protocol):
    @property
    def name(self) -> str:
        """Return what the report calls it."""

    def prefer(self, messages: list[Message], first: str, second: str) -> float | None:
        """Return 1 for the first answer, 0 for the second, a half for a tie; None where its reply says none of these.

        Raises:
            EndpointFailed: it cannot be asked.
        """


class ReplyGenerator(Protocol):
    def generate(
        self, job: GenerationJob, heartbeat: Callable[[Progress | None], None], keep: Keep = forget
    ) -> Generated:
        """Do as an `AnswerGenerator`, but leave out what the job knows already, and hand replies on as they come."""


class TaskJob(msgspec.Struct, frozen=True, kw_only=True):
    """One model answers the tasks of a folder."""

    model: str
    """Folder with weights and tokenizer, or an endpoint."""
    endpoint: bool = False
    key: str = ""
    folder: str
    documents: int = 0
    """Of each task, the first so many; 0: all."""
    batch_size: int = 16
    dtype: Literal["bfloat16", "float32"] = "float32"
    seed: int = 0
    cache: str | None = None
    """File, without its ending, that keeps what this model said; None: nothing is kept."""


TaskAnswers = dict[str, bool]
"""By document (`task:NAME:NUMBER`): whether it was answered right."""


class TasksFailed(HeliotropeError):
    """A task file is broken, or a model could not be asked."""

    title = "Tasks failed"


class TaskRunner(Protocol):
    def run(self, job: TaskJob, heartbeat: Callable[[], None]) -> TaskAnswers:
        """Answer every document of every task; `heartbeat` is called every few seconds, what it raises ends the work.

        Raises:
            TasksFailed: there is nothing to tell.
        """
