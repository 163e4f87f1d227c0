"""Rotate the user-hash secret in a real Postgres: nobody is cut off, the erased stay so, nothing counts twice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from local.user_hashing import COLUMNS, DOCUMENTS, carry_users, count_left, record_first_secret
from shared.tables.curator import ConflictingEvent, Feedback, Interaction, Pair
from shared.tables.erasures import Erasure
from shared.user_hashes import SecretsDiffer
from shared.user_stores import TABLES
from tests.integration.curator.erasure_scene import start
from tests.integration.curator.scene import HASHES, Curator, asked, hashed, open_curator
from tests.integration.deployer.scene import Setup
from tests.integration.deployer.test_erasure import dump, plant

USER = hashed("ines@shop")
CARRIED = replace(HASHES, generation=1).hash_user("ines@shop", None) or ""


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path / "home") as curator:
        yield curator


def rotate(curator: Curator, database_url: str) -> dict[str, int]:
    record_first_secret(database_url, HASHES.first)
    changed = carry_users(database_url, HASHES)
    curator.hashes.refresh()
    return changed


def count(curator: Curator) -> tuple[int, int, int]:
    with curator.sessions() as session:
        tables = (Interaction, Feedback, ConflictingEvent)
        return tuple(session.scalar(select(func.count()).select_from(table)) for table in tables)  # type: ignore[return-value]


def list_pairs(curator: Curator) -> list[tuple[str, str, float]]:
    with curator.sessions() as session:
        query = select(Pair.pair_id, Pair.state, Pair.epsilon).order_by(Pair.pair_id)
        return [(pair_id, state, epsilon) for pair_id, state, epsilon in session.execute(query)]


def test_the_old_hash_is_nowhere_in_the_database_and_the_new_one_wherever_it_was(
    curator: Curator, setup: Setup, database_url: str
) -> None:
    plant(curator, setup)
    before = dump(database_url)
    changed = rotate(curator, database_url)
    after = dump(database_url)
    assert USER in before
    assert USER not in after
    assert before.count(USER) == after.count(CARRIED)
    assert changed["curator.interactions"] > 0
    assert count_left(database_url, 1) == 0
    assert set(carry_users(database_url, HASHES).values()) == {0}, "once more changes nothing"


def test_every_table_that_an_erasure_looks_at_is_carried() -> None:
    by_content = "evaluator.comparisons"  # its texts; its raters are carried
    carried = {one.table for one in COLUMNS} | DOCUMENTS.keys()
    assert {store.table for store in TABLES} - {by_content} <= carried


def test_old_records_and_new_ones_of_a_user_are_one_users(curator: Curator, setup: Setup, database_url: str) -> None:
    events, _ = start(curator)
    pairs = list_pairs(curator)
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user=USER)
    before, votes = count(curator), setup.count_votes(rollout)
    rotate(curator, database_url)
    # of two bodies under one id another may stand once both are replayed: the smaller hash is another one now
    one_body = [event for event in events if event.identity != events[-1].identity]
    curator.hear(*one_body)
    curator.hear(*reversed(one_body))
    assert count(curator) == before, "replayed records of before are duplicates, not conflicts"
    setup.vote(rollout, canary=True, up=False, user=USER)
    setup.vote(rollout, canary=True, up=False, user=CARRIED)
    assert setup.count_votes(rollout) == votes
    with curator.sessions() as session:
        users = set(session.scalars(select(Interaction.user).distinct()))
    assert users == {CARRIED, replace(HASHES, generation=1).hash_user("tomas@shop", None)}
    assert list_pairs(curator) == pairs


def test_erased_users_stay_erased_and_are_found_by_name(curator: Curator, database_url: str) -> None:
    events, _ = start(curator)
    assert curator.erase("tomas@shop").status_code == 201
    rotate(curator, database_url)
    curator.hear(*events)
    with curator.sessions() as session:
        assert set(session.scalars(select(Interaction.user))) == {CARRIED}
        assert session.scalars(select(Erasure.user)).one().startswith("1.")
    assert curator.erase("tomas@shop").status_code == 200, "erased before the rotation"
    assert curator.erase("ines@shop").status_code == 201, "erased after it"
    curator.hear(*events)
    assert count(curator)[:2] == (0, 0)


def test_a_lost_secret_is_noticed_before_anybody_is_cut_off(curator: Curator, database_url: str) -> None:
    record_first_secret(database_url, "the one that was lost")
    curator.hashes.refresh()
    answer = curator.erase()
    assert (answer.status_code, "HELIOTROPE_USER_HASH_SECRET is not the secret" in answer.json()["detail"]) == (
        503,
        True,
    )
    with pytest.raises(SecretsDiffer):
        curator.hear(asked(1, "What?", "That.", USER))
    with pytest.raises(SecretsDiffer):
        carry_users(database_url, HASHES)
    assert count(curator) == (0, 0, 0)
    carry_users(database_url, HASHES, lost=True)
    curator.hashes.refresh()
    curator.hear(asked(1, "What?", "That.", curator.hashes().hash_user("ines@shop", None)))
    assert curator.erase().status_code == 201
