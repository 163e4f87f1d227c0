"""API keys without a database."""

from collections.abc import Mapping

import pytest
from sqlalchemy import create_engine

from shared.auth import Caller, KeyRing, StoredKey, open_key_ring
from shared.db import make_session_factory
from shared.errors import Unauthenticated
from shared.secret_hashes import calculate_secret_hash

SECRET = "s" * 43
KEY = f"hk_0123456789ab_{SECRET}"
ANNA = Caller("0123456789ab", "anna", "frontend")


def keyring(keys: Mapping[str, StoredKey]) -> KeyRing:
    ring = KeyRing(lambda: keys)
    ring.refresh()
    return ring


def test_a_known_key_tells_who_calls():
    ring = keyring({ANNA.key_id: StoredKey(ANNA, calculate_secret_hash(SECRET))})
    assert ring.authenticate(f"Bearer {KEY}") == ANNA


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic abc",
        f"Basic {KEY}",
        "Bearer hk_0123456789ab_short",
        f"Bearer {KEY}x",
        f"Bearer hk_ffffffffffff_{SECRET}",
        f"Bearer hk_0123456789ab_{'t' * 43}",
    ],
)
def test_anything_else_is_unauthenticated(header: str | None):
    ring = keyring({ANNA.key_id: StoredKey(ANNA, calculate_secret_hash(SECRET))})
    with pytest.raises(Unauthenticated):
        ring.authenticate(header)


def test_a_key_with_an_all_zero_hash_does_not_open_the_door_to_unknown_ids():
    with pytest.raises(Unauthenticated):
        keyring({}).authenticate(f"Bearer {KEY}")


def test_the_last_known_keys_serve_while_the_database_is_away():
    answers: list[Mapping[str, StoredKey]] = [{ANNA.key_id: StoredKey(ANNA, calculate_secret_hash(SECRET))}]

    def load() -> Mapping[str, StoredKey]:
        return answers.pop()  # the second time there is nothing to pop: an error, as from a database that is away

    ring = KeyRing(load)
    ring.refresh()
    with pytest.raises(IndexError):
        ring.refresh()
    assert ring.authenticate(f"Bearer {KEY}") == ANNA


def test_a_ring_opens_without_its_database_and_says_that_it_has_no_keys():
    nobody_listens = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    ring = open_key_ring(make_session_factory(nobody_listens))
    with pytest.raises(ConnectionError):
        ring.check()
