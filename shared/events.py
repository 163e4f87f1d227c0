"""The loop is six events, declared in the order in which they happen.

Every service is wired to the others only by these and by the tables. They travel as JSON with CloudEvents 1.0
attributes in the record's headers (see `shared.bus`). A new field is optional: readers of an older build ignore it.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from shared.gate_results import GateResult as GateResult
from shared.routing_table import USER_GROUPS as USER_GROUPS
from shared.routing_table import Collection as Collection
from shared.routing_table import Route as Route
from shared.routing_table import RoutingTable as RoutingTable
from shared.routing_table import Shadow as Shadow
from shared.summaries import Summarised

Message = dict[str, Any]  # one chat message as the model saw it, OpenAI's shape, unknown fields kept

Text = Annotated[str, Meta(min_length=1, max_length=20_000)]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What a user said of an answer; one subclass for each type."""


class Thumb(Feedback, frozen=True, kw_only=True, tag="thumb"):
    value: Literal["up", "down"]


class Rating(Feedback, frozen=True, kw_only=True, tag="rating"):
    value: Annotated[int, Meta(ge=1, le=5)]


class Choice(Feedback, frozen=True, kw_only=True, tag="choice"):
    """Two answers to the same prompt, shown side by side; exactly one of `preferred_interaction_id` and `tie`."""

    other_interaction_id: UUID
    presented_order: Annotated[list[UUID], Meta(min_length=2, max_length=2)]
    preferred_interaction_id: UUID | None = None
    tie: bool = False


class Edit(Feedback, frozen=True, kw_only=True, tag="edit"):
    text: Text


class Regenerate(Feedback, frozen=True, kw_only=True, tag="regenerate"):
    replacement_interaction_id: UUID


class Complaint(Feedback, frozen=True, kw_only=True, tag="complaint"):
    category: Literal["harmful", "wrong", "off_topic", "other"]
    text: Text | None = None


class Comment(Feedback, frozen=True, kw_only=True, tag="comment"):
    text: Text


class Retract(Feedback, frozen=True, kw_only=True, tag="retract"):
    retracted_event_id: UUID


AnyFeedback = Thumb | Rating | Choice | Edit | Regenerate | Complaint | Comment | Retract


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Common behaviour of the six events."""

    topic: ClassVar[str]
    key_field: ClassVar[str]

    @property
    def key(self) -> str:
        """Records with one key stay in order."""
        return str(getattr(self, self.key_field))

    @property
    def identity(self) -> str:
        """CloudEvents `id`: the same for the same fact, however often it is announced."""
        return self.key


class InteractionRecorded(Event, frozen=True, kw_only=True, tag="InteractionRecorded"):
    """An answer was served (or was meant to be: `error` says why not)."""

    topic: ClassVar[str] = "interaction.recorded"
    key_field: ClassVar[str] = "interaction_id"

    interaction_id: UUID
    messages: list[Message]
    answer: str
    model_version: str
    served_at: datetime
    key_id: str
    """The API key it came in with: ids are unique per key."""
    conversation_id: str | None = None
    """Keyed hash of the conversation; in events from before 2026-11-27 its id in clear."""
    user: str | None = None
    """Keyed hash of the user, else of the conversation; None for an anonymous caller."""
    intended_version: str | None = None
    rollout_id: UUID | None = None
    propensity: float | None = None
    """Probability with which the assignment chose the intended version."""
    solicited: bool = False
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_byte_seconds: float | None = None
    total_seconds: float | None = None
    metadata: dict[str, Any] | None = None
    finish_reason: str | None = None
    """As the model server said: `stop`, `length`, `tool_calls`, `content_filter`."""
    tool_calls: list[dict[str, Any]] | None = None
    """The calls of the answer, in the shape of an assistant message's."""
    refusal: str | None = None
    """What the model said in place of an answer that it refused to give; `answer` is empty then."""
    reasoning: str | None = None
    """What the model said to itself before it answered; no part of the answer."""
    content_hash: str | None = None
    """What `shared.user_hashes` says of the content, under later secrets of user hashes; missing under the first."""


class FeedbackReceived(Event, frozen=True, kw_only=True, tag="FeedbackReceived"):
    """A user reacted."""

    topic: ClassVar[str] = "feedback.received"
    key_field: ClassVar[str] = "interaction_id"

    event_id: UUID
    interaction_id: UUID
    feedback: AnyFeedback
    received_at: datetime
    key_id: str
    user: str | None = None
    occurred_at: datetime | None = None
    """As the client said; None when it said nothing, and then `received_at` stands in."""
    metadata: dict[str, Any] | None = None
    clock_offset_seconds: float | None = None
    """What corrects the client's clock: to be added to `occurred_at`; None when it is right."""
    content_hash: str | None = None

    @property
    def identity(self) -> str:
        return str(self.event_id)


class Reason(Summarised, frozen=True, kw_only=True):
    """Why retraining is wanted, in text and numbers."""

    kind: Literal["volume", "opinion", "prompt_drift", "schedule", "manual"]
    value: float | None = None
    threshold: float | None = None


class RetrainRequested(Event, frozen=True, kw_only=True, tag="RetrainRequested"):
    """Retraining is wanted; the dataset was frozen in the transaction that asked for it."""

    topic: ClassVar[str] = "retrain.requested"
    key_field: ClassVar[str] = "request_id"

    request_id: UUID
    reasons: list[Reason]
    dataset_sha256: str
    dataset_uri: str
    parent_version: str
    requested_at: datetime
    deadline_at: datetime
    recipe: str | None = None
    """The only one, or the first of several."""
    requested_by: str = "monitor"
    """The drift monitor, or `key:` and an API key's name. Runs of different requesters take turns."""
    recipes: list[str] | None = None
    """All of them, where there are several: each is a run, and at most one candidate goes on."""


class TrainingCompleted(Event, frozen=True, kw_only=True, tag="TrainingCompleted"):
    """A candidate exists, or the run failed."""

    topic: ClassVar[str] = "training.completed"
    key_field: ClassVar[str] = "request_id"

    request_id: UUID
    run_id: UUID
    outcome: Literal["succeeded", "failed", "cancelled"]
    parent_version: str
    dataset_sha256: str
    completed_at: datetime
    reason: str | None = None
    candidate_version: str | None = None
    recipe_sha256: str | None = None
    weights_sha256: str | None = None
    mlflow_run_id: str | None = None
    refused_share: float | None = None
    """Share of the dataset's rows that could not be trained on; missing from before it was counted."""
    refused_rows: dict[str, int] | None = None
    """Those rows by reason (unrenderable, no_room, no_answer, too_long, same_answers)."""
    unmeasured_kl: str | None = None
    """Why the candidate's KL could not be held against the recipe's ceiling; missing: it was, or there is none."""
    recipe: str | None = None
    """The recipe, as the request names it; missing in runs of release 0.1.0."""

    @property
    def identity(self) -> str:
        return str(self.run_id)


class EvaluationCompleted(Event, frozen=True, kw_only=True, tag="EvaluationCompleted"):
    """The candidate was judged."""

    topic: ClassVar[str] = "evaluation.completed"
    key_field: ClassVar[str] = "request_id"

    request_id: UUID
    evaluation_id: UUID
    run_id: UUID
    candidate_version: str
    champion_version: str
    verdict: Literal["pass", "fail", "inconclusive"]
    gates: list[GateResult]
    report_sha256: str
    completed_at: datetime
    report_uri: str | None = None


class RolloutAdvanced(Summarised, Event, frozen=True, kw_only=True, tag="RolloutAdvanced"):
    """The rollout moved; carries the whole routing table."""

    topic: ClassVar[str] = "rollout.advanced"
    key_field: ClassVar[str] = "family"

    state: Literal["adopted", "awaiting_approval", "canary", "paused", "champion", "rejected", "aborted", "rolled_back"]
    routing: RoutingTable
    at: datetime
    rollout_id: UUID | None = None
    request_id: UUID | None = None
    candidate_version: str | None = None
    stage: int | None = None

    @property
    def family(self) -> str:
        return self.routing.family

    @property
    def identity(self) -> str:
        return f"{self.routing.family}:{self.routing.generation}:{self.rollout_id}:{self.state}:{self.stage}"


AnyEvent = (
    InteractionRecorded
    | FeedbackReceived
    | RetrainRequested
    | TrainingCompleted
    | EvaluationCompleted
    | RolloutAdvanced
)
EVENT_TYPES: tuple[type[Event], ...] = get_args(AnyEvent)
TOPICS: tuple[str, ...] = tuple(event_type.topic for event_type in EVENT_TYPES)

IMPORT_KEY_ID = "import"
"""The key id of rows that an operator imported: no API key has it."""
