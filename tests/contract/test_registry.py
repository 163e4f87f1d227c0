"""The model registry's contract, for the in-memory double and for MLflow."""

import json
import shutil
from pathlib import Path

import pytest

from shared.errors import NotFound
from shared.registry import ModelRegistry
from shared.registry.memory import MemoryRegistry
from shared.registry.mlflow import MlflowRegistry

LINEAGE = {
    "weights_sha256": "w" * 64,
    "dataset_sha256": "d" * 64,
    "recipe_sha256": "r" * 64,
    "parent_version": "1",
    "request_id": "0199-request",
    "code_version": "abc123",
}


# MLflow's own mapping, seen by SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="module")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables: its migrations take seconds, a copy takes none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    if request.param == "memory":
        return MemoryRegistry(tmp_path / "artifacts")
    from mlflow import MlflowClient

    from shared.registry.mlflow import MlflowRegistry

    shutil.copyfile(request.getfixturevalue("mlflow_tables"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    artifacts = tmp_path / "art ifacts"  # a space in the path is part of the contract
    MlflowClient(uri).create_experiment("heliotrope", artifact_location=artifacts.as_uri())
    return MlflowRegistry(uri, "heliotrope")


def register(registry: ModelRegistry, source: str, **tags: str) -> str:
    return registry.register(source, None, {"served_model": source} | tags).version


def test_a_registry_that_answers_is_ready(registry: ModelRegistry):
    registry.check()


def test_versions_are_numbered_from_one(registry: ModelRegistry):
    assert registry.list_versions() == []
    assert [register(registry, f"/models/{name}") for name in "abc"] == ["1", "2", "3"]
    assert [version.version for version in registry.list_versions()] == ["1", "2", "3"]


def test_a_version_keeps_its_lineage(registry: ModelRegistry):
    version = registry.register("/models/a", None, LINEAGE | {"served_model": "/models/a"})
    loaded = registry.load_version(version.version)
    assert loaded.served_model == "/models/a"
    assert dict(loaded.tags) == LINEAGE | {"served_model": "/models/a"}
    assert dict(registry.list_versions()[0].tags) == dict(loaded.tags)


@pytest.mark.parametrize("version", ["1", "7"])
def test_a_version_that_was_never_registered_is_not_found(registry: ModelRegistry, version: str):
    with pytest.raises(NotFound):
        registry.load_version(version)


def test_a_version_is_found_by_a_tag(registry: ModelRegistry):
    register(registry, "/models/a", training_run_id="0199-a")
    register(registry, "/models/b", training_run_id="0199-b")
    found = registry.find_version("training_run_id", "0199-b")
    assert found is not None
    assert (found.version, found.served_model) == ("2", "/models/b")
    assert registry.find_version("training_run_id", "0199-c") is None


def test_an_alias_names_one_version_at_a_time(registry: ModelRegistry):
    assert registry.load_alias("champion") is None
    for name in "ab":
        register(registry, f"/models/{name}")
    registry.set_alias("champion", "1")
    registry.set_alias("champion", "2")
    assert registry.load_alias("champion") == "2"
    assert registry.load_alias("challenger") is None


def test_an_alias_can_be_taken_away_more_than_once(registry: ModelRegistry):
    register(registry, "/models/a")
    registry.set_alias("challenger", "1")
    registry.clear_alias("challenger")
    registry.clear_alias("challenger")
    assert registry.load_alias("challenger") is None


def test_a_run_that_is_started_again_is_the_same_run(registry: ModelRegistry):
    first = registry.start_run("train a", {"training_run_id": "0199-a"})
    assert registry.start_run("train a", {"training_run_id": "0199-a"}) == first
    assert registry.start_run("train b", {"training_run_id": "0199-b"}) != first
    assert registry.start_run("evaluate a", {"evaluation_id": "0199-a"}) not in {first}


def test_the_same_params_may_be_logged_again(registry: ModelRegistry):
    run = registry.start_run("train a", {"training_run_id": "0199-a"})
    for _ in range(2):
        registry.log_params(run, {"learning_rate": 1e-4, "lora.r": 16, "loss_type": ["sigmoid"], "eval_steps": None})


def test_metrics_may_have_slashes_in_their_names_and_come_twice(registry: ModelRegistry):
    run = registry.start_run("train a", {"training_run_id": "0199-a"})
    for _ in range(2):
        registry.log_metrics(run, {"loss": 0.61, "rewards/margins": 0.4, "grad_norm": float("nan")}, step=3)


def test_a_folder_is_kept_with_its_run_under_a_plain_path(registry: ModelRegistry, tmp_path: Path):
    folder = tmp_path / "candidate"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "inner" / "note.txt").write_text("kept")
    run = registry.start_run("train a", {"training_run_id": "0199-a"})
    for _ in range(2):  # a worker that takes over may do it again
        source = registry.log_folder(run, folder, "model")
    assert (Path(source) / "model.safetensors").read_bytes() == b"weights"
    assert (Path(source) / "inner" / "note.txt").read_text() == "kept"
    version = registry.register(source, run, LINEAGE | {"served_model": source})
    assert registry.load_version(version.version).served_model == source
    registry.end_run(run, succeeded=True)


def test_a_run_remembers_the_dataset_it_read(registry: ModelRegistry):
    run_id = registry.start_run("train", {"training_run_id": "r1"})
    for _ in range(2):
        registry.log_dataset(run_id, "d" * 64, "/data/sets/dddd")
    assert list_datasets(registry, run_id) == {"d" * 64: "/data/sets/dddd"}


def delete_version(registry: ModelRegistry, version: str) -> None:
    if isinstance(registry, MemoryRegistry):
        registry.delete_version(version)
    else:
        assert isinstance(registry, MlflowRegistry)
        registry._client.delete_model_version("heliotrope", version)


def test_a_version_that_was_deleted_and_restored_goes_by_its_number(registry: ModelRegistry) -> None:
    for name in ("one", "two"):
        register(registry, name, weights_sha256=name)
    registry.set_alias("champion", "1")
    kept = registry.load_version("1")
    delete_version(registry, "1")
    assert registry.load_alias("champion") is None
    registry.restore(kept)
    assert registry.load_version("1").served_model == "one"
    assert registry.find_version("weights_sha256", "one") == registry.load_version("1")
    registry.set_alias("champion", "1")
    registry.tag_version("1", "name", "first")
    assert (registry.load_alias("champion"), registry.load_version("1").tags["name"]) == ("1", "first")
    later = register(registry, "four")
    assert sorted(version.version for version in registry.list_versions()) == ["1", "2", later]
    delete_version(registry, "2")
    with pytest.raises(NotFound):
        registry.load_version("2")


def test_versions_do_not_come_back_to_a_family_that_is_gone(registry: ModelRegistry) -> None:
    if isinstance(registry, MlflowRegistry):
        register(registry, "one")
        kept = registry.load_version("1")
        registry._client.delete_registered_model("heliotrope")
        with pytest.raises(NotFound, match="is gone, with all its versions"):
            registry.restore(kept)


def test_a_family_has_tags_of_its_own_once_it_has_a_version(registry: ModelRegistry) -> None:
    assert registry.load_tag("audit_anchor") is None
    registry.register("served", None, LINEAGE)
    for value in ("1:aa", "2:bb"):
        registry.set_tag("audit_anchor", value)
        assert registry.load_tag("audit_anchor") == value


def list_datasets(registry: ModelRegistry, run_id: str) -> dict[str, str]:
    if isinstance(registry, MemoryRegistry):
        return dict(registry.runs[run_id]["datasets"])
    assert isinstance(registry, MlflowRegistry)
    inputs = registry._client.get_run(run_id).inputs.dataset_inputs
    return {one.dataset.name: json.loads(one.dataset.source)["uri"] for one in inputs}
