"""The curator over HTTP: who may read and act, pairs by the page, lineage."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from services.curator.app.api import create_router
from services.curator.requests.api import create_loop_router
from shared.auth import KeyRing, create_key, load_keys
from shared.events import Edit, InteractionRecorded
from shared.http import create_app
from shared.ids import new_id
from shared.tables import trainer
from shared.tables.access import ApiKey
from shared.tables.curator import Pair, RetrainRequestRow
from tests.builders import EMBEDDER, MORNING
from tests.integration.curator.shop import Curator, adopted, asked, chose, invent_history, open_curator, said


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        yield curator


@dataclass(frozen=True)
class Caller:
    client: TestClient
    keys: dict[str, str]

    def get(self, path: str, role: str = "ops") -> Any:
        return self.client.get(path, headers={"authorization": f"Bearer {self.keys[role]}"})

    def post(self, path: str, role: str = "admin") -> Any:
        return self.client.post(path, headers={"authorization": f"Bearer {self.keys[role]}"})


@pytest.fixture
def caller(curator: Curator) -> Iterator[Caller]:
    with curator.sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("ops", "admin", "frontend")}
    app = create_app("curator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(curator.sessions))
    app.state.keys.refresh()
    app.include_router(create_router(curator.sessions))
    app.include_router(create_loop_router(curator.sessions, curator.settings, curator.own, EMBEDDER, lambda: MORNING))
    with TestClient(app) as client:
        yield Caller(client, keys)


def test_reading_takes_ops_and_acting_takes_an_admin(caller: Caller) -> None:
    for path in ("/v1/pairs", "/v1/datasets", "/v1/requests", "/v1/summary"):
        assert caller.get(path).status_code == 200
        assert caller.get(path, "frontend").status_code == 403
    for path in ("/v1/retrain", "/v1/pause", "/v1/resume"):
        assert caller.post(path, "ops").status_code == 403


def test_a_paused_loop_asks_for_nothing(caller: Caller, curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(8)))
    assert caller.post("/v1/pause").json() == {"paused": True}
    assert caller.post("/v1/retrain").status_code == 409
    assert caller.post("/v1/resume").json() == {"paused": False}
    assert caller.post("/v1/retrain").status_code == 202
    [asked_for] = caller.get("/v1/requests").json()["requests"]
    assert (asked_for["state"], asked_for["requested_by"]) == ("open", "key:admin")


def test_lineage_leads_from_a_click_to_the_answers_it_led_to_and_back(caller: Caller, curator: Curator) -> None:
    curator.hear(adopted(), *invent_history(random.Random(9)))
    row = curator.retrain()
    save_run(curator, row, "2")
    curator.hear(asked(9001, "And now?", "Please send us a photo.", version="2"))
    pair_id = caller.get(f"/v1/datasets/{row.dataset_sha256}").json()["manifest"]["pair_ids"][0]
    click = caller.get(f"/v1/lineage/pair/{pair_id}").json()["events"][0]
    ahead = caller.get(f"/v1/lineage/event/{click}").json()
    assert (ahead["datasets"], ahead["versions"]) == ([row.dataset_sha256], ["2"])
    assert ahead["served"] == [str(UUID(int=9001))]
    back = caller.get(f"/v1/lineage/interaction/{UUID(int=9001)}").json()
    assert click in back["events"]
    assert pair_id in back["pairs"]
    assert caller.get("/v1/lineage/version/2").json()["datasets"] == [row.dataset_sha256]
    assert caller.get("/v1/lineage/version/99").status_code == 404
    assert caller.get("/v1/lineage/event/xyz").status_code == 422


def save_run(curator: Curator, row: RetrainRequestRow, version: str) -> None:
    run = trainer.Run(
        run_id=new_id(),
        request_id=row.request_id,
        dataset_sha256=row.dataset_sha256,
        dataset_uri="",
        parent_version="1",
        recipe={},
        recipe_sha256="",
        state="succeeded",
        candidate_version=version,
        deadline_at=MORNING,
    )
    with curator.sessions() as session, session.begin():
        session.add(run)


def test_pairs_are_found_by_their_filters_and_counted(caller: Caller, curator: Curator) -> None:
    curator.hear(asked(1, "Where is it?", "On its way to you."), asked(2, "Where is it?", "No idea at all, sorry."))
    curator.hear(chose(1, 1, 2, 1))
    found = caller.get(f"/v1/pairs?interaction_id={UUID(int=2)}&rule=choice&state=active").json()["pairs"]
    assert [pair["chosen"] for pair in found] == ["On its way to you."]
    assert caller.get(f"/v1/pairs?interaction_id={UUID(int=3)}").json()["pairs"] == []
    summary = caller.get("/v1/summary").json()
    assert summary["interactions"] == 2
    assert summary["events"] == {"choice": 1}
    assert summary["pairs"]["by_rule"] == {"choice": 1}
    assert summary["pairs"]["by_rule_and_split"] == {"choice": summary["pairs"]["by_split"]}


def test_pages_of_pairs_hold_each_pair_once_newest_first(caller: Caller, curator: Curator) -> None:
    history = invent_history(random.Random(10))
    for start in range(0, len(history), 40):
        curator.hear(*history[start : start + 40])
    everything = [pair["pair_id"] for pair in caller.get("/v1/pairs?limit=1000").json()["pairs"]]
    assert len(everything) > 20
    found, page = [], caller.get("/v1/pairs?limit=7").json()
    while page["next_cursor"] is not None:
        found += [pair["pair_id"] for pair in page["pairs"]]
        page = caller.get(f"/v1/pairs?limit=7&after={page['next_cursor']}").json()
    assert found + [pair["pair_id"] for pair in page["pairs"]] == everything
    assert caller.get(f"/v1/pairs?limit={len(everything)}").json()["next_cursor"] is None
    chosen = caller.get("/v1/pairs?limit=2&rule=edit").json()
    following = caller.get(f"/v1/pairs?limit=2&rule=edit&after={chosen['next_cursor']}").json()
    assert {pair["rule"] for pair in following["pairs"]} == {"edit"}


@pytest.mark.parametrize(
    "cursor", ["", "x", "bm90IGEgY3Vyc29y", "MjAyNi0wMS0wMVQwMDowMDowMCBhYmM", "\u00e9\u00e9", "a" * 501]
)
def test_a_cursor_of_somebodys_own_making_is_refused_by_name(caller: Caller, cursor: str) -> None:
    answer = caller.get(f"/v1/pairs?after={cursor}")
    assert answer.status_code == 422
    assert "after" in json.dumps(answer.json()["errors"])


def test_lineage_of_an_id_that_two_keys_used_shows_both(caller: Caller, curator: Curator) -> None:
    with curator.sessions() as session:
        keys = sorted(session.scalars(select(ApiKey.key_id)))[:2]
    for key_id, first in zip(keys, (1, 3), strict=True):
        curator.hear(
            asked(first, f"Where is {first}?", "On its way to you."),
            asked(first + 1, f"Where is {first}?", "No idea, sorry."),
        )
        curator.hear(msgspec.structs.replace(chose(1, first, first + 1, first), key_id=key_id))
    assert len(caller.get(f"/v1/lineage/event/{UUID(int=100_001)}").json()["pairs"]) == 2


def test_a_data_report_shows_texts_to_admins_and_its_files_hold_none(caller: Caller, curator: Curator) -> None:
    history = invent_history(random.Random(8))
    served = [one for one in history if isinstance(one, InteractionRecorded)]
    edits = [Edit(text=one.answer.replace(".", "!")) for one in served]
    trivial = [
        said(2_000 + number, one.interaction_id.int, edit, user=str(one.user))
        for number, (one, edit) in enumerate(zip(served, edits, strict=True))
    ]
    curator.hear(adopted(), *history, *trivial)
    assert caller.post("/v1/retrain").status_code == 202
    [dataset] = caller.get("/v1/datasets").json()["datasets"]
    path = f"/v1/datasets/{dataset['dataset_sha256']}/report"
    assert caller.get(path).status_code == 403
    assert caller.get("/v1/datasets/none/report", "admin").status_code == 404
    manifest = caller.get(path.removesuffix("/report")).json()["manifest"]
    reasons = {(one["stage"], one["reason"]): one for one in manifest["report"]["not_kept"]}
    for stage in ("refused", "left_out"):
        assert {name: one["count"] for (of, name), one in reasons.items() if of == stage} == manifest[stage]
    example = next(one["examples"][0] for (of, _), one in reasons.items() if of == "refused")
    with curator.sessions() as session:
        refused = session.get_one(Pair, example)
    headers = caller.get(path, "admin").headers
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    shown, stored = caller.get(path, "admin").text, (Path(dataset["uri"]) / "meta/report.html").read_text()
    assert escape(refused.rejected) in shown
    assert refused.pair_id in stored
    assert escape(refused.rejected) not in stored
    assert json.loads((Path(dataset["uri"]) / "meta/report.json").read_text()) == manifest["report"]
    with curator.sessions() as session, session.begin():
        session.execute(delete(Pair).where(Pair.pair_id == refused.pair_id))
    later = caller.get(path, "admin").text
    assert escape(refused.rejected) not in later
    assert "is gone: withdrawn or erased" in later
