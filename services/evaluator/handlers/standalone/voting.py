"""Blind comparisons as a file, and the votes that came back."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from services.evaluator.domain.votes.ballots import Ballot, Vote, find_seat
from services.evaluator.domain.votes.comparisons import ComparisonDraft
from shared.errors import InvalidRequest

FILE = "comparisons.jsonl"


def name_comparison(draft: ComparisonDraft) -> str:
    """Return a name that says nothing of who sits where, and changes with the texts."""
    texts = [draft.prompt_hash, draft.left, draft.right]
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode()).hexdigest()[:16]


def write_comparisons(drafts: Sequence[ComparisonDraft], folder: Path, seats: int | None = None) -> Path:
    """Write what people are to judge, without who wrote what; equal answers are asked of nobody.

    `pile` says what belongs to one rater: for a panel, a seat.
    """
    file = folder / FILE
    lines = [
        json.dumps(
            {
                "comparison": name_comparison(draft),
                "pile": find_seat(draft.pile, seats),
                "messages": draft.messages,
                "left": draft.left,
                "right": draft.right,
            },
            ensure_ascii=False,
        )
        for draft in drafts
        if draft.settled is None
    ]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def derive_ballots(drafts: Sequence[ComparisonDraft], votes: Sequence[tuple[str, str, Vote]]) -> list[Ballot]:
    """Join the votes to their comparisons; of several votes on one comparison the first counts.

    Raises:
        InvalidRequest: a vote is on a comparison that is not among these.
    """
    known = {name_comparison(draft) for draft in drafts}
    if strangers := [comparison for comparison, _, _ in votes if comparison not in known]:
        raise InvalidRequest(
            f"{len(strangers)} votes are on other comparisons than these, {strangers[0]} among them: "
            f"they were cast on other answers or prompts"
        )
    cast: dict[str, tuple[int, str, Vote]] = {}
    for place, (comparison, rater, vote) in enumerate(votes):
        cast.setdefault(comparison, (place, rater, vote))
    return [_derive_ballot(draft, cast.get(name_comparison(draft))) for draft in drafts]


def _derive_ballot(draft: ComparisonDraft, cast: tuple[int, str, Vote] | None) -> Ballot:
    if draft.settled is not None:
        return Ballot(draft.prompt_hash, draft.candidate_is_left, draft.settled, None, draft.pile)
    if cast is None:
        return Ballot(draft.prompt_hash, draft.candidate_is_left, None, None, draft.pile)
    place, rater, vote = cast
    return Ballot(draft.prompt_hash, draft.candidate_is_left, vote, rater, draft.pile, float(place))
