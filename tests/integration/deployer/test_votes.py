"""What counts as a vote in a rollout, and what trips the breaker."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, text

from shared.events import Retract, Thumb
from shared.ids import new_id
from shared.tables.deployer import RolloutFeedback
from tests.builders import make_feedback
from tests.integration.deployer.scene import Setup


def test_one_user_has_one_vote_about_the_first_answer_that_they_judged(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna")
    setup.vote(rollout, canary=True, up=False, user="anna")
    setup.vote(rollout, canary=False, up=False, user="anna")
    assert setup.count_votes(rollout) == (0, 1)


def test_a_vote_follows_its_users_last_word(setup: Setup) -> None:
    rollout = setup.start_canary()
    answer = setup.vote(rollout, canary=True, up=True, user="anna")
    assert setup.count_ups(rollout) == 1
    retraction = Retract(retracted_event_id=answer.event_id)
    setup.hear(make_feedback(new_id(), answer.interaction_id, retraction, key_id="k", user="anna"))
    assert setup.count_votes(rollout) == (0, 0)
    later = setup.clock() + timedelta(minutes=1)
    thumb = Thumb(value="down")
    setup.hear(make_feedback(new_id(), answer.interaction_id, thumb, key_id="k", user="anna", received_at=later))
    assert setup.count_votes(rollout) == (0, 1)
    assert setup.count_ups(rollout) == 0


def test_a_vote_stays_when_what_it_rests_on_is_deleted(setup: Setup) -> None:
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna")
    setup.clock.pass_seconds(8 * 86_400)
    setup.maintenance.delete_waiting()
    with setup.sessions() as session, session.begin():
        session.execute(delete(RolloutFeedback))
    setup.vote(rollout, canary=True, up=False, user="anna")
    assert setup.count_votes(rollout) == (0, 1)
    assert setup.count_ups(rollout) == 1


def test_a_thumb_that_comes_before_its_answer_counts_once_the_answer_is_known(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna", late=True)
    setup.vote(rollout, canary=False, up=True, user="bert", late=True)
    assert setup.count_votes(rollout) == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [{"user": None}, {"error": "timeout"}, {"intended_version": "1"}, {"model_version": "7", "intended_version": "7"},
     {"rollout_id": None}],
)  # fmt: skip
def test_what_says_nothing_about_an_arm_is_no_vote(setup: Setup, changes: dict[str, Any]):
    rollout = setup.start_canary()
    vote: dict[str, Any] = {"canary": True, "up": True, "user": "anna"}
    setup.vote(rollout, **vote | changes)
    assert setup.count_votes(rollout) == (0, 0)


def test_the_breaker_rolls_back_a_canary_that_fails(setup: Setup):
    rollout = setup.start_canary()
    setup.clock.pass_seconds(1)
    for number in range(6):
        failed: dict[str, Any] = {"error": "upstream_timeout", "model_version": "1", "intended_version": "2"}
        setup.vote(rollout, canary=True, up=True, user=str(number), **failed)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "canary"  # the champion's users may fail as well: none has come
    for number in range(12):
        setup.vote(rollout, canary=False, up=True, user=f"other-{number}")
    setup.clock.pass_seconds(1)
    for number in range(6, 11):
        setup.vote(rollout, canary=True, up=True, user=str(number), **failed)
    setup.reconciler.reconcile()
    rollout = setup.load(rollout)
    assert rollout["state"] == "rolled_back"
    assert (
        "11 of the last 11 canary answers failed, for 11 of 11 users; of the champion's 0 of 12" in (rollout["summary"])
    )
    assert rollout["evidence"]["breaker_looks"]["taken"] == 1  # what could not trip cost nothing


@pytest.mark.parametrize("error", ["client_disconnected", "status_422"])
def test_what_clients_do_wrong_trips_no_breaker(setup: Setup, error: str):
    rollout = setup.start_canary()
    for number in range(6):
        setup.vote(rollout, canary=True, up=True, user=str(number), error=error)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "canary"


def test_a_vote_that_commits_late_under_an_earlier_number_is_weighed_all_the_same(setup: Setup):
    rollout = setup.start_canary()
    with setup.sessions() as slow, slow.begin():
        slow.execute(text("SELECT nextval(pg_get_serial_sequence('deployer.votes', 'sequence'))"))
    setup.vote(rollout, canary=True, up=True, user="anna")
    assert setup.count_votes(rollout) == (0, 1)
    with setup.sessions() as slow, slow.begin():
        slow.execute(
            text(
                'INSERT INTO deployer.votes (sequence, rollout_id, "user", arm, up, stage, event_id, at)'
                " OVERRIDING SYSTEM VALUE"
                " SELECT 1, rollout_id, 'bert', 'champion', up, stage, event_id, at FROM deployer.votes"
            )
        )
    assert setup.count_votes(rollout) == (1, 1)
