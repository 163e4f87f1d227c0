"""Erasing a user over HTTP, against a real Postgres: their words are nowhere afterwards, and do not come back."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from services.curator.erasure.handlers import Eraser
from services.evaluator.handlers.erasure import erase_comparisons
from shared.events import (
    Edit,
    InteractionRecorded,
)
from shared.ids import new_id
from shared.registry.memory import MemoryRegistry
from shared.tables.curator import Dataset, Feedback, Interaction, Pair, RetrainRequestRow
from shared.tables.erasures import Erasure
from shared.tables.evaluator import Comparison
from tests.builders import NOON, make_artifacts
from tests.integration.curator.erasure_scene import judge, start
from tests.integration.curator.scene import WORDS, Curator, asked, hashed, said


@pytest.fixture
def curator(curator_over_http: Curator) -> Curator:
    return curator_over_http


def finish(curator: Curator) -> None:
    folder = curator.settings.datasets
    eraser = Eraser(curator.sessions, folder, make_artifacts(folder), timedelta(days=7), lambda: NOON)
    eraser.finish_running()


def test_the_evaluator_forgets_an_erased_users_words_and_keeps_the_votes(curator: Curator, tmp_path: Path) -> None:
    events, _ = start(curator)
    assert isinstance(events[0], InteractionRecorded)
    judge(curator, events[0].messages[0]["content"])
    erasure = curator.erase().json()
    assert (erasure["state"], erasure["certificate"]) == ("running", None)
    assert curator.find_words() == ["evaluator.evaluations", "evaluator.comparisons"]
    finish(curator)
    assert curator.call("GET", f"/v1/erasures/{erasure['erasure_id']}").json()["state"] == "running"
    erase_comparisons(curator.sessions, MemoryRegistry(tmp_path / "artifacts"), make_artifacts(tmp_path))
    assert curator.find_words() == []
    finish(curator)
    assert curator.call("GET", f"/v1/erasures/{erasure['erasure_id']}").json()["state"] == "done"
    with curator.sessions() as session:
        assert session.scalars(select(Comparison.vote)).all() == ["left"]


def test_an_erased_user_is_nowhere_and_does_not_come_back(curator: Curator) -> None:
    events, request = start(curator)
    assert len(curator.find_words()) >= 5
    answer = curator.erase()
    assert answer.status_code == 201
    assert curator.find_words() == []
    curator.hear(*events)
    curator.hear(*reversed(events))
    late = asked(7001, f"And the {WORDS}?", f"What {WORDS}?", hashed("ines@shop"))
    curator.hear(said(901, 7001, Edit(text=f"My {WORDS}!"), None))
    curator.hear(late)
    curator.hear(said(902, 7001, Edit(text=f"My {WORDS}!"), None))
    assert curator.find_words() == []
    with curator.sessions() as session:
        assert session.scalars(select(Interaction.user).distinct()).all() == [hashed("tomas@shop")]
        assert session.scalars(select(Feedback.user).distinct()).all() == [hashed("tomas@shop")]
    assert curator.freeze().dataset_sha256 != request.dataset_sha256


def test_the_certificate_says_what_was_done_and_which_models_knew_the_user(curator: Curator) -> None:
    _, request = start(curator)
    certificate = curator.erase().json()["certificate"]
    assert certificate["erased"]["interaction"] == 60
    [replaced] = certificate["datasets"]
    assert replaced["dataset_sha256"] == request.dataset_sha256
    assert certificate["models"] == [{"version": "2", "directly": True}, {"version": "3", "directly": False}]
    assert certificate["promotion_blocked"] == ["2"]
    assert certificate["raw_copies"]["until"] == (NOON + timedelta(days=7)).isoformat()
    with curator.sessions() as session:
        old = session.get_one(Dataset, request.dataset_sha256)
        new = session.get_one(Dataset, old.replaced_by)
        assert session.scalar(select(RetrainRequestRow.outcome)) == "dataset_erased"
    assert not Path(old.uri).exists()
    assert (Path(new.uri) / "manifest.json").exists()
    assert new.manifest["replaces"] == request.dataset_sha256
    assert set(new.manifest["pair_ids"]) == set(old.manifest["pair_ids"])
    assert new.manifest["pair_ids"]


def test_what_others_said_stays(curator: Curator) -> None:
    start(curator)
    with curator.sessions() as session:
        before = set(session.scalars(select(Pair.pair_id).where(Pair.chosen.contains("tomas"))))
    assert before
    curator.erase()
    with curator.sessions() as session:
        assert set(session.scalars(select(Pair.pair_id))) == before


def test_erasing_twice_gives_the_first_certificate_and_an_unknown_user_none(curator: Curator) -> None:
    start(curator)
    first, second = curator.erase(), curator.erase()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    misspelt = curator.erase("Ines@shop")
    assert misspelt.status_code == 404
    assert "nothing was erased" in misspelt.json()["detail"]
    stranger = curator.call("POST", "/v1/erasures", json={"user_id": "nobody@shop", "even_unknown": True})
    assert stranger.status_code == 201
    assert stranger.json()["certificate"]["erased"] == {}
    assert curator.call("GET", f"/v1/erasures/{first.json()['erasure_id']}").json() == first.json()
    assert len(curator.call("GET", "/v1/erasures").json()["erasures"]) == 2
    assert "ines" not in curator.call("GET", "/v1/erasures").text


def test_only_an_admin_erases_and_wrong_requests_are_answered_properly(curator: Curator) -> None:
    for role in ("ops", "frontend"):
        assert curator.erase(role=role).status_code == 403
        assert curator.call("GET", "/v1/erasures", role).status_code == 403
    assert curator.client.post("/v1/erasures", json={"user_id": "ines"}).status_code == 401
    for body in ({}, {"user_id": ""}, {"user_id": "a", "conversation_id": "b"}, {"user": "ines"}):
        answer = curator.call("POST", "/v1/erasures", json=body)
        assert answer.status_code == 422
        assert "ines" not in answer.text
    assert curator.call("GET", f"/v1/erasures/{UUID(int=9)}").status_code == 404
    assert curator.call("GET", "/v1/erasures/xyz").status_code == 422


def test_an_interrupted_erasure_is_finished_with_its_certificate(curator: Curator) -> None:
    start(curator)
    with curator.sessions() as session, session.begin():
        session.add(
            Erasure(
                erasure_id=new_id(), user=hashed("ines@shop"), state="running", requested_by="admin", requested_at=NOON
            )
        )
    finish(curator)
    assert curator.find_words() == []
    assert curator.erase().status_code == 200


def test_a_restored_backup_brings_nobody_back(curator: Curator) -> None:
    """The backup was made before the erasure: the tables hold the words again, and no ledger."""
    events, _ = start(curator)
    first = curator.erase().json()["certificate"]
    with curator.sessions() as session, session.begin():
        session.execute(text("TRUNCATE curator.erasures, curator.tombstones"))
    curator.hear(*events)
    assert curator.find_words()
    finish(curator)
    assert curator.find_words() == []
    curator.hear(*events)
    assert curator.find_words() == []
    again = curator.erase()
    assert (again.status_code, again.json()["requested_by"]) == (200, "admin")
    assert again.json()["certificate"]["erased"]["interaction"] == first["erased"]["interaction"]
    assert "ines" not in (curator.settings.datasets / "erasures.jsonl").read_text()


def test_lineage_leads_nowhere_after_an_erasure(curator: Curator) -> None:
    start(curator)
    assert curator.call("GET", f"/v1/lineage/event/{UUID(int=100_001)}", "ops").status_code == 200
    curator.erase()
    assert curator.call("GET", f"/v1/lineage/event/{UUID(int=100_001)}", "ops").status_code == 404
    assert curator.call("GET", f"/v1/lineage/interaction/{UUID(int=1)}", "ops").status_code == 404
