"""What an import would make, by the curator's own rules, before anything is sent."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cli.exchange.events import AnyEvent
from cli.exchange.reporting.tally import EXAMPLES
from cli.exchange.sending import encode_all
from services.curator.pairs.domain.pairing import Derived, derive_group
from services.curator.pairs.domain.rules import Answer, PreferencePair, name_untold
from shared.conversation import calculate_prompt_hash, derive_conversation, explain_unrenderable
from shared.events import FeedbackReceived, InteractionRecorded
from shared.feedback import attribute, list_interactions
from shared.finishes import classify_finish

MOST_ANSWERS = 200_000
"""Of which pairs are derived, and as much feedback: a dry run holds them in memory."""
SHOWN = 60


@dataclass
class Preview:
    """Pairs and labels by rule, and what the rules would refuse, of the first answers of an import."""

    answers: dict[UUID, Answer] = field(default_factory=dict)
    feedback: dict[UUID, FeedbackReceived] = field(default_factory=dict)
    unrenderable: Counter[str] = field(default_factory=Counter)
    same_ids: int = 0
    """Answers and feedback that differ from an earlier one of the same id: of these the curator keeps one aside."""
    is_cut: bool = False

    def take(self, events: Sequence[AnyEvent]) -> None:
        """Take what came of one record. Raises: Refused: a part of it could not be sent; nothing of it is taken."""
        encode_all(events)
        for event in events:
            if isinstance(event, FeedbackReceived):
                self._add_feedback(event)
            elif event.interaction_id in self.answers or len(self.answers) < MOST_ANSWERS:
                self._add_answer(event)
            else:
                self.is_cut = True

    def _add_feedback(self, event: FeedbackReceived) -> None:
        """Keep feedback, but what is beyond the limit, and what is about answers that were beyond it."""
        is_about_later = self.is_cut and event.interaction_id not in self.answers
        if event.event_id not in self.feedback and (is_about_later or len(self.feedback) >= MOST_ANSWERS):
            self.is_cut = True
            return
        self.same_ids += self.feedback.get(event.event_id, event) != event
        self.feedback[event.event_id] = event

    def _add_answer(self, event: InteractionRecorded) -> None:
        conversation = derive_conversation(event)
        if reason := explain_unrenderable(conversation.messages):
            self.unrenderable[reason] += 1
        answer = Answer(
            event.interaction_id,
            calculate_prompt_hash(conversation.messages, conversation.tools),
            event.answer,
            event.model_version,
            event.user,
            event.error,
            classify_finish(event.finish_reason),
            name_untold(bool(event.tool_calls), bool((event.reasoning or "").strip())),
        )
        self.same_ids += self.answers.get(event.interaction_id, answer) != answer
        self.answers[event.interaction_id] = answer

    def derive(self) -> dict[str, Any]:
        """Derive what the rules make of it, described for people and programs."""
        groups = self.list_groups()
        orphans = len(self.feedback) - sum(map(len, groups.values()))
        derived = [self.derive_group(events) for events in groups.values()]
        pairs = [pair for one in derived for pair in one.pairs]
        return {
            "pairs": _count_by_rule(pairs),
            "labels": dict(sorted(Counter(label.rule.name for one in derived for label in one.labels).items())),
            "refused_by_rules": _describe_refusals(pairs),
            "unrenderable": dict(sorted(self.unrenderable.items())),
            "without_answer": orphans,
            "same_ids": self.same_ids,
            "only_the_first_answers": MOST_ANSWERS if self.is_cut else None,
        }

    def list_groups(self) -> dict[str, list[FeedbackReceived]]:
        """List the feedback of each prompt, by its hash; what waits for answers that are not here is left out."""
        groups: dict[str, list[FeedbackReceived]] = defaultdict(list)
        for event in self.feedback.values():
            if all(key in self.answers for key in list_interactions(event)):
                about = self.answers[event.interaction_id]
                groups[about.prompt_hash].append(attribute(event, event.event_id, about.user))
        return groups

    def derive_group(self, events: list[FeedbackReceived], set_aside: frozenset[UUID] = frozenset()) -> Derived:
        """Derive what the rules make of the feedback on one prompt, but for what is set aside."""
        needed = {key: self.answers[key] for event in events for key in list_interactions(event)}
        return derive_group(needed, events, set_aside)


def _count_by_rule(pairs: list[PreferencePair]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        counts[pair.draft.rule.name][pair.state] += 1
    return {rule: dict(sorted(states.items())) for rule, states in sorted(counts.items())}


def _describe_refusals(pairs: list[PreferencePair]) -> dict[str, Any]:
    found: dict[str, list[PreferencePair]] = defaultdict(list)
    for pair in pairs:
        if pair.reason:
            found[pair.reason].append(pair)
    return {
        reason: {"count": len(of_it), "examples": [_show(pair) for pair in of_it[:EXAMPLES]]}
        for reason, of_it in sorted(found.items())
    }


def _show(pair: PreferencePair) -> str:
    chosen, rejected = (side.text.strip()[:SHOWN] for side in (pair.draft.chosen, pair.draft.rejected))
    return f"{pair.draft.rule.name}: {chosen!r} over {rejected!r}"
