"""Cells over Postgres: renewed without a way into the gate, placed by a freeze alone, kept without the erased."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.curator.cells import handlers as cells
from services.curator.cells.domain.vectors import Vectors
from services.curator.cells.handlers import CellKeeper, renew_all_cells
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset, preview_dataset
from services.curator.erasure.repository import UserData, delete_user_data
from tests.builders import EMBEDDER, NOON, make_artifacts
from tests.integration.curator.shop import Curator, asked, chose, open_curator

TOPICS = ("kettle", "tax return", "python loop", "whale", "holiday in Rome", "back pain", "guitar", "old clock")
ASKING = ("Tell me about the {}.", "What should I know about the {}?", "Is the {} expensive?", "I hate the {}!")
QUESTIONS = [asking.format(topic) for topic in TOPICS for asking in ASKING]


class OtherEmbedder:
    """The same vectors under another name."""

    version = "other"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return EMBEDDER.embed(texts)


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as made:
        yield made


def ask_all(curator: Curator, questions: Sequence[str] = QUESTIONS, first: int = 1) -> None:
    """Two answers to each question, and a choice between them."""
    for number, question in enumerate(questions, first):
        one, other = 2 * number, 2 * number + 1
        user = f"user {number}"
        answers = [asked(one, question, "It depends.", user=user), asked(other, question, "No idea at all.", user=user)]
        curator.hear(*answers, chose(number, one, other, one, user=user))


def freeze(curator: Curator, embedder: Any = EMBEDDER) -> dict[str, Any]:
    with curator.sessions() as session, session.begin():
        folder = curator.settings.datasets
        artifacts, caps = make_artifacts(folder), Caps(200, 20)
        row = freeze_dataset(session, folder, artifacts, caps, embedder=embedder, parent_version="1", now=NOON)
        return dict(row.manifest)


def read_splits(curator: Curator) -> dict[str, tuple[str, str]]:
    """(cell, split) by prompt hash."""
    with curator.sessions() as session:
        rows = session.execute(text("SELECT prompt_hash, cell, split FROM curator.prompts")).all()
    return {row.prompt_hash: (row.cell, row.split) for row in rows}


def put_into_old_cells(curator: Curator) -> dict[str, str]:
    """Give every prompt the cell that a release before would have: by hash, whatever it says; the splits by prompt."""
    splits = {
        key: ("gate", "validation", "train", "train", "train")[int(key[:8], 16) % 5] for key in read_splits(curator)
    }
    with curator.sessions() as session, session.begin():
        for number, (key, split) in enumerate(sorted(splits.items())):
            cell = f"simhash-v1-{number:02x}"
            session.execute(text("INSERT INTO curator.cells VALUES (:cell, :split)"), {"cell": cell, "split": split})
            session.execute(
                text("UPDATE curator.prompts SET cell = :cell, split = :split WHERE prompt_hash = :key"),
                {"cell": cell, "split": split, "key": key},
            )
    return splits


def test_prompts_wait_until_a_dataset_is_frozen_and_looking_places_none(curator: Curator) -> None:
    ask_all(curator)
    with curator.sessions() as session, session.begin():
        preview = preview_dataset(session, caps=Caps(200, 20), embedder=EMBEDDER, parent_version="1", now=NOON)
    assert set(read_splits(curator).values()) == {("unplaced", "unplaced")}
    manifest = freeze(curator)
    assert set(preview.pairs) == set(manifest["pair_ids"])
    splits = Counter(split for _, split in read_splits(curator).values())
    assert splits["gate"] == pytest.approx(0.2 * len(QUESTIONS), abs=3)
    assert manifest["splits"]["prompts"]["gate"] == splits["gate"]
    assert manifest["splits"]["renewed"] == {}
    assert manifest["counts"]["train"] <= splits["train"]


def test_what_was_placed_stays_where_it_is(curator: Curator) -> None:
    ask_all(curator)
    freeze(curator)
    before = read_splits(curator)
    ask_all(curator, [f"Please say: {question}" for question in QUESTIONS], first=100)
    freeze(curator)
    after = read_splits(curator)
    assert {key: after[key] for key in before} == before
    assert "unplaced" not in {split for _, split in after.values()}


def test_renewing_cells_brings_nothing_from_train_or_validation_into_the_gate(
    curator: Curator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "RENEWED_AT_ONCE", 5)
    ask_all(curator)
    before = put_into_old_cells(curator)
    manifest = freeze(curator)
    after = read_splits(curator)
    assert all(cell.startswith("use-m3-cells-1-") for cell, _ in after.values())
    moved = Counter((split, after[key][1]) for key, split in before.items())
    assert set(moved) <= {("train", "train"), ("validation", "train"), ("validation", "validation")} | {
        ("gate", split) for split in ("train", "validation", "gate")
    }
    assert manifest["splits"]["renewed"] == {f"{one} to {other}": count for (one, other), count in moved.items()}
    gate = {key for key, (_, split) in after.items() if split == "gate"}
    again = freeze(curator, OtherEmbedder())
    assert {key for key, (_, split) in read_splits(curator).items() if split == "gate"} <= gate
    assert again["splits"]["cells"] == "other-cells-1"


def test_the_monitors_process_does_it_ahead(curator: Curator) -> None:
    ask_all(curator)
    put_into_old_cells(curator)
    CellKeeper(curator.sessions, EMBEDDER).tend()
    before = read_splits(curator)
    assert all(cell.startswith("use-m3-") for cell, _ in before.values())
    with curator.sessions() as session:
        renew_all_cells(session, EMBEDDER)
        assert session.scalar(text("SELECT count(*) FROM curator.prompts WHERE embedder IS NULL")) == 0
    freeze(curator)
    assert read_splits(curator) == before


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_database_refuses_the_gate_to_what_may_have_been_trained_on(curator: Curator, split: str) -> None:
    ask_all(curator)
    splits = put_into_old_cells(curator)
    key = next(key for key, of in splits.items() if of == split)
    change = text(
        "UPDATE curator.prompts SET split = 'gate', cell ="
        " (SELECT cell FROM curator.cells WHERE split = 'gate' LIMIT 1) WHERE prompt_hash = :key"
    )
    with pytest.raises(IntegrityError, match="may not come into the gate"), curator.sessions() as session:
        session.execute(change, {"key": key})


def test_a_cell_goes_on_without_the_prompt_that_was_erased(curator: Curator) -> None:
    same = ["Where is my kettle?", "Where is my kettle now?", "My kettle, where is it?"]
    ask_all(curator, [*QUESTIONS, *same])
    freeze(curator)
    with curator.sessions() as session, session.begin():
        rows = session.execute(text("SELECT anchor, cell FROM curator.cells WHERE anchor IS NOT NULL"))
        anchors: dict[str, str] = {anchor: cell for anchor, cell in rows}  # noqa: C416
        members = Counter(cell for cell, _ in read_splits(curator).values())
        gone = (
            sorted(anchors, key=lambda key: -members[anchors[key]])[:2]
            + [key for key in anchors if members[anchors[key]] == 1][:1]
        )
        interactions = session.execute(
            text("SELECT interaction_id FROM curator.interactions WHERE prompt_hash = ANY(:keys)"), {"keys": gone}
        ).scalars()
        found = UserData(frozenset(interactions), frozenset(), frozenset(), frozenset(), frozenset(gone))
        for table in ("pairs", "labels", "feedback"):
            session.execute(text(f"DELETE FROM curator.{table}"))
        delete_user_data(session, found)
    with curator.sessions() as session:
        left = session.execute(text("SELECT cell, anchor FROM curator.cells")).all()
        known = set(session.scalars(text("SELECT prompt_hash FROM curator.prompts")))
    assert not set(gone) & known
    for cell, anchor in left:
        assert anchor is None or anchor in known
        assert anchor is not None or cell == "unplaced" or cell == anchors[gone[2]]
