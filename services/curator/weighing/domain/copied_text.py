"""Edits that push one text: the same phrases inserted, whatever stands around them or between their words.

A team that pastes one answer cannot be told from a few people who push one. So what such a text holds of a dataset is
capped, and only what strangers bring, many of whom say it and next to nothing else, is set aside until a person has
looked.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import networkx as nx

from services.curator.pairs.domain.rules import EDIT
from services.curator.pairs.domain.wording import derive_units
from services.curator.weighing.domain.history import FeedbackRecord, History

PHRASE_UNITS = 6
"""Shorter phrases are stock: shops that reply with an order number share four words."""
LOOSE_UNITS = 8
"""Of phrases with other words in between, which chance makes more often."""
GAP = 3
"""A word and one of the next three that come in that order in many edits are a link of such a phrase."""
TEXT_UNITS = 8
"""Phrases of shorter edits are alike by chance; a whole text of nobody's that comes again and again is not."""
FEW_USERS = 10
LARGE_SHARE = 0.05
"""Of all edits. What holds less moves no more than that."""
COVERED = 0.53
"""Share of the words that an edit inserts that have to stand in such phrases: at half, more than a hundredth of the
replies of a shop that writes stock phrases would be set aside."""
HEARD = 3
"""Who said fewer things is a stranger: an invented user costs nothing, until it has to say more."""
RARE = ""
"""Stands for a word of too few edits to be of a text that many insert."""
FEW_ANONYMOUS = 10
ANONYMOUS_SHARE = 0.01
"""Of all anonymous edits, for one text: each of its copies may be the same person's."""

Link = tuple[str, str]
Phrase = tuple[str, ...]


class Insertion(NamedTuple):
    """The units that an edit inserts, in order, and whose word it is; an anonymous edit's maker is nobody else's."""

    maker: str
    units: Sequence[str]


def find_copied_text(history: History) -> set[UUID]:
    """Find edits of strangers that are copies of what more than ten insert, and anonymous copies.

    - of a text that holds more than 5% of all edits (`find_pushed_texts`)
    - or anonymous, and one of more than 10 of the same words and 1% of all anonymous edits
    """
    said = Counter(one.user for one in history.feedback.values() if one.user is not None)
    found = _find_anonymous_copies(history)
    for text in find_pushed_texts(history):
        makers = {event_id: history.feedback[event_id].user for event_id in text}
        if len(set(makers.values()) - {None}) + sum(user is None for user in makers.values()) > FEW_USERS:
            found |= {event_id for event_id, user in makers.items() if user is None or said[user] < HEARD}
    return found


def find_pushed_texts(history: History) -> list[list[UUID]]:
    """Find texts that hold more than 5% of all edits and are of several makers: the edits of each.

    53% or more of the words that an edit inserts stand in phrases that come so often; what the corrected answer said
    already is not inserted. A phrase is six words on end, or eight with others in between.
    """
    inserted = _blank_rare(_collect_insertions(history))
    phrases: dict[UUID, set[Phrase]] = defaultdict(set)
    for size, kept in [(PHRASE_UNITS, _keep_all(inserted)), *((LOOSE_UNITS, kept) for kept in _thin_out(inserted))]:
        for event_id, found in _find_covering(inserted, kept, size).items():
            phrases[event_id] |= found
    return _join(phrases)


def _find_anonymous_copies(history: History) -> set[UUID]:
    texts = {
        event_id: tuple(derive_units(one.text))
        for event_id, one in history.feedback.items()
        if one.text is not None and one.user is None and not one.imported
    }
    counts = Counter(texts.values())
    most = max(FEW_ANONYMOUS, ANONYMOUS_SHARE * len(texts))
    return {event_id for event_id, text in texts.items() if counts[text] > most and text}


def _collect_insertions(history: History) -> dict[UUID, Insertion]:
    """Collect what each edit inserts, if it is long enough to be told from others."""
    corrected = {pair.evidence[0]: pair.rejected for pair in history.pairs if pair.rule == EDIT.name}
    insertions = {}
    for event_id, one in sorted(history.feedback.items()):
        units = derive_units(one.text or "")
        inserted = _find_inserted(units, derive_units(corrected.get(event_id, "")))
        if len(units) >= TEXT_UNITS and inserted:
            insertions[event_id] = Insertion(_name_maker(one), [units[place] for place in inserted])
    return insertions


def _blank_rare(inserted: Mapping[UUID, Insertion]) -> dict[UUID, Insertion]:
    """Blank the words of few edits: no phrase or link with one of them comes often, and most words are such."""
    count = Counter(unit for one in inserted.values() for unit in set(one.units))
    frequent = {unit for unit, times in count.items() if times > max(LARGE_SHARE * len(inserted), 1)}
    return {
        event_id: one._replace(units=[unit if unit in frequent else RARE for unit in one.units])
        for event_id, one in inserted.items()
    }


def _name_maker(one: FeedbackRecord) -> str:
    return one.user or str(one.event_id)


def _find_inserted(units: Sequence[str], corrected: Sequence[str]) -> list[int]:
    """Find the places of the words that stand in a phrase which the corrected answer does not have."""
    known = set(_derive_phrases(corrected, range(len(corrected)), PHRASE_UNITS))
    new = _derive_phrases(units, range(len(units)), PHRASE_UNITS)
    return sorted({place for phrase, places in new.items() if phrase not in known for place in places})


def _derive_phrases(units: Sequence[str], places: Sequence[int], size: int) -> dict[Phrase, set[int]]:
    """Derive the phrases of the words at these places, none of them rare, and all places where each stands."""
    phrases: dict[Phrase, set[int]] = defaultdict(set)
    for at in range(len(places) - size + 1):
        run = places[at : at + size]
        phrase = tuple(units[place] for place in run)
        if RARE not in phrase:
            phrases[phrase].update(run)
    return phrases


Places = Mapping[UUID, Sequence[int]]


def _keep_all(inserted: Mapping[UUID, Insertion]) -> Places:
    return {event_id: range(len(one.units)) for event_id, one in inserted.items()}


def _thin_out(inserted: Mapping[UUID, Insertion]) -> Iterable[Places]:
    """Keep the words that are linked with others as often as a pushed text is: what was put between them goes.

    Of the fillers of a text that holds a share of the edits, each holds a half of it at most. So one of the shares that
    are tried, each twice the one before, lies between.
    """
    links = {event_id: _list_links(one.units) for event_id, one in inserted.items()}
    count = Counter(link for of_edit in links.values() for link in set(of_edit.values()))
    share, before = LARGE_SHARE, -1
    while popular := {link for link, times in count.items() if times > max(share * len(inserted), 1)}:
        if len(popular) != before:
            yield {event_id: _keep_linked(of_edit, popular) for event_id, of_edit in links.items()}
        share, before = 2 * share, len(popular)


def _list_links(units: Sequence[str]) -> dict[tuple[int, int], Link]:
    return {
        (at, other): (unit, units[other])
        for at, unit in enumerate(units)
        for other in range(at + 1, min(at + 1 + GAP, len(units)))
        if RARE not in (unit, units[other])
    }


def _keep_linked(links: Mapping[tuple[int, int], Link], popular: set[Link]) -> list[int]:
    return sorted({place for places, link in links.items() if link in popular for place in places})


def _find_covering(inserted: Mapping[UUID, Insertion], kept: Places, size: int) -> dict[UUID, set[Phrase]]:
    """Find the popular phrases of the edits that these cover, of the words that were kept."""
    phrases = {event_id: _derive_phrases(inserted[event_id].units, places, size) for event_id, places in kept.items()}
    makers: dict[Phrase, list[str]] = defaultdict(list)
    for event_id, of_edit in phrases.items():
        for phrase in of_edit:
            makers[phrase].append(inserted[event_id].maker)
    least = max(LARGE_SHARE * len(inserted), FEW_USERS)
    popular = {phrase for phrase, found in makers.items() if len(found) > least and len(set(found)) > 1}
    covering = {}
    for event_id, of_edit in phrases.items():
        common = of_edit.keys() & popular
        places = set().union(*(of_edit[phrase] for phrase in common))
        if common and len(places) >= COVERED * len(inserted[event_id].units):
            covering[event_id] = common
    return covering


def _join(phrases: Mapping[UUID, set[Phrase]]) -> list[list[UUID]]:
    """Join edits that have a phrase in common."""
    graph = nx.Graph([(event_id, phrase) for event_id, found in phrases.items() for phrase in found])
    parts = (sorted(node for node in part if isinstance(node, UUID)) for part in nx.connected_components(graph))
    return sorted(parts)
