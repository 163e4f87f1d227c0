"""What admins tell the deployer to do, and what it refuses."""

from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import pytest
from sqlalchemy.orm import Session

from services.deployer.handlers.adoption import Adoption
from services.deployer.handlers.change import Rollouts
from services.deployer.handlers.commands import Commands
from shared.artifacts import ArtifactNotFound, Artifacts
from shared.auth import create_key
from shared.errors import InvalidRequest
from shared.tables.curator import Dataset
from tests.builders import make_artifacts, make_evaluation
from tests.integration.deployer.scene import HASHES, Setup


def test_a_passed_candidate_becomes_champion_through_approval_and_stages(setup: Setup, model_server: Any):
    rollout = setup.start_canary()
    assert (rollout["state"], rollout["stage"]) == ("canary", 0)
    assert model_server[1][-1] == str(setup.candidates / "2")
    for stage in range(3):
        for number in range(40):
            user = f"{stage}-{number}"
            canary = (number % 4 == 0, number % 2 == 0, number % 10 > 0)[stage]
            setup.vote(rollout, canary=canary, up=number % 7 == 0 if not canary else number % 5 > 0, user=user)
        setup.clock.pass_seconds(11)
        setup.reconciler.reconcile()
    rollout = setup.load(rollout)
    assert rollout["state"] == "champion"
    assert [stage["percent"] for stage in rollout["stages"]] == [25, 50, 100]
    assert all(stage["ended_by"] == "advance" for stage in rollout["stages"])
    table = setup.call("GET", "/v1/routing", role="internal").json()
    assert table["champion"]["version"] == "2"
    assert (table["holdback"]["version"], table["holdback_percent"]) == ("1", 10)
    assert [event.routing.generation for event in setup.announced()][-4:] == [2, 3, 4, 5]
    setup.maintenance.project_aliases()
    assert setup.registry.load_alias("champion") == "2"
    assert setup.registry.load_alias("challenger") is None


def test_an_approval_of_something_else_is_void(setup: Setup):
    rollout = setup.open_rollout()
    assert setup.approve(rollout, approval_hash="0" * 64).status_code == 409
    assert setup.load(rollout)["state"] == "awaiting_approval"


def test_an_approval_is_void_when_the_weights_changed_in_the_registry(setup: Setup):
    rollout = setup.open_rollout()
    setup.registry.load_version("2").tags["weights_sha256"] = "x" * 64  # type: ignore[index]
    response = setup.approve(rollout)
    assert response.status_code == 409
    assert "changed" in response.json()["detail"]


def test_a_paused_rollout_holds_its_stage_and_says_who_paused_it(setup: Setup):
    rollout = setup.start_canary()
    path = f"/v1/rollouts/{rollout['rollout_id']}"
    assert setup.call("POST", f"{path}/pause", body={"reason": "holiday"}).json()["state"] == "paused"
    setup.clock.pass_seconds(100)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["stage"] == 0
    assert setup.call("POST", f"{path}/resume", body={"reason": "back"}).json()["state"] == "canary"
    log = setup.call("GET", "/v1/audit", role="ops").json()
    assert (log["verified"], log["broken_at"]) == (True, None)
    assert [(line["actor"], line["action"]) for line in log["entries"]][-2:] == [
        ("admin-anna", "pause"),
        ("admin-anna", "resume"),
    ]


def test_an_abort_in_the_canary_puts_everyone_back(setup: Setup):
    rollout = setup.start_canary()
    response = setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/abort", body={"reason": "odd answers"})
    assert response.json()["state"] == "aborted"
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_a_promoted_candidate_can_be_taken_back(setup: Setup):
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    response = setup.call("POST", "/v1/rollback", body={"reason": "second thoughts"})
    assert response.json()["champion"]["version"] == "1"
    assert setup.load(rollout)["state"] == "rolled_back"
    assert setup.call("POST", "/v1/rollback", body={"reason": "again"}).status_code == 409


def test_a_rollout_that_was_approved_before_a_rollback_does_not_start_after_it(setup: Setup):
    promoted = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{promoted['rollout_id']}/promote", body={"reason": "sure"})
    setup.register_candidate("3")
    waiting = setup.open_rollout(candidate_version="3", champion_version="2")
    assert setup.approve(waiting).status_code == 200
    assert setup.call("POST", "/v1/rollback", body={"reason": "odd answers"}).status_code == 200
    setup.reconciler.reconcile()
    assert setup.load(waiting)["state"] == "aborted"
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "1"


def test_only_one_rollout_has_the_canary(setup: Setup):
    setup.start_canary()
    second = setup.open_rollout()
    response = setup.approve(second)
    assert response.status_code == 409
    assert "has the canary" in response.json()["detail"]
    assert setup.load(second)["state"] == "awaiting_approval"


def test_a_candidate_judged_against_a_former_champion_cannot_be_approved(setup: Setup):
    first = setup.start_canary()
    second = setup.open_rollout()
    setup.call("POST", f"/v1/rollouts/{first['rollout_id']}/promote", body={"reason": "sure"})
    response = setup.approve(second)
    assert response.status_code == 409
    assert "2 is champion now" in response.json()["detail"]


def save_base(folder: Path) -> Path:
    """The files of a chat model, as far as adoption looks at them."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


def test_adopting_once_registers_once_and_again_changes_nothing(setup: Setup, tmp_path: Path):
    folder, artifacts = save_base(tmp_path / "base model"), make_artifacts(tmp_path / "models")
    rollouts = Rollouts(setup.rollouts.settings, "another", "")
    commands = Commands(setup.sessions, rollouts, setup.binding, setup.clock)
    adoption = Adoption(commands, artifacts, "http://127.0.0.1:1/v1")
    assert adoption.adopt(str(folder), "base") == "version 3 (base) is the champion"
    assert setup.registry.load_alias("champion") == "3"
    assert adoption.adopt(str(folder), "base") == "version 3 is champion already; nothing changed"
    elsewhere = Commands(setup.sessions, Rollouts(rollouts.settings, "third", ""), setup.binding, setup.clock)
    assert "version 3" in Adoption(elsewhere, artifacts, "http://127.0.0.1:1/v1").adopt(str(folder))
    assert len(setup.registry.list_versions()) == 3
    with setup.sessions() as session:
        route = rollouts.load_table(session).champion
    assert (route.model, route.version) == (str(folder), "3")


def erase_dataset(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.add(Dataset(dataset_sha256=HASHES["dataset_sha256"], uri="", manifest={}, erased_at=setup.clock()))


def test_a_candidate_trained_on_someone_since_erased_is_not_approved_and_is_aborted(setup: Setup):
    rollout = setup.open_rollout()
    erase_dataset(setup)
    answer = setup.approve(rollout)
    assert answer.status_code == 409
    assert answer.json()["title"] == "Candidate trained on an erased user"
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "aborted"


def test_a_canary_trained_on_someone_since_erased_is_not_promoted_and_leaves(setup: Setup):
    rollout = setup.start_canary()
    erase_dataset(setup)
    path = f"/v1/rollouts/{rollout['rollout_id']}/promote"
    assert setup.call("POST", path, body={"reason": "it looks fine"}).status_code == 409
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "aborted"
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_nobody_approves_in_time_and_it_is_rejected(setup: Setup):
    rollout = setup.open_rollout()
    setup.clock.pass_seconds(8 * 86_400)
    setup.reconciler.reconcile()
    assert setup.load(rollout)["state"] == "rejected"


@pytest.mark.parametrize("voter", ["the key itself", "another key of the same name"])
def test_who_judged_a_candidate_may_not_approve_it(setup: Setup, voter: str) -> None:
    rollout = setup.open_rollout()
    key_id = setup.keys["admin"].split("_")[1]
    with setup.sessions() as session, session.begin():
        if voter == "another key of the same name":
            key_id = create_key(session, "admin-anna", "rater").split("_")[1]
        session.flush()
        add_vote(session, UUID(rollout["request_id"]), key_id)
    refused = setup.approve(rollout)
    assert (refused.status_code, refused.json()["title"]) == (403, "Not allowed for who judged the candidate")
    with setup.sessions() as session, session.begin():
        setup.keys["admin"] = create_key(session, "admin-bert", "admin")
    setup.client.app.state.keys.refresh()  # type: ignore[attr-defined]
    assert setup.approve(rollout).status_code == 200


def add_vote(session: Session, request_id: UUID, key_id: str) -> None:
    vote = {"vote": "left", "voter": f"key:{key_id}", "voter_key": key_id}
    evaluation, comparisons = make_evaluation(request_id, vote, state="completed")
    session.add(evaluation)
    session.flush()
    session.add_all(comparisons)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no safetensors"),
        ("tokenizer_config.json", "no tokenizer_config.json"),
    ],
)
def test_what_trainer_and_evaluator_could_not_load_is_not_adopted(setup: Setup, tmp_path: Path, gone: str, reason: str):
    adoption = Adoption(
        Commands(setup.sessions, Rollouts(setup.rollouts.settings, "another", ""), setup.binding, setup.clock),
        make_artifacts(tmp_path / "models"),
        "http://vllm/v1",
    )
    folder = save_base(tmp_path / "base")
    (folder / gone).unlink()
    with pytest.raises(InvalidRequest, match=reason):
        adoption.adopt(str(folder))
    with pytest.raises(InvalidRequest, match="give the address of its files"):
        adoption.adopt("Qwen/Qwen2.5-0.5B-Instruct")
    with pytest.raises(InvalidRequest, match="commit"):
        adoption.adopt("Qwen/Qwen2.5-0.5B-Instruct", files="hf://Qwen/Qwen2.5-0.5B-Instruct")
    assert len(setup.registry.list_versions()) == 2


def test_a_served_name_is_adopted_with_its_files_where_other_machines_find_them(setup: Setup, tmp_path: Path):
    root = f"memory://models-{tmp_path.name}"
    artifacts = Artifacts(tmp_path / "cache", max_cache_bytes=1 << 20, root=root)
    commands = Commands(setup.sessions, Rollouts(setup.rollouts.settings, "another", ""), setup.binding, setup.clock)
    folder = save_base(tmp_path / "base")
    Adoption(commands, artifacts, "http://vllm/v1").adopt("Qwen/Qwen2.5", files=str(folder))
    version = setup.registry.load_version("3")
    assert version.served_model == "Qwen/Qwen2.5"
    assert version.artifact_uri.startswith(f"{root}/models/")
    elsewhere = Artifacts(tmp_path / "elsewhere", max_cache_bytes=1 << 20, root=root)
    assert (elsewhere.fetch(version.artifact_uri) / "model.safetensors").read_bytes() == b"weights"
    assert not (folder / "manifest.json").exists()


def test_files_of_other_peoples_making_are_copied_to_where_this_deployment_stores_its_own(setup: Setup, tmp_path: Path):
    root, source = f"memory://models-{tmp_path.name}", f"memory://theirs-{tmp_path.name}/base"
    artifacts = Artifacts(tmp_path / "cache", max_cache_bytes=1 << 20, root=root)
    commands = Commands(setup.sessions, Rollouts(setup.rollouts.settings, "another", ""), setup.binding, setup.clock)
    adoption = Adoption(commands, artifacts, "http://vllm/v1")
    with pytest.raises(ArtifactNotFound):
        adoption.adopt("Qwen/Qwen2.5", files=source)
    fsspec.filesystem("memory").put(f"{save_base(tmp_path / 'base')}/", f"{source}/", recursive=True)
    adoption.adopt("Qwen/Qwen2.5", files=source)
    address = setup.registry.load_version("3").artifact_uri
    assert address.startswith(f"{root}/models/")
    assert (artifacts.fetch(address) / "model.safetensors").read_bytes() == b"weights"
