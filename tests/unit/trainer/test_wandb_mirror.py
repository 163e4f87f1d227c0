"""W&B shows a run, and never stands in its way."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

torch = pytest.importorskip("torch")

from services.trainer.adapters.wandb_mirror import QUEUED, WandbMirror, make_mirror  # noqa: E402
from services.trainer.bootstrap.methods import METHODS  # noqa: E402
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult  # noqa: E402
from services.trainer.handlers.standalone import Order, run_standalone  # noqa: E402
from services.trainer.ports import Mirror, RunReporter  # noqa: E402
from services.trainer.settings import TrainerSettings  # noqa: E402
from tests.unit.trainer.test_standalone import Steps, ignore, make_order  # noqa: E402
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture(autouse=True)
def another_process() -> Iterator[None]:
    """W&B reads its environment once in a process."""
    yield
    import wandb

    wandb.teardown()


class ShownRun:
    """What W&B would be sent of a run: its offline file, read by W&B's own reader."""

    def __init__(self, file: Path) -> None:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # built when it is imported
        from wandb.sdk.internal.datastore import DataStore

        self.run: Any = None
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.preempted = False
        self.exit_code: int | None = None
        self.text = ""
        store = DataStore()
        store.open_for_scan(str(file))
        while (content := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(content)
            self._take(record)
        store.close()

    def _take(self, record: Any) -> None:
        self.text += str(record)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config |= read_items(record.run.config.update)
        elif kind == "config":
            self.config |= read_items(record.config.update)
        elif kind == "history":
            self.history.append(read_items(record.history.item))
        elif kind == "summary":
            self.summary |= read_items(record.summary.update)
        elif kind == "preempting":
            self.preempted = True
        elif kind == "exit":
            self.exit_code = record.exit.exit_code


def read_items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_shown(folder: Path) -> list[ShownRun]:
    """W&B writes in a process of its own, which a busy machine may delay for longer than the mirror waits."""
    give_up = time.monotonic() + 60
    while True:
        shown = [ShownRun(file) for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]
        if (shown and all(run.exit_code is not None for run in shown)) or time.monotonic() > give_up:
            return shown
        time.sleep(0.1)


def make_offline_mirror(folder: Path) -> Mirror:
    return make_mirror(TrainerSettings(wandb="offline", wandb_project="tests"), folder)


def test_a_training_without_a_network_leaves_its_settings_metrics_and_end_in_a_file_for_wandb_sync(tmp_path: Path):
    recipe = parse_recipe({"name": "tiny", "method": "sft", "sft_rows": "chosen", "max_steps": 3, "max_length": 96})
    order = Order(
        recipe, save_tiny_model(tmp_path / "base"), save_dataset(tmp_path / "data", make_pairs(12)), tmp_path / "out"
    )
    mirror = make_offline_mirror(order.output)
    trained = run_standalone(
        order, lambda job, reporter: METHODS["sft"](1, job, reporter), ignore, threading.Event(), mirror
    )
    [shown] = read_shown(order.output)
    record = json.loads((order.output / "run.json").read_text())
    assert (shown.run.run_id, shown.run.project, shown.run.display_name) == (record["run_id"], "tests", "tiny")
    assert {name: shown.config[name] for name in ("method", "max_steps", "dataset", "recipe_sha256")} == {
        "method": "sft",
        "max_steps": 3,
        "dataset": str(order.dataset.resolve()),
        "recipe_sha256": record["recipe_sha256"],
    }
    logged = [json.loads(line) for line in (order.output / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in logged] == [1, 2, 3]
    assert [
        {name: entry[name] for name in wanted} for entry, wanted in zip(shown.history, logged, strict=True)
    ] == logged
    assert (shown.summary["outcome"], shown.summary["reason"], shown.exit_code) == ("succeeded", trained.summary, 0)
    assert shown.summary["weights_sha256"] == trained.weights_sha256


def test_a_run_that_resumes_goes_on_under_the_same_id(tmp_path: Path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_standalone(make_order(tmp_path), Steps(), ignore, stop, make_offline_mirror(tmp_path))
    time.sleep(1.0)  # W&B names a folder by the second
    run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event(), make_offline_mirror(tmp_path))
    first, second = read_shown(tmp_path)
    assert first.run.run_id == second.run.run_id
    assert (first.preempted, second.preempted, second.exit_code) == (True, False, 0)
    assert [entry["step"] for entry in first.history + second.history] == [1, 2, 3, 4]


def test_a_failed_run_is_shown_as_failed_with_the_reason(tmp_path: Path):
    def train(job: Job, reporter: RunReporter) -> TrainingResult:
        reporter.on_metrics(7, {"loss": 0.5})
        reporter.on_metrics(5, {"loss": 0.4})  # back at a checkpoint
        raise TrainingFailed("loss is nan")

    with pytest.raises(TrainingFailed):
        run_standalone(make_order(tmp_path), train, ignore, threading.Event(), make_offline_mirror(tmp_path))
    [shown] = read_shown(tmp_path)
    assert [(entry["step"], entry["loss"]) for entry in shown.history] == [(7, 0.5), (5, 0.4)]
    assert (shown.summary["outcome"], shown.summary["reason"], shown.exit_code) == ("failed", "loss is nan", 1)


def test_no_secret_and_nothing_of_the_machine_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("HELIOTROPE_DATABASE_URL", "postgresql://ada:hunter2@db/heliotrope")
    mirror = make_offline_mirror(tmp_path)
    mirror.begin("run-1", "train", {"dataset_uri": "s3://ada:hunter2@store/d", "places": ["http://hunter2@x/"]})
    mirror.describe({"replay.of_train": {"uri": "http://ada:hunter2@store"}})
    mirror.end("failed", {"reason": "cannot reach postgresql://ada:hunter2@db/heliotrope"})
    [shown] = read_shown(tmp_path)
    assert shown.config["dataset_uri"] == "s3://store/d"
    assert shown.summary["reason"] == "cannot reach postgresql://db/heliotrope"
    [content] = [file.read_bytes() for file in tmp_path.rglob("*.wandb")]
    for secret in ("k" * 40, "hunter2", "pytest"):
        assert secret.encode() not in content
    assert f'"{socket.gethostname()}"' not in shown.text  # whole, as a random id may hold a short name
    assert [file.name for file in tmp_path.rglob("files/*")] == []


@pytest.fixture
def deaf_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_never_answers_costs_a_run_only_the_stated_wait(
    tmp_path: Path, deaf_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_BASE_URL", deaf_server)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    mirror = WandbMirror("tests", "online", tmp_path, patience_seconds=1.0)
    began = time.monotonic()
    trained = run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event(), mirror)
    assert trained.summary == "all steps taken"
    assert time.monotonic() - began < 8.0


def test_without_a_key_a_run_goes_on_and_nobody_is_asked_for_one(
    tmp_path: Path, deaf_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_BASE_URL", deaf_server)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    mirror = WandbMirror("tests", "online", tmp_path, patience_seconds=1.0)
    with capture_logs() as logs:
        run_standalone(make_order(tmp_path), Steps(), ignore, threading.Event(), mirror)
    [said] = logs
    assert said["event"] == "wandb_not_started"
    assert "API key" in said["error"]


def test_what_w_and_b_cannot_take_in_time_is_dropped_and_counted(
    tmp_path: Path, deaf_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_BASE_URL", deaf_server)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    mirror = WandbMirror("tests", "online", tmp_path, patience_seconds=1.0)
    with capture_logs() as logs:
        mirror.begin("run-1", "train", {})
        for step in range(QUEUED + 3):
            mirror.log(step, {"loss": 1.0})
        mirror.leave()
    assert [said.get("dropped") for said in logs if said["event"] == "wandb_is_behind"] == [3]
