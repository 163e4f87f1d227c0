"""What the files hold, as evidence: redacted answers and feedback, with the conversations that they belong to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from cli.exchange.commands import NOTHING_SAID, SKEW, Job, check_columns, take_all
from cli.exchange.dry_run import Preview
from cli.exchange.events import AnyEvent, Import
from cli.exchange.found import Options, Refused
from cli.exchange.recognising import describe_strange_files, recognise
from cli.exchange.registry import find_importer
from cli.exchange.reporting.progress import Progress
from cli.exchange.reporting.tally import Tally
from cli.exchange.walking import Place
from cli.trying.clock import Clock
from local.errors import StackFailed
from services.curator.evidence.adapters.redaction import redact_feedback, redact_interaction
from services.curator.pairs.domain.rules import Answer
from shared.conversation import Conversation, calculate_prompt_hash, derive_conversation
from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, InteractionRecorded
from shared.user_hashes import UserHashes

NAME = "try"


@dataclass
class Evidence(Preview):
    """A dry run that also keeps what was asked, by prompt hash."""

    conversations: dict[str, Conversation] = field(default_factory=dict)

    def _add_answer(self, event: InteractionRecorded) -> None:
        super()._add_answer(event)
        conversation = derive_conversation(event)
        self.conversations.setdefault(calculate_prompt_hash(conversation.messages, conversation.tools), conversation)

    def list_answers(self) -> dict[str, dict[UUID, Answer]]:
        """List the answers of each prompt."""
        found: dict[str, dict[UUID, Answer]] = defaultdict(dict)
        for key, answer in self.answers.items():
            found[answer.prompt_hash][key] = answer
        return found


@dataclass(frozen=True)
class Reading:
    """Files, read: whose they are, what was counted, and what the rules of the curator make of it."""

    source: str
    files: Sequence[Path]
    tally: Tally
    evidence: Evidence
    report: Mapping[str, Any]
    """As of a dry run."""


def read_files(files: Sequence[Path], source: str | None, options: Options, clock: Clock) -> Reading:
    """Read the files of one source. What is personal is redacted, as the curator does before it stores anything.

    Raises: StackFailed: no such source, or the files are nobody's.
    """
    name = source or find_source(files, options)
    about = Import(NAME, name, NOTHING_SAID, UserHashes("of a try, which sends nothing"), datetime.now(UTC) + SKEW)
    job = Job(find_importer(name), files, about, options)
    check_columns(job)
    evidence = Evidence()
    tally = take_all(job, Place(0, 0), Progress(clock.say), lambda events, place: evidence.take(redact_all(events)))
    strange = describe_strange_files(files, name, options, tally, Place(0, 0))
    report = {"import": NAME, "sent": False, **tally.as_dict(), "strange_files": strange, **evidence.derive()}
    return Reading(name, files, tally, evidence, report)


def find_source(files: Sequence[Path], options: Options) -> str:
    """Find whose files these are. Raises: StackFailed: nobody's, or those of several tools."""
    known = {path: recognise(path, options) for path in files}
    names = sorted({name for name in known.values() if name is not None})
    if not names:
        raise StackFailed(
            f"no importer reads {', '.join(path.name for path in files)}: name its tool with --source, and of a table "
            "its columns, such as --source csv --column prompt=Question --column answer=Reply --column thumb=Helpful"
        )
    if len(names) > 1:
        told = ", ".join(f"{path.name} is {name}'s" for path, name in known.items() if name)
        raise StackFailed(f"these files are of several tools ({told}): try one tool's at a time, or name it (--source)")
    return names[0]


def redact_all(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """Redact events. Raises: Refused: one of them takes too long, or is nested too deep."""
    try:
        return [_redact(event) for event in events]
    except InvalidRequest as error:
        raise Refused("not_redacted", error.detail) from None


def _redact(event: AnyEvent) -> AnyEvent:
    return redact_feedback(event)[0] if isinstance(event, FeedbackReceived) else redact_interaction(event)[0]
