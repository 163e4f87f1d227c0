"""Which drafts are too poor to learn from, and why."""

from services.curator.domain.language import derive_language
from services.curator.domain.rules import CHOICE, EDIT, Answer, Draft
from services.curator.domain.text import calculate_similarity, derive_words

NEAR_IDENTICAL = 0.9
"""Shared 3-shingles. High on purpose: one changed word (a price, a weekday) may be what the user cared for."""
LONGEST_WORDS = 4_000
EDIT_LENGTH_RATIO = 10.0
"""An edit this many times longer or shorter is another answer, or a note, rather than a correction."""
EDIT_SLACK_WORDS = 40
"""Below this many words any length of an edit is fine."""


def assess_quality(draft: Draft, vetoed: set[object]) -> str | None:
    """The first reason to refuse a draft, or None.

    - an answer that failed, or a side without words
    - a complaint stands against the chosen answer, or a token limit cut it off
    - a side longer than any answer that a model is trained on
    - an edit that changes no word, or is out of all proportion
    - sides that say the same
    - sides in two languages, unless the user compared them on purpose: it would teach the language, not the answer
    """
    if draft.reason:
        return draft.reason
    if draft.rejected.error or (isinstance(draft.chosen, Answer) and draft.chosen.error):
        return "error_answer"
    chosen_words, rejected_words = derive_words(draft.chosen.text), derive_words(draft.rejected.text)
    if not chosen_words:
        return "emptied_edit" if draft.rule == EDIT else "empty"
    if not rejected_words:
        return "empty"
    if isinstance(draft.chosen, Answer) and draft.chosen.interaction_id in vetoed:
        return "complaint"
    if isinstance(draft.chosen, Answer) and draft.chosen.truncated:
        return "truncated"
    if max(len(chosen_words), len(rejected_words)) > LONGEST_WORDS:
        return "too_long"
    if draft.rule == EDIT:
        return _assess_edit(chosen_words, rejected_words)
    if calculate_similarity(draft.chosen.text, draft.rejected.text) >= NEAR_IDENTICAL:
        return "near_identical"
    if draft.rule != CHOICE:
        return _assess_languages(derive_language(draft.chosen.text), derive_language(draft.rejected.text))
    return None


def _assess_languages(chosen: str | None, rejected: str | None) -> str | None:
    return "different_languages" if chosen and rejected and chosen != rejected else None


def _assess_edit(after: list[str], before: list[str]) -> str | None:
    if after == before:
        return "trivial_edit"
    longer, shorter = max(len(after), len(before)), min(len(after), len(before))
    if longer > EDIT_SLACK_WORDS and longer > EDIT_LENGTH_RATIO * shorter:
        return "edit_out_of_bounds"
    if not set(after) & set(before):
        return "edit_out_of_bounds"
    return None
