"""What raters see and say, and who may see what."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from shared.ids import new_id
from shared.tables.evaluator import Comparison
from tests.integration.evaluator.scene import ITEMS, RATERS, Room, open_voting, with_plan


def test_a_rater_learns_nothing_but_the_prompt_and_the_two_answers(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    body = room.get("/v1/comparisons/next").json()
    assert body.keys() == {"comparison_id", "messages", "left", "right"}
    assert room.get("/v1/evaluations", role="rater").status_code == 403
    assert room.get("/v1/comparisons/next", role="frontend").status_code == 403


def test_until_the_votes_are_in_nobody_is_shown_which_side_is_which(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    evaluation_id = str(room.evaluation().evaluation_id)
    for role in ("ops", "admin"):
        detail = room.get(f"/v1/evaluations/{evaluation_id}", role=role).json()
        assert detail["state"] == "voting"
        assert detail["votes"] == {"cast": 0, "asked": 20}
        assert detail["report"] is None
        assert "Send your order" not in json.dumps(detail)


def test_a_comparison_is_leased_for_a_minute_and_then_offered_again(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path, ITEMS[:1])
    first, second = (room.get("/v1/comparisons/next").json()["comparison_id"] for _ in range(2))
    assert first != second
    assert room.get("/v1/comparisons/next").status_code == 204
    room.clock.advance(61)
    assert room.get("/v1/comparisons/next").json()["comparison_id"] in {first, second}


def test_who_says_their_name_is_shown_the_same_comparison_until_they_vote(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    first = room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"]
    assert room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"] == first
    assert room.get("/v1/comparisons/next", role="ops", rater="Grace").json()["comparison_id"] != first
    room.vote(first, "tie", rater="Ada")
    assert room.get("/v1/comparisons/next", rater="Ada").json()["comparison_id"] != first


def test_nobody_sees_both_orders_of_a_prompt_while_other_prompts_are_left(room: Room, tmp_path: Path) -> None:
    room.generation = replace(room.generation, policy=with_plan(raters=3))
    open_voting(room, tmp_path)
    with room.sessions() as session, session.begin():
        for row in session.scalars(select(Comparison).where(Comparison.position >= 10)):
            row.position -= 100  # now the swapped order of each prompt waits first
    seen = []
    while (offer := room.get("/v1/comparisons/next", rater="Ada")).status_code == 200:
        seen.append(offer.json()["messages"][-1]["content"])
        room.vote(offer.json()["comparison_id"], "left", rater="Ada")
    half = len(seen) // 2
    assert half in {3, 4}
    assert set(seen[:half]) == set(seen[half:])


def test_a_pile_that_somebody_judges_is_offered_to_nobody_else(room: Room, tmp_path: Path) -> None:
    room.generation = replace(room.generation, policy=with_plan(raters=3))
    open_voting(room, tmp_path)
    seen: dict[str, set[str]] = {rater: set() for rater in RATERS[:4]}
    for rater in [*RATERS[:4]] * 10:
        offer = room.get("/v1/comparisons/next", role=rater)
        if offer.status_code == 200:
            seen[rater].add(offer.json()["messages"][-1]["content"])
            room.vote(offer.json()["comparison_id"], "left", role=rater)
    assert sorted(len(prompts) for prompts in seen.values()) == [0, 3, 3, 4]
    assert len(set().union(*seen.values())) == 10


def test_the_same_vote_again_is_fine_another_is_refused(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    comparison_id = room.get("/v1/comparisons/next").json()["comparison_id"]
    assert [room.vote(comparison_id, vote).status_code for vote in ("left", "left", "right")] == [200, 200, 409]
    assert room.vote(str(new_id()), "left").status_code == 404


def test_one_key_votes_under_one_name(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    first, second = (room.get("/v1/comparisons/next").json()["comparison_id"] for _ in range(2))
    assert room.vote(first, "left", rater="Ada").status_code == 200
    for invented in ({"rater": "Grace"}, {}):
        reply = room.vote(second, "left", **invented)
        assert (reply.status_code, reply.json()["title"]) == (409, "The key votes under another name")
    assert room.vote(second, "left", rater="Ada").status_code == 200
    third = room.get("/v1/comparisons/next", role="ops").json()["comparison_id"]
    assert room.vote(third, "left", role="ops", rater="Grace").status_code == 200


def test_a_key_with_ever_new_names_keeps_one_comparison_and_leaves_the_others(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    assert room.get("/v1/comparisons/next", rater="Ada").status_code == 200
    for number in range(30):
        refused = room.get("/v1/comparisons/next", rater=f"invented {number}")
        assert (refused.status_code, refused.json()["title"]) == (409, "The key votes under another name")
    others = [room.get("/v1/comparisons/next", role=rater).status_code for rater in RATERS[:9]]
    assert others == [200] * 9
    room.clock.advance(61)  # the lease is over, and another name may have the next one
    assert room.get("/v1/comparisons/next", rater="Grace").status_code == 200


def test_a_key_that_is_shared_keeps_so_many_and_no_more(room: Room, tmp_path: Path) -> None:
    room.generation = replace(room.generation, policy=with_plan(estimand="panel", raters=3))
    open_voting(room, tmp_path)
    shown = [room.get("/v1/comparisons/next").json()["comparison_id"] for _ in range(12)]
    assert len(set(shown)) == 4, "all of one seat"
    assert shown[4] == shown[0], "the oldest again"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/v1/comparisons/{UUID(int=9)}/vote", '{"vote": "both"}', 422),
        (f"/v1/comparisons/{UUID(int=9)}/vote", '{"vote": "left", "why": "nicer"}', 422),
        (f"/v1/comparisons/{UUID(int=9)}/vote", "left", 400),
        ("/v1/comparisons/one/vote", '{"vote": "left"}', 422),
    ],
)
def test_a_wrong_vote_is_a_problem(room: Room, path: str, body: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {room.keys['rater']}", "Content-Type": "application/json"}
    reply = room.client.post(path, content=body, headers=headers)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"


def test_after_closing_a_vote_is_refused(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    comparison_id = room.get("/v1/comparisons/next").json()["comparison_id"]
    room.clock.advance(600)
    room.completion.run_next()
    assert room.vote(comparison_id, "left").status_code == 409
    assert room.get("/v1/comparisons/next").status_code == 204


def test_equal_answers_are_ties_that_nobody_is_asked_for(room: Room, tmp_path: Path) -> None:
    room.generator.scripts["2"] = room.generator.scripts["1"]
    open_voting(room, tmp_path)
    assert room.get("/v1/comparisons/next").status_code == 204
    assert room.completion.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].effect == 0.5
