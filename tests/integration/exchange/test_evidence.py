"""An import is evidence like any other: split, in the lineage; what learnt from one taken back is not promoted."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest
from sqlalchemy import text, update

from cli.exchange.events import AnyEvent, Import
from cli.exchange.found import Options
from cli.exchange.sources import pairs
from shared.conversation import calculate_prompt_hash
from shared.ids import new_id
from shared.tables.curator import Dataset, RetrainRequestRow
from shared.tables.trainer import Run
from shared.user_hashes import UserHashes
from tests.builders import NOON
from tests.integration.curator.scene import SECRET, VOCABULARY, Curator, adopted, hashed, live
from tests.integration.curator.test_imports import freeze
from tests.integration.deployer.scene import Setup

ROWS = 120


@pytest.fixture
def curator(curator_over_http: Curator) -> Curator:
    curator_over_http.hear(adopted(), *live(hashed("ines@shop"), 1, "kettle"))
    return curator_over_http


@pytest.fixture
def deployer(database_url: str, tmp_path: Path) -> Iterator[Setup]:
    made = Setup(database_url, tmp_path / "deployer", "http://127.0.0.1:1/v1")
    yield made
    made.close()


def draw_questions(rows: int = ROWS) -> list[str]:
    rng = random.Random(7)
    return [f"shelf {' '.join(rng.sample(VOCABULARY, 9))}" for _ in range(rows)]


def import_rows(questions: list[str], name: str = "spring") -> list[AnyEvent]:
    rng, about = random.Random(8), Import(name, "pairs", datetime(2026, 1, 1, tzinfo=UTC), UserHashes(SECRET))
    rows = [
        {"prompt": question, "chosen": " ".join(rng.sample(VOCABULARY, 8)), "rejected": "no", "user": "wanda@shop"}
        for question in questions
    ]
    return [event for row in rows for event in about.derive_events(pairs.read(row, Options()))]


def hash_prompt(question: str) -> str:
    return calculate_prompt_hash([{"role": "user", "content": question}])


def read_splits(curator: Curator) -> dict[str, str]:
    with curator.sessions() as session:
        rows = session.execute(text("SELECT prompt_hash, split FROM curator.prompts")).all()
    return {row.prompt_hash: row.split for row in rows}


def read_questions(curator: Curator, dataset: str) -> dict[str, set[str]]:
    """File name -> the questions in its rows."""
    with curator.sessions() as session:
        folder = session.get_one(Dataset, dataset).uri
    found: dict[str, set[str]] = defaultdict(set)
    for file in Path(folder).glob("*.parquet"):
        for row in pyarrow.parquet.read_table(file).to_pylist():
            found[file.stem].add(row["prompt"][-1]["content"])
    return found


def train(curator: Curator, request: RetrainRequestRow, version: str) -> None:
    """A run on the request's dataset made a candidate."""
    run = Run(
        run_id=new_id(), request_id=request.request_id, dataset_sha256=request.dataset_sha256, dataset_uri="",
        parent_version="1", recipe={}, recipe_sha256="", state="succeeded", candidate_version=version, deadline_at=NOON,
    )  # fmt: skip
    with curator.sessions() as session, session.begin():
        session.add(run)


def test_imported_prompts_are_split_like_any_others_and_none_of_the_gate_is_trained_on(curator: Curator) -> None:
    questions = draw_questions()
    curator.hear(*import_rows(questions))
    dataset = freeze(curator)
    splits = read_splits(curator)
    of_import = {question: splits[hash_prompt(question)] for question in questions}
    shares = {split: list(of_import.values()).count(split) / ROWS for split in ("train", "validation", "gate")}
    assert shares["gate"] == pytest.approx(0.2, abs=0.08)
    assert shares["validation"] == pytest.approx(0.1, abs=0.06)
    assert sum(shares.values()) == 1
    rows = read_questions(curator, dataset)
    assert {of_import[one] for one in rows["train"] & of_import.keys()} == {"train"}
    assert {of_import[one] for one in rows["validation"] & of_import.keys()} == {"validation"}


def test_an_import_cannot_bring_a_prompt_of_the_gate_into_training(curator: Curator) -> None:
    first = freeze(curator)
    gate = {key for key, split in read_splits(curator).items() if split == "gate"}
    with curator.sessions() as session:
        rows = session.execute(text("SELECT prompt_hash, messages FROM curator.prompts WHERE split = 'gate'")).all()
    asked = [row.messages[-1]["content"] for row in rows]
    assert asked
    curator.hear(*import_rows(asked + draw_questions(20)))
    second = freeze(curator)
    assert second != first
    assert {hash_prompt(question) for question in asked} == gate
    assert gate <= {key for key, split in read_splits(curator).items() if split == "gate"}
    held = set().union(*read_questions(curator, second).values())
    assert held & set(draw_questions(20))
    assert held.isdisjoint(asked)


def test_lineage_names_the_import_from_each_side_and_the_record_that_it_came_from(curator: Curator) -> None:
    curator.hear(*import_rows(draw_questions(30)), *import_rows(draw_questions(30), "summer"))
    request = curator.freeze()
    train(curator, request, "2")
    manifest = curator.call("GET", f"/v1/datasets/{request.dataset_sha256}", "ops").json()["manifest"]
    named = set()
    for pair_id in manifest["pair_ids"]:
        lineage = curator.call("GET", f"/v1/lineage/pair/{pair_id}", "ops").json()
        named.add(tuple(lineage["imports"]))
        assert request.dataset_sha256 in lineage["datasets"]
    assert named == {(), ("spring",), ("summer",)}
    assert curator.call("GET", "/v1/lineage/version/2", "ops").json()["imports"] == ["spring", "summer"]
    with curator.sessions() as session:
        stored = session.execute(
            text("SELECT DISTINCT event->'metadata'->'imported'->>'tool' FROM curator.feedback WHERE key_id = 'import'")
        ).scalars()
        assert stored.all() == ["pairs"]


def test_a_candidate_trained_on_an_import_that_was_taken_back_is_not_promoted(
    curator: Curator, deployer: Setup
) -> None:
    curator.hear(*import_rows(draw_questions(30)))
    request = curator.freeze()
    rollout = deployer.open_rollout()
    with curator.sessions() as session, session.begin():
        session.execute(
            update(Run).values(dataset_sha256=request.dataset_sha256, candidate_version="2", recipe_sha256="")
        )
    certificate = curator.call("POST", "/v1/imports/withdrawals", json={"name": "spring"}).json()["certificate"]
    assert certificate["models"] == [{"version": "2", "directly": True}]
    assert certificate["promotion_blocked"] == ["2"]
    refused = deployer.approve(rollout)
    assert refused.status_code == 409
    assert "an import that was taken back" in refused.json()["detail"]
    deployer.reconciler.reconcile()
    closed = deployer.load(rollout)
    assert (closed["state"], closed["summary"]) == ("aborted", "what it was trained on was erased or taken back")


def test_a_candidate_that_learnt_nothing_of_it_goes_on(curator: Curator, deployer: Setup) -> None:
    request = curator.freeze()
    rollout = deployer.open_rollout()
    with curator.sessions() as session, session.begin():
        session.execute(update(Run).values(dataset_sha256=request.dataset_sha256, candidate_version="2"))
    curator.hear(*import_rows(draw_questions(30)))
    certificate = curator.call("POST", "/v1/imports/withdrawals", json={"name": "spring"}).json()["certificate"]
    assert (certificate["models"], certificate["promotion_blocked"]) == ([], [])
    deployer.reconciler.reconcile()
    assert deployer.load(rollout)["state"] == "awaiting_approval"
