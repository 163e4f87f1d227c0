"""People sign in, act as themselves everywhere, and are let in no more once their account is disabled."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from services.deployer.api import create_sign_in_router
from services.evaluator.api import create_router as create_evaluator_router
from services.evaluator.handlers.voting import VoteHandler
from shared.accounts import change_role, create_account, disable_account, rotate_account
from shared.auth import open_key_ring
from shared.errors import Conflict, InvalidRequest
from shared.http import create_app
from shared.signing import Signer, generate_key
from shared.tables.evaluator import Comparison, Evaluation
from shared.user_hashes import UserHashes
from tests.builders import make_evaluation
from tests.integration.deployer.scene import Setup

SIGNER = Signer(generate_key())


class Town:
    """A deployer at which people sign in, and an evaluator that takes its word."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.keys = open_key_ring(setup.sessions, [SIGNER.public_key])
        deployer, evaluator = setup.client.app, create_app("evaluator", checks={})
        deployer.state.keys = evaluator.state.keys = self.keys  # type: ignore[attr-defined]
        deployer.include_router(create_sign_in_router(SIGNER, lambda: datetime.now(UTC)))  # type: ignore[attr-defined]
        voting = VoteHandler(setup.sessions, lambda: UserHashes("secret of tests"), 60.0, 4, setup.clock)
        evaluator.include_router(create_evaluator_router(voting, setup.sessions))
        self.evaluator = TestClient(evaluator)

    def settle(self, name: str, role: str) -> str:
        """Make an account; its sign-in key."""
        with self.setup.sessions() as session, session.begin():
            key = create_account(session, name, role)
        self.keys.refresh()
        return key

    def sign_in(self, key: str) -> Any:
        return self.setup.client.post("/v1/assertions", headers={"authorization": f"Bearer {key}"})

    def headers(self, key: str) -> dict[str, str]:
        answer = self.sign_in(key)
        assert answer.status_code == 201, answer.text
        return {"authorization": f"Bearer {answer.json()['assertion']}"}

    def add_comparisons(self, request_id: UUID, count: int) -> list[UUID]:
        evaluation, comparisons = make_evaluation(request_id, *({} for _ in range(count)))
        with self.setup.sessions() as session, session.begin():
            session.add(evaluation)
            session.flush()
            session.add_all(comparisons)
        return [comparison.comparison_id for comparison in comparisons]

    def vote(self, headers: dict[str, str], comparison_id: UUID, rater: str) -> Any:
        path = f"/v1/comparisons/{comparison_id}/vote"
        return self.evaluator.post(path, params={"rater": rater}, json={"vote": "left"}, headers=headers)


@pytest.fixture
def town(setup: Setup) -> Iterator[Town]:
    town = Town(setup)
    with town.evaluator:
        yield town


def test_a_person_approves_as_themselves_and_the_audit_log_says_so(town: Town):
    key = town.settle("Ada Lovelace", "admin")
    rollout = town.setup.open_rollout()
    path = f"/v1/rollouts/{rollout['rollout_id']}/approve"
    body = {"approval_hash": rollout["approval_hash"]}
    assert town.setup.client.post(path, json=body, headers=town.headers(key)).status_code == 200
    entry = town.setup.client.get("/v1/audit", headers=town.headers(key)).json()["entries"][-1]
    assert (entry["actor"], entry["action"], entry["detail"]["key_id"]) == ("Ada Lovelace", "approve", key[3:15])


def test_a_sign_in_key_opens_the_sign_in_alone_and_no_api_key_signs_in(town: Town):
    key = town.settle("Ada", "admin")
    for bearer in (key, key[:-1] + ("a" if key[-1] != "a" else "b"), "ha_nonsense", ""):
        headers = {"authorization": f"Bearer {bearer}"}
        assert town.setup.client.get("/v1/rollouts", headers=headers).status_code == 401
    for bearer in (town.setup.keys["admin"], key[:-1], town.headers(key)["authorization"].split()[1]):
        assert town.sign_in(bearer).status_code == 401


def test_a_disabled_account_a_changed_role_and_an_old_sign_in_key_open_nothing(town: Town):
    key = town.settle("Ada", "admin")
    account_id, headers = key[3:15], town.headers(key)
    with town.setup.sessions() as session, session.begin():
        renewed = rotate_account(session, account_id)
    town.keys.refresh()
    assert town.sign_in(key).status_code == 401
    assert town.setup.client.get("/v1/rollouts", headers=town.headers(renewed)).status_code == 200
    with town.setup.sessions() as session, session.begin():
        change_role(session, account_id, "rater")
    town.keys.refresh()
    assert town.setup.client.get("/v1/rollouts", headers=headers).status_code == 401
    assert town.setup.client.get("/v1/rollouts", headers=town.headers(renewed)).status_code == 403
    headers = town.headers(renewed)
    with town.setup.sessions() as session, session.begin():
        disable_account(session, account_id)
    town.keys.refresh()
    assert town.sign_in(renewed).status_code == 401
    assert town.evaluator.get("/v1/comparisons/next", headers=headers).status_code == 401


def test_a_rater_is_one_rater_whatever_names_they_give_and_may_not_approve_what_they_judged(town: Town):
    rollout = town.setup.open_rollout()
    first, second = town.add_comparisons(UUID(rollout["request_id"]), 2)
    rater, admin = town.settle("Grace", "rater"), town.settle("Ada", "admin")
    for comparison, name in ((first, "Grace"), (second, "somebody else")):
        assert town.vote(town.headers(rater), comparison, name).status_code == 200
    with town.setup.sessions() as session:
        voters = {session.get_one(Comparison, key).voter for key in (first, second)}
    assert voters == {f"account:{rater[3:15]}"}

    [third] = town.add_comparisons(UUID(town.setup.open_rollout()["request_id"]), 1)
    assert town.vote(town.headers(admin), third, "an invented name").status_code == 200
    with town.setup.sessions() as session:
        judged = session.get_one(Evaluation, session.get_one(Comparison, third).evaluation_id).request_id
    rollouts = town.setup.client.get("/v1/rollouts", headers=town.headers(admin)).json()["rollouts"]
    [own] = [each for each in rollouts if each["request_id"] == str(judged)]
    answer = town.setup.client.post(
        f"/v1/rollouts/{own['rollout_id']}/approve",
        json={"approval_hash": own["approval_hash"]},
        headers=town.headers(admin),
    )
    assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed for who judged the candidate")


def test_names_are_one_persons_and_roles_are_those_of_people(town: Town):
    town.settle("Ada", "admin")
    with pytest.raises(Conflict):
        town.settle("Ada", "rater")
    for role in ("frontend", "internal", "god"):
        with pytest.raises(InvalidRequest):
            town.settle("Bob", role)
