"""An import beside live users, against a real Postgres: its lineage, and taking it back as if it had never been."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from cli.exchange.events import AnyEvent, Import
from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Preferred
from cli.exchange.sources import pairs
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from services.curator.erasure.handlers import Eraser
from services.curator.imports.handlers import Withdrawer
from shared.events import Event, InteractionRecorded, Thumb
from shared.tables.curator import Dataset
from shared.user_hashes import UserHashes
from tests.builders import EMBEDDER, NOON, make_artifacts, make_feedback
from tests.integration.curator.scene import SECRET, Curator, adopted, asked, hashed, live, said

CAPS = Caps(per_user=200, per_prompt=20)
ABOUT = Import("spring", "pairs", datetime(2026, 1, 1, tzinfo=UTC), UserHashes(SECRET))
TABLES = ("interactions", "feedback", "prompts", "pairs", "labels", "conflicting_events")


@pytest.fixture
def curator(curator_over_http: Curator) -> Curator:
    curator_over_http.hear(
        adopted(), *live(hashed("ines@shop"), 1, "kettle"), *live(hashed("tomas@shop"), 1001, "lamp")
    )
    return curator_over_http


def import_rows(about: Import = ABOUT) -> list[AnyEvent]:
    """Rows of their own, and contrary words on what Ines was asked: the same prompt, the same two answers."""
    [*_, first, second, _, _] = live(hashed("ines@shop"), 1, "kettle")
    assert isinstance(first, InteractionRecorded)
    assert isinstance(second, InteractionRecorded)
    messages, texts = first.messages, (first.answer, second.answer)
    answers = [ImportedAnswer(f"again{place}", messages, one) for place, one in enumerate(texts)]
    said_so = ImportedFeedback("again", "again1", Preferred("again0", "again1"), "wanda@shop")
    rows = [
        {
            "prompt": f"imported {number} shelf",
            "chosen": f"yes {number} rug it is",
            "rejected": "no",
            "user": "wanda@shop",
        }
        for number in range(40)
    ]
    found = [pairs.read(row, Options()) for row in rows]
    return [event for one in [*found, Found(answers, [said_so])] for event in about.derive_events(one)]


def freeze(curator: Curator) -> str:
    with curator.sessions() as session, session.begin():
        artifacts = make_artifacts(curator.settings.datasets)
        row = freeze_dataset(
            session,
            curator.settings.datasets,
            artifacts=artifacts,
            caps=CAPS,
            embedder=EMBEDDER,
            parent_version="1",
            now=NOON,
        )
        return row.dataset_sha256


def dump(curator: Curator) -> dict[str, list[str]]:
    with curator.sessions() as session:
        return {
            table: sorted(
                _without_numbers(row) for row in session.execute(text(f"SELECT * FROM curator.{table}")).mappings()
            )
            for table in TABLES
        }


def _without_numbers(row: Any) -> str:
    return str({name: value for name, value in row.items() if name not in ("sequence", "created_at", "stored_at")})


def withdraw(curator: Curator, name: str = "spring", role: str = "admin") -> Any:
    return curator.call("POST", "/v1/imports/withdrawals", role, json={"name": name})


def test_an_import_taken_back_leaves_tables_and_datasets_as_if_it_had_never_been(curator: Curator) -> None:
    untouched, before = freeze(curator), dump(curator)
    curator.hear(*import_rows())
    with_it = freeze(curator)
    assert with_it != untouched
    withdrawal = withdraw(curator)
    assert (withdrawal.status_code, withdrawal.json()["state"]) == (201, "done")
    assert dump(curator) == before
    assert freeze(curator) == untouched
    with curator.sessions() as session:
        old = session.get_one(Dataset, with_it)
        assert old.erased_at is not None
        assert session.get_one(Dataset, untouched).erased_at is None
    assert not Path(old.uri).exists()


def test_what_was_taken_back_does_not_come_back_by_a_replay_or_a_restored_table(curator: Curator) -> None:
    before = dump(curator)
    events: Iterable[Event] = import_rows()
    curator.hear(*events)
    withdraw(curator)
    curator.hear(*events)
    curator.hear(*reversed(list(events)))
    assert dump(curator) == before
    with curator.sessions() as session, session.begin():
        session.execute(text("TRUNCATE curator.import_withdrawals, curator.tombstones"))
    curator.hear(*events)
    assert dump(curator) != before
    folder = curator.settings.datasets
    eraser = Eraser(curator.sessions, folder, make_artifacts(folder), timedelta(days=7), lambda: NOON)
    Withdrawer(eraser).finish_running()
    assert dump(curator) == before


def test_another_import_of_the_same_rows_stays(curator: Curator) -> None:
    curator.hear(*import_rows(Import("summer", "pairs", ABOUT.at, UserHashes(SECRET))))
    before = dump(curator)
    curator.hear(*import_rows())
    withdraw(curator)
    assert dump(curator) == before


def test_what_a_live_user_said_of_an_imported_answer_goes_with_it(curator: Curator) -> None:
    before = dump(curator)
    [first, *rest] = import_rows()
    curator.hear(first, *rest)
    about: UUID = first.interaction_id
    event = make_feedback(900_000, about, Thumb(value="up"), received_at=NOON, user=hashed("ines@shop"))
    curator.hear(event)
    withdraw(curator)
    assert dump(curator) == before


def test_importing_twice_changes_nothing(curator: Curator) -> None:
    curator.hear(*import_rows())
    dataset, before = freeze(curator), dump(curator)
    curator.hear(*import_rows())
    curator.hear(*reversed(import_rows()))
    assert dump(curator) == before
    assert freeze(curator) == dataset


def test_a_user_who_was_imported_is_erased_like_any_other(curator: Curator) -> None:
    curator.hear(*import_rows())
    assert curator.erase("wanda@shop").json()["certificate"]["erased"]["event"] == 41
    curator.hear(*import_rows())
    listed = curator.call("GET", "/v1/imports").json()["imports"]
    assert listed == [{"name": "spring", "answers": 2, "feedback": 0}]


def test_the_list_and_the_lineage_name_the_import(curator: Curator) -> None:
    assert curator.call("GET", "/v1/imports", "ops").json() == {"imports": [], "withdrawals": []}
    events = import_rows()
    curator.hear(*events)
    listed = curator.call("GET", "/v1/imports", "ops").json()
    assert listed["imports"] == [{"name": "spring", "answers": 82, "feedback": 41}]
    said_first = next(one for one in events if hasattr(one, "event_id"))
    lineage = curator.call("GET", f"/v1/lineage/event/{said_first.event_id}", "ops").json()
    assert lineage["imports"] == ["spring"]
    assert curator.call("GET", f"/v1/lineage/dataset/{freeze(curator)}", "ops").json()["imports"] == ["spring"]
    withdraw(curator)
    [withdrawal] = curator.call("GET", "/v1/imports", "ops").json()["withdrawals"]
    assert withdrawal["certificate"]["erased"]["interaction"] == 82


def test_taking_back_twice_gives_the_first_certificate_and_an_unknown_import_none(curator: Curator) -> None:
    curator.hear(
        *import_rows(), asked(7_001, "a question", "an answer", None), said(901, 7_001, Thumb(value="up"), None)
    )
    first, second = withdraw(curator), withdraw(curator)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert withdraw(curator, "autumn").status_code == 404
    assert withdraw(curator, role="ops").status_code == 403
    assert withdraw(curator, "").status_code == 422
