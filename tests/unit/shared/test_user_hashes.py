"""Users as keyed hashes under a chain of secrets: a rotation cuts nobody off."""

from dataclasses import replace

import msgspec
import pytest

from shared.errors import InvalidRequest
from shared.events import FeedbackReceived, Thumb
from shared.feedback import calculate_content_hash
from shared.ids import calculate_user_hash
from shared.user_hash_generations import calculate_fingerprint, check_fingerprints
from shared.user_hashes import SecretsDiffer, UserHashes, carry_once
from tests.builders import make_feedback

FIRST, SECOND, THIRD = "the first secret", "the second secret", "the third secret"
CHAIN = UserHashes(FIRST, (SECOND, THIRD))


def at(generation: int, start: int = 0) -> UserHashes:
    return replace(CHAIN, generation=generation, start=start)


def drawn(hashes: UserHashes, user: str | None = "ada") -> FeedbackReceived:
    return msgspec.structs.replace(make_feedback(1, 1, Thumb(value="up")), user=hashes.draw(user, None))


def test_without_a_later_secret_nothing_is_other_than_before() -> None:
    event = drawn(at(0))
    assert at(0).hash_user("ada", None) == calculate_user_hash("ada", None, FIRST)
    assert at(0).publish(event) == event
    assert at(0).hash_content(event) == calculate_content_hash(event)


@pytest.mark.parametrize("generation", (1, 2))
def test_a_stored_hash_becomes_what_the_user_is_hashed_to_now(generation: int) -> None:
    stored = at(0).hash_user("ada", None)
    assert at(generation).carry(stored) == at(generation).hash_user("ada", None)
    assert at(2).carry(at(generation).hash_user("ada", None)) == at(2).hash_user("ada", None)
    assert replace(at(generation), first="").carry(stored) == at(generation).hash_user("ada", None), "without the first"


def test_who_holds_the_first_secret_alone_finds_nobody() -> None:
    carried = at(1).hash_user("ada", None)
    assert carried is not None
    assert (calculate_user_hash("ada", None, FIRST) or "") not in carried
    assert replace(at(1), later=("a guess",)).hash_user("ada", None) != carried


@pytest.mark.parametrize("user", ("ada", None))
@pytest.mark.parametrize("generation", (0, 1, 2))
def test_a_retry_under_a_later_secret_has_the_same_content(generation: int, user: str | None) -> None:
    first, retry = at(0).publish(drawn(at(0), user)), at(generation).publish(drawn(at(generation), user))
    assert at(2).hash_content(first) == at(2).hash_content(retry)
    assert at(2).carry_event(first) == at(2).carry_event(retry)
    assert at(2).hash_content(first) in (at(2).list_carried(calculate_content_hash(drawn(at(0), user))))


def test_what_is_no_hash_stays_as_it_is() -> None:
    for text in (None, "", "account:5f", "key:ab", "c-1042", "erased:2f6c", "x" * 32, "1.zz"):
        assert at(2).carry(text) == text


def test_after_a_lost_secret_users_begin_anew_and_old_hashes_stay() -> None:
    old, new = at(0).hash_user("ada", None), at(2, start=1).hash_user("ada", None)
    assert at(2, start=1).carry(old) == old
    assert new == carry_once(f"1.{calculate_user_hash('ada', None, SECOND)}", THIRD, 2)


def test_hashes_of_a_later_generation_wait_for_the_database_and_unknown_ones_are_refused() -> None:
    with pytest.raises(SecretsDiffer, match=r"generation 2.*database is at 1"):
        at(1).carry(at(2).hash_user("ada", None))
    with pytest.raises(InvalidRequest, match="generation 7"):
        at(2).carry(f"7.{'a' * 32}")


def test_other_secrets_than_the_databases_are_named() -> None:
    known = {number: (calculate_fingerprint(secret), False) for number, secret in enumerate((FIRST, SECOND))}
    assert check_fingerprints(CHAIN, known) == 0
    assert check_fingerprints(replace(CHAIN, first=""), known) == 0
    with pytest.raises(SecretsDiffer, match="HELIOTROPE_USER_HASH_SECRET is not"):
        check_fingerprints(replace(CHAIN, first="mistyped"), known)
    with pytest.raises(SecretsDiffer, match="LATER_SECRETS, number 1"):
        check_fingerprints(replace(CHAIN, later=("mistyped",)), known)
    with pytest.raises(SecretsDiffer, match=r"hashed with 1 later secrets.*has 0"):
        check_fingerprints(replace(CHAIN, later=()), known)
