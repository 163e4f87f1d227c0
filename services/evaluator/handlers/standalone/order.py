"""What is wanted of an evaluation, and what it needs of the world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from services.evaluator.domain.policy import Policy
from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.domain.votes.ballots import Vote
from services.evaluator.ports import AnswerGenerator, Judge, Replies, TaskJob, TaskRunner

CANDIDATE, CHAMPION = "candidate", "champion"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """How answers are made; part of what they are kept under."""

    max_new_tokens: int = 256
    batch_size: int = 16
    dtype: Literal["bfloat16", "float32"] = "float32"
    sampling: Literal["model", "greedy"] = "model"
    seed: int = 0
    suite: bool = True


@dataclass(frozen=True)
class Order:
    """`candidate` and `champion` are folders of models, or endpoints (`http://host/v1#model`)."""

    candidate: str
    champion: str
    prompts: Sequence[GatePrompt]
    output: Path
    policy: Policy = field(default_factory=Policy)
    how: How = field(default_factory=How)
    votes: Sequence[tuple[str, str, Vote]] = ()
    """The comparison, the rater, and the vote."""
    training: Sequence[str] | None = None
    """Texts that the candidate was trained on; None: not to be had, so that contamination is not measured."""
    tasks: Path | None = None
    """Folder of lm-eval's task files that both models answer, too."""
    task_documents: int = 0
    """Of each task, the first so many; 0: all."""


class Asker(Protocol):
    """Asks servers, and keeps what they said."""

    def answer(self, side: str, place: str, order: Order, beat: Callable[[int, int], None]) -> Replies:
        """Answer every prompt and the suite; by side, then by prompt hash.

        Raises:
            EndpointFailed: it cannot be asked to the end.
        """


@dataclass(frozen=True)
class World:
    """What reaches out of the process."""

    generator: AnswerGenerator
    asker: Asker
    is_endpoint: Callable[[str], bool]
    tasks: TaskRunner | None = None
    judge: Judge | None = None
    judged_before: dict[str, Any] = field(default_factory=dict)
    keep_judged: Callable[[Any], None] = lambda entries: None
    derive_task_job: Callable[[Order, str], TaskJob] | None = None
    """Returns what lm-eval asks a side's model."""
    describe: Callable[[str], dict[str, Any]] = lambda place: {"place": place}
    """What serves a model, for the report: engine, number format."""
