"""The audit log's chain: what a look at it finds."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.deployer.domain.audit import (
    GENESIS,
    Anchor,
    Entry,
    calculate_entry_hash,
    calculate_seal,
    parse_anchor,
    verify_chain,
)

KEY = "a key that the database's owner does not have"


def chain(count: int, *, actor: str = "anna", key: str = KEY) -> list[Entry]:
    entries, previous = [], GENESIS
    for sequence in range(1, count + 1):
        at = datetime(2026, 11, 22, 12, 0, sequence, tzinfo=UTC)
        content = (sequence, at, actor, "approve", "r1", {"summary": "fine"}, previous)
        previous = calculate_entry_hash(*content)
        entries.append(Entry(*content, previous, calculate_seal(key, previous) if key else None))
    return entries


def find_broken(entries: list[Entry], *, key: str = KEY, anchor: Anchor | None = None) -> int | None:
    return verify_chain(entries, key=key, anchor=anchor).broken_at


def test_an_untouched_log_is_intact() -> None:
    entries = chain(5)
    found = verify_chain(entries, key=KEY, anchor=Anchor(4, entries[3].hash))
    assert (found.broken_at, found.last) == (None, Anchor(5, entries[4].hash))


def test_times_that_postgres_gives_back_in_another_zone_are_the_same_times() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert find_broken([replace(entry, at=entry.at.astimezone(zone)) for entry in chain(3)]) is None


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        (lambda entries: entries.__setitem__(2, replace(entries[2], actor="mallory")), 3),
        (lambda entries: entries.pop(1), 2),
        (lambda entries: entries.insert(0, entries[0]), 2),
    ],
)
def test_a_changed_removed_or_inserted_entry_is_found(tamper: Callable[[list[Entry]], object], broken: int) -> None:
    entries = chain(5)
    tamper(entries)
    assert find_broken(entries) == broken


@pytest.mark.parametrize("left", [0, 3])
def test_a_log_whose_end_was_cut_off_misses_its_anchor(left: int) -> None:
    entries = chain(5)
    assert find_broken(entries[:left]) is None
    assert find_broken(entries[:left], anchor=Anchor(5, entries[4].hash)) == left + 1


def test_a_log_that_was_written_anew_has_other_hashes_than_its_anchor() -> None:
    anchor = Anchor(5, chain(5)[4].hash)
    assert find_broken(chain(9, actor="mallory"), anchor=anchor) == 5


def test_a_log_that_was_written_anew_without_the_key_has_wrong_seals() -> None:
    assert find_broken(chain(5, key="another key")) == 1
    assert find_broken(chain(3)[:2] + chain(3, key="")[2:]) == 3


def test_entries_from_before_a_key_was_set_need_no_seal() -> None:
    assert find_broken(chain(3, key="")[:2] + chain(3)[2:]) is None


def test_a_page_is_verified_from_the_entry_before_it() -> None:
    entries = chain(5)
    assert verify_chain(entries[3:], key=KEY, after=Anchor(3, entries[2].hash)).broken_at is None
    assert verify_chain(entries[3:], key=KEY, after=Anchor(3, GENESIS)).broken_at == 4


def test_an_anchor_is_read_as_it_is_written() -> None:
    anchor = Anchor(12, "a" * 64)
    assert parse_anchor(str(anchor)) == anchor
    for text in ("12", "12:abc", f"x:{'a' * 64}"):
        with pytest.raises(ValueError, match="SEQUENCE:HASH"):
            parse_anchor(text)
