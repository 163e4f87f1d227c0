"""What was approved is what is served: labels, bytes, address and signature."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts.manifest import calculate_content_sha256, write_manifest
from shared.events import Route
from shared.registry.provenance import TAG, sign_tags
from shared.signing import Signer, generate_key
from tests.builders import make_artifacts
from tests.integration.deployer.scene import Setup


def replace_weights(setup: Setup) -> None:
    (setup.candidates / "2" / "model.safetensors").write_bytes(b"a stranger's weights")


def replace_weights_and_manifest(setup: Setup) -> None:
    replace_weights(setup)
    write_manifest(setup.candidates / "2")


def add_code(setup: Setup) -> None:
    (setup.candidates / "2" / "custom.py").write_text("import os")


def point_elsewhere(setup: Setup) -> None:
    shutil.copytree(setup.candidates / "2", setup.candidates / "evil")
    setup.registry.tag_version("2", "served_model", str(setup.candidates / "evil"))


def register_by_artifact_uri(setup: Setup) -> None:
    """The files of another folder, with its own manifest's hash: the worker's table knows neither."""
    shutil.copytree(setup.candidates / "2", setup.candidates / "evil")
    (setup.candidates / "evil" / "model.safetensors").write_bytes(b"a stranger's weights")
    content = calculate_content_sha256(write_manifest(setup.candidates / "evil"))
    setup.registry.tag_version("2", "artifact_uri", str(setup.candidates / "evil"))
    setup.registry.tag_version("2", "content_sha256", content)


def sign_oneself(setup: Setup) -> None:
    tags = setup.registry.load_version("2").tags
    setup.registry.tag_version("2", TAG, sign_tags(tags, Signer(generate_key()))[TAG])


def take_the_signature(setup: Setup) -> None:
    setup.registry.tag_version("2", TAG, "")


HARM = [
    replace_weights,
    replace_weights_and_manifest,
    add_code,
    point_elsewhere,
    register_by_artifact_uri,
    sign_oneself,
    take_the_signature,
]


@pytest.mark.parametrize("harm", HARM)
def test_what_changed_before_it_is_approved_cannot_be(setup: Setup, harm: Callable[[Setup], None]) -> None:
    rollout = setup.open_rollout()
    harm(setup)
    answer = setup.approve(rollout)
    assert (answer.status_code, answer.json()["title"]) == (409, "Approval void")
    assert setup.load(rollout)["state"] == "awaiting_approval"


@pytest.mark.parametrize("harm", HARM)
def test_what_changed_after_its_approval_is_never_loaded(
    setup: Setup, harm: Callable[[Setup], None], model_server: Any
) -> None:
    asked = len(model_server[1])
    rollout = setup.open_rollout()
    assert setup.approve(rollout).status_code == 200
    harm(setup)
    setup.reconciler.reconcile()
    stopped = setup.load(rollout)
    assert stopped["state"] == "aborted"
    assert "changed after it was approved" in stopped["summary"]
    assert len(model_server[1]) == asked
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_a_candidate_that_nobody_signed_is_not_approved_where_keys_are_trusted(setup: Setup) -> None:
    setup.registry.register("third", None, {"served_model": "/models/3", **_hashes(setup)})
    assert setup.approve(setup.open_rollout(candidate_version="3")).status_code == 409


def test_a_champion_from_before_there_were_keys_is_vouched_for_by_our_own_table(setup: Setup, tmp_path: Path) -> None:
    from services.deployer.handlers.adoption import Adoption

    adoption = Adoption(setup.commands, make_artifacts(tmp_path), "http://127.0.0.1:1/v1", setup.signer)
    setup.registry.tag_version("1", "served_model", "/models/evil")
    adoption.adopt("/models/1", None)
    assert TAG not in setup.registry.load_version("1").tags
    setup.registry.tag_version("1", "served_model", "/models/1")
    adoption.adopt("/models/1", None)
    assert TAG in setup.registry.load_version("1").tags
    with setup.sessions() as session:
        assert setup.rollouts.load_table(session).champion == Route(
            version="1", model="/models/1", base_url="http://127.0.0.1:1/v1"
        )


def _hashes(setup: Setup) -> dict[str, str]:
    return {name: setup.registry.load_version("2").tags[name] for name in ("weights_sha256", "dataset_sha256")}
