"""Edits that too many people write: the same phrases inserted, whatever stands around them.

A team that pastes one answer cannot be told from a few people who push one, so a text that few insert stands, and a
snapshot caps its share. One that is a large part of all edits is set aside until a person has looked.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from services.curator.pairs.domain.rules import EDIT
from services.curator.pairs.domain.wording import derive_units
from services.curator.weighing.domain.history import FeedbackRecord, History

PHRASE_UNITS = 6
"""Shorter phrases are stock: shops that reply with an order number share four words."""
TEXT_UNITS = 8
"""Phrases of shorter edits are alike by chance; a whole text of nobody's that comes again and again is not."""
FEW_USERS = 10
LARGE_SHARE = 0.05
"""Of all edits. What holds less moves no more than that."""
COVERED = 0.53
"""Share of the words that an edit inserts that have to stand in such phrases: at half, more than a hundredth of the
replies of a shop that writes stock phrases would be set aside."""
FEW_ANONYMOUS = 10
ANONYMOUS_SHARE = 0.01
"""Of all anonymous edits, for one text: each of its copies may be the same person's."""

Phrase = tuple[str, ...]


def find_copied_text(history: History) -> set[UUID]:
    """Find edits that are copies of what too many insert, or nobody in particular.

    - 53% or more of the words that it inserts stand in phrases of more than 10 users (an anonymous edit is one) and 5%
      of all edits; what the corrected answer said already is not inserted
    - or it is anonymous, and one of more than 10 of the same words and 1% of all anonymous edits
    """
    inserted = _collect_insertions(history)
    makers = _collect_makers(inserted, history.feedback)
    popular = {
        phrase
        for phrase, edits in makers.items()
        if len(set(edits)) > FEW_USERS and len(edits) > LARGE_SHARE * len(inserted)
    }
    covered = {event_id for event_id, phrases in inserted.items() if _calculate_share(phrases, popular) >= COVERED}
    return covered | _find_anonymous_copies(history)


def _find_anonymous_copies(history: History) -> set[UUID]:
    texts = {
        event_id: tuple(derive_units(one.text))
        for event_id, one in history.feedback.items()
        if one.text is not None and one.user is None and not one.imported
    }
    counts = Counter(texts.values())
    most = max(FEW_ANONYMOUS, ANONYMOUS_SHARE * len(texts))
    return {event_id for event_id, text in texts.items() if counts[text] > most and text}


def _calculate_share(inserted: Mapping[int, Phrase], popular: Collection[Phrase]) -> float:
    """Calculate the share of the inserted words that stand in popular phrases, in whatever order these stand."""
    copied = _list_places(at for at, phrase in inserted.items() if phrase in popular)
    return len(copied) / len(_list_places(inserted))


def _list_places(starts: Iterable[int]) -> set[int]:
    return {place for at in starts for place in range(at, at + PHRASE_UNITS)}


def _collect_insertions(history: History) -> dict[UUID, dict[int, Phrase]]:
    """Collect what each edit inserts, by the place where it begins, if it is long enough to be told from others."""
    corrected = {pair.evidence[0]: pair.rejected for pair in history.pairs if pair.rule == EDIT.name}
    insertions = {}
    for event_id, one in sorted(history.feedback.items()):
        units = derive_units(one.text or "")
        known = set(_derive_phrases(derive_units(corrected.get(event_id, ""))).values())
        phrases = {at: phrase for at, phrase in _derive_phrases(units).items() if phrase not in known}
        if len(units) >= TEXT_UNITS and phrases:
            insertions[event_id] = phrases
    return insertions


def _derive_phrases(units: list[str]) -> dict[int, Phrase]:
    return {at: tuple(units[at : at + PHRASE_UNITS]) for at in range(len(units) - PHRASE_UNITS + 1)}


def _collect_makers(
    inserted: Mapping[UUID, Mapping[int, Phrase]], feedback: Mapping[UUID, FeedbackRecord]
) -> dict[Phrase, list[str]]:
    """Collect phrase -> who inserts it, once for each edit; an anonymous edit's maker is nobody else's."""
    makers: dict[Phrase, list[str]] = defaultdict(list)
    for event_id, phrases in inserted.items():
        for phrase in sorted(set(phrases.values())):
            makers[phrase].append(feedback[event_id].user or str(event_id))
    return makers
