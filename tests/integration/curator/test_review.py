"""What waits for people, over HTTP: parked feedback, contested pairs, quarantine. Wrong ids of lineage as well."""

import random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select

from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from shared.events import (
    Event,
    Thumb,
)
from shared.tables.quarantine import QuarantineDecision
from tests.builders import EMBEDDER, NOON, make_artifacts, make_choice
from tests.integration.curator.scene import VOCABULARY, Curator, adopted, asked, hashed, live, said


@pytest.fixture
def curator(curator_over_http: Curator) -> Curator:
    return curator_over_http


def test_parked_feedback_is_listed_with_what_it_waits_for(curator: Curator) -> None:
    curator.hear(said(1, 77, Thumb(value="up"), "ines"))
    found = curator.call("GET", "/v1/parked", "ops").json()
    assert (found["count"], found["parked"][0]["missing"]) == (1, [str(UUID(int=77))])
    assert curator.call("GET", "/v1/parked", "frontend").status_code == 403


def test_a_contested_pair_is_shown_with_both_sides_and_decided_by_an_admin(curator: Curator) -> None:
    one, other = "Send us the number of the lamp.", "I know nothing of a lamp, my friend."
    for number, user in ((1, "ines"), (3, "tomas")):
        curator.hear(asked(number, "My lamp?", one, user), asked(number + 1, "My lamp?", other, user))
        curator.hear(said(number, number, make_choice(number, number + 1, number + number // 3), user))
    [contested] = curator.call("GET", "/v1/contested", "ops").json()["contested"]
    assert {(side["chosen"], side["rejected"]) for side in contested["sides"]} == {(one, other), (other, one)}
    pair_id = contested["sides"][0]["pair_id"]
    path = f"/v1/quarantine/pair/{pair_id}/release"
    assert curator.call("POST", path, "ops").status_code == 403
    decided = curator.call("POST", path, json={"reason": "the first is right"}).json()
    assert (decided["decision"], decided["decided_by"], decided["subject_id"]) == ("release", "admin", pair_id)
    assert curator.call("POST", f"/v1/quarantine/pair/{pair_id}/reject").status_code == 200
    assert curator.call("GET", "/v1/quarantine/decisions", "ops").json()[0]["decision"] == "reject"
    with curator.sessions() as session:
        assert len(session.scalars(select(QuarantineDecision)).all()) == 2
    assert curator.call("POST", "/v1/quarantine/pair/unknown/release").status_code == 404
    assert curator.call("POST", f"/v1/quarantine/pair/{pair_id}/forget").status_code == 422
    assert curator.call("GET", "/v1/quarantine", "ops").json() == {"quarantined": []}


def rush(user: str, start: int, count: int = 60) -> list[Event]:
    """So many choices within a minute, each between two answers to another question; the gate keeps some of them."""
    rng = random.Random(start)
    events: list[Event] = []
    for number in range(start, start + 2 * count, 2):
        question = " ".join(rng.sample(VOCABULARY, 9))
        events += [asked(number + at, question, " ".join(rng.sample(VOCABULARY, 9)), user) for at in (0, 1)]
        choice = make_choice(number, number + 1)
        events.append(msgspec.structs.replace(said(number, number, choice, user), received_at=NOON))
    return events


def count_rows(curator: Curator) -> int:
    """Pairs of a dataset frozen now."""
    with curator.sessions() as session, session.begin():
        folder = curator.settings.datasets
        row = freeze_dataset(
            session, folder, make_artifacts(folder), Caps(200, 20), embedder=EMBEDDER, parent_version="1", now=NOON
        )
        return int(row.manifest["counts"]["train"]) + int(row.manifest["counts"]["validation"])


def decide(curator: Curator, kind: str, subject: str, decision: str, role: str = "admin") -> Any:
    return curator.call("POST", f"/v1/quarantine/{kind}/{subject}/{decision}", role, json={"reason": "a test of ours"})


def test_a_burst_waits_until_an_admin_releases_it_and_is_gone_when_rejected(curator: Curator) -> None:
    curator.hear(adopted(), *live(hashed("tomas@shop"), 1001, "tomas"), *rush(hashed("robot"), 5001))
    without = count_rows(curator)
    [case] = curator.call("GET", "/v1/quarantine", "ops").json()["quarantined"]
    assert (case["subject_kind"], case["subject_id"], case["reason"]) == ("user", hashed("robot"), "burst")
    assert len(case["detail"]["events"]["burst"]) > 30
    assert decide(curator, "user", hashed("robot"), "release", "ops").status_code == 403
    assert count_rows(curator) == without
    assert decide(curator, "user", hashed("robot"), "release").status_code == 200
    released = count_rows(curator)
    assert released > without
    rejected = decide(curator, "user", hashed("robot"), "reject")
    assert (rejected.status_code, rejected.json()["reason"]) == (200, "a test of ours")
    assert count_rows(curator) == without
    assert curator.call("GET", "/v1/quarantine", "ops").json() == {"quarantined": []}
    assert [one["decision"] for one in curator.call("GET", "/v1/quarantine/decisions", "ops").json()] == ["reject"]


def test_one_event_of_a_case_is_released_by_itself(curator: Curator) -> None:
    curator.hear(adopted(), *live(hashed("tomas@shop"), 1001, "tomas"), *rush(hashed("robot"), 5001))
    count_rows(curator)
    [case] = curator.call("GET", "/v1/quarantine", "ops").json()["quarantined"]
    event_id, *others = case["detail"]["events"]["burst"]
    assert decide(curator, "event", event_id, "release").status_code == 200
    count_rows(curator)
    [case] = curator.call("GET", "/v1/quarantine", "ops").json()["quarantined"]
    assert case["detail"]["events"]["burst"] == others


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("user/nobody/release", 404),
        (f"event/{UUID(int=9)}/release", 404),
        ("event/xyz/reject", 404),
        ("pair/unknown/reject", 404),
        ("label/unknown/release", 404),
        ("user/nobody/burn", 422),
        ("house/nobody/release", 422),
    ],
)
def test_what_is_not_in_quarantine_cannot_be_decided_on(curator: Curator, path: str, status: int) -> None:
    answer = curator.call("POST", f"/v1/quarantine/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        (f"event/{UUID(int=9)}", 404),
        (f"interaction/{UUID(int=9)}", 404),
        ("pair/unknown", 404),
        ("dataset/unknown", 404),
        ("version/unknown", 404),
        ("event/xyz", 422),
        ("interaction/xyz", 422),
        ("house/1", 422),
    ],
)
def test_lineage_of_wrong_ids_is_a_problem_and_of_wrong_callers_refused(
    curator: Curator, subject: str, status: int
) -> None:
    path = f"/v1/lineage/{subject}"
    answer = curator.call("GET", path, "ops")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert curator.call("GET", path, "frontend").status_code == 403
    assert curator.client.get(path).status_code == 401
