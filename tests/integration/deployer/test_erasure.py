"""A user who is everywhere is nowhere after an erasure, and the champion that learned from them goes on serving."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, select, update

from local.servers.postgres import find_binary
from services.curator.erasure.handlers import Eraser
from services.deployer.domain.approval import calculate_approval_hash
from services.evaluator.handlers.completion import log_report
from services.evaluator.handlers.erasure import erase_comparisons
from shared.events import InteractionRecorded, Thumb
from shared.tables.deployer import Rollout, Vote
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.quarantine import Quarantined, QuarantineDecision
from shared.user_stores import OTHERS, TABLES
from tests.builders import NOON, make_artifacts
from tests.integration.curator.erasure_scene import judge, start
from tests.integration.curator.scene import WORDS, Curator, hashed, open_curator, read_text, said
from tests.integration.deployer.scene import HASHES, Setup
from tests.integration.deployer.test_commands import erase_dataset

USER = hashed("ines@shop")


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path / "home") as curator:
        yield curator


def plant(curator: Curator, setup: Setup) -> tuple[dict[str, Any], Evaluation]:
    """Ines asks, votes, is judged about, judges herself, and is set aside."""
    events, _ = start(curator)
    assert isinstance(events[0], InteractionRecorded)
    curator.hear(said(902, 1, Thumb(value="up"), USER))
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user=USER)
    setup.vote(rollout, canary=True, up=True, user="somebody else")
    evaluation = judge(curator, events[0].messages[0]["content"], report_uri="somewhere")
    assert evaluation.report is not None
    log_report(setup.registry, make_artifacts(curator.settings.home), evaluation, evaluation.report)
    with curator.sessions() as session, session.begin():
        session.execute(update(Comparison).values(voter=USER, offered_to=USER))
        for subject, detail in ((USER, {}), ("another", {"alike": [USER]})):
            session.add(
                Quarantined(subject_kind="user", subject_id=subject, reason="burst", detail=detail, found_at=NOON)
            )
        session.add(
            QuarantineDecision(subject_kind="user", subject_id=USER, decision="release", decided_by="a", reason="")
        )
    return rollout, evaluation


def dump(database_url: str) -> str:
    """Every row of every table but the erasure ledger, as text."""
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [find_binary("pg_dump"), "--data-only", "--exclude-table-data=curator.erasures", f"--dbname={url}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def find_in_files(folder: Path) -> list[str]:
    """Files in which the words or the hash stand; the journal keeps the hash, which keeps the user erased."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "erasures.jsonl"]
    return [path.name for path in files if any(mark in read_text(path) for mark in (WORDS, USER))]


def test_a_user_who_is_everywhere_is_nowhere_after_an_erasure(
    curator: Curator, setup: Setup, database_url: str, tmp_path: Path
) -> None:
    rollout, evaluation = plant(curator, setup)
    before = dump(database_url)
    for store in TABLES:
        if store.table not in ("curator.datasets", "curator.detectors"):  # they hold no users today
            copied = before.partition(f"COPY {store.table} ")[2].partition("\n\\.")[0]
            assert USER in copied or WORDS in copied, f"nothing was planted in {store.table}"
    assert {"report.html", "texts.json", "train.parquet"} <= set(find_in_files(tmp_path))
    erasure = curator.erase().json()
    assert erasure["state"] == "running"

    setup.maintenance.erase_users()
    erase_comparisons(curator.sessions, setup.registry, make_artifacts(tmp_path))
    folder = curator.settings.datasets
    eraser = Eraser(curator.sessions, folder, make_artifacts(folder), timedelta(days=7), lambda: NOON)
    eraser.finish_running()

    done = curator.call("GET", f"/v1/erasures/{erasure['erasure_id']}").json()
    assert done["state"] == "done"
    places = [place["place"] for place in done["certificate"]["places"]]
    assert places == [store.table for store in TABLES] + [store.place for store in OTHERS]
    after = dump(database_url)
    assert (USER in after, WORDS in after) == (False, False)
    assert find_in_files(tmp_path) == []
    with curator.sessions() as session:
        assert len(set(session.scalars(select(Vote.user)))) == 2, "votes count on"
        assert session.scalars(select(Comparison.vote)).all() == ["left"]
        assert session.get_one(Evaluation, evaluation.evaluation_id).report_uri == "somewhere"
    assert setup.count_votes(rollout) == (0, 2)


def test_what_an_erased_user_sends_or_a_replay_brings_is_anonymous_to_the_deployer(
    curator: Curator, setup: Setup, database_url: str
) -> None:
    rollout, _ = plant(curator, setup)
    curator.erase()
    setup.maintenance.erase_users()
    setup.vote(rollout, canary=True, up=False, user=USER)
    setup.vote(rollout, canary=True, up=False, user=USER, late=True)
    dumped = dump(database_url)
    for table in ("deployer.votes", "deployer.served_interactions", "deployer.feedback"):
        assert USER not in dumped.partition(f"COPY {table} ")[2].partition("\n\\.")[0], table
    assert setup.count_votes(rollout) == (0, 2)


def test_the_champion_that_learned_from_an_erased_user_still_verifies_and_rolls_back(setup: Setup) -> None:
    rollout = setup.start_canary()
    path = f"/v1/rollouts/{rollout['rollout_id']}/promote"
    assert setup.call("POST", path, body={"reason": "all at once"}).status_code == 200
    assert setup.call("GET", "/v1/routing", role="ops").json()["champion"]["version"] == "2"
    erase_dataset(setup)
    setup.reconciler.reconcile()
    assert setup.call("GET", "/v1/routing", role="ops").json()["champion"]["version"] == "2", "it goes on serving"
    with setup.sessions() as session:
        stored = session.scalars(select(Rollout)).one()
    hashes = {name.removesuffix("_sha256"): value for name, value in HASHES.items()}
    version = setup.registry.load_version("2")
    hashes |= {"content": version.tags["content_sha256"], "model": version.served_model}
    assert stored.approval_hash == calculate_approval_hash(**hashes, report="p" * 64)
    setup.binding.files.check(version)
    assert setup.call("POST", "/v1/rollback", body={"reason": "back"}).status_code == 200
    assert setup.call("GET", "/v1/routing", role="ops").json()["champion"]["version"] == "1"
