"""A user stands in every place that holds what users send: tables, a bucket, a real MLflow, Kafka, caches, spools.

After the erasure each place is searched again. What is left is what the certificate names, with its date.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import httpx
import msgspec
import pyarrow.parquet
import pytest
from mlflow import MlflowClient

from services.curator.erasure.handlers import Eraser
from services.evaluator.handlers.completion import log_report
from services.evaluator.handlers.erasure import erase_comparisons
from services.gateway.adapters.spool import Spool
from services.gateway.adapters.spool_relay import SpoolRelay
from services.trainer.adapters.artifacts.dataset import TRAIN_FILE
from services.trainer.handlers.execution import execute_next_run
from shared.artifacts import open_artifacts
from shared.bus import Record, encode
from shared.bus.access import list_raw_topics
from shared.bus.kafka import KafkaBusConsumer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.dead_letters import DeadLetters, read_all
from shared.events import Complaint, Event, InteractionRecorded
from shared.ids import new_id
from shared.registry.mlflow import MlflowRegistry
from shared.settings import Settings
from shared.tables.curator import Dataset
from shared.tables.trainer import Run
from tests.integration.curator.erasure_scene import judge, start
from tests.integration.curator.scene import WORDS, Curator, hashed, open_curator, read_text, said
from tests.integration.deployer.scene import Setup
from tests.integration.deployer.test_erasure import dump
from tests.integration.trainer.scene import make_context, train_quickly
from tests.object_storage import BUCKET, serve_objects

USER = hashed("ines@shop")
pytestmark = pytest.mark.timeout(600)

MARKS = (WORDS, USER)
RETENTION = timedelta(days=7)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("objects") / "data"
    with serve_objects(folder) as storage, pytest.MonkeyPatch.context() as patch:
        for name, value in storage.environment.items():
            patch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield f"s3://{BUCKET}/shop"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real MLflow server; its address, and the folder of its database and artifacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(folder / "artifacts"),
    }
    command = [sys.executable, "-m", "local.servers.mlflow", "127.0.0.1", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health").status_code == 200:
                break
        time.sleep(0.5)
    yield url, folder
    server.terminate()
    server.wait(20)


@pytest.fixture
def curator(database_url: str, tmp_path: Path, bucket: str, topic_prefix: str) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path / "home", artifacts_uri=bucket, topic_prefix=topic_prefix) as curator:
        yield curator


class Places:
    """Where to plant a user, and where to look for them."""

    def __init__(
        self, curator: Curator, setup: Setup, mlflow: tuple[str, Path], kafka: str, prefix: str, folder: Path
    ) -> None:
        self.curator, self.setup, self.kafka, self.prefix, self.folder = curator, setup, kafka, prefix, folder
        self.mlflow, self.mlflow_folder = mlflow
        self.registry = MlflowRegistry(self.mlflow, "heliotrope")
        self.artifacts = open_artifacts(curator.settings)
        self.worker = make_context(curator.sessions, folder / "worker", train_quickly, self._open_worker())
        self.spool = Spool(folder / "gateway" / "spool.sqlite", max_rows=100, max_bytes=10**7)
        self.spool.start()

    def _open_worker(self) -> Any:
        uri = self.curator.settings.artifacts_uri
        return open_artifacts(Settings(home=self.folder / "worker", artifacts_uri=uri))

    def plant(self) -> None:
        events, request = start(self.curator)
        assert isinstance(events[0], InteractionRecorded)
        rollout = self.setup.start_canary()
        self.setup.vote(rollout, canary=True, up=True, user=USER)
        told = Complaint(category="other", text=f"They answered {WORDS}?")
        self.setup.hear(said(990, events[0].interaction_id.int, told, hashed("tomas@shop")))
        evaluation = judge(self.curator, events[0].messages[0]["content"], report_uri="somewhere")
        assert evaluation.report is not None
        log_report(self.registry, self.artifacts, evaluation, evaluation.report)
        self._plant_in_kafka(events)
        self._plant_in_spool(events[0])
        with self.curator.sessions() as session:
            row = session.get_one(Dataset, request.dataset_sha256)
        self._leave_behind_a_failed_run(row)
        self._mirror(row)
        (self.folder / "backups").mkdir()
        (self.folder / "backups" / "heliotrope.sql").write_text(dump(self._database_url))

    @property
    def _database_url(self) -> str:
        with self.curator.sessions() as session:
            return session.get_bind().engine.url.render_as_string(hide_password=False)

    def _plant_in_kafka(self, events: list[Event]) -> None:
        producer = LibrdkafkaBusProducer(self.kafka, client_id="tests")
        for event in events:
            record = replace_topic(encode(event, source="tests"), self.prefix)
            producer.send(record).result(timeout=30)
            for consumer in ("curator", "deployer"):
                DeadLetters(producer, consumer).put(record, "planted")
        producer.close(10)

    def _plant_in_spool(self, event: Event) -> None:
        self.spool.put([encode(event, source="tests")]).result(10)
        self.spool.put_aside(self.spool.read(10), ["too large"]).result(10)

    def _leave_behind_a_failed_run(self, dataset: Dataset) -> None:
        """Its worker was killed while it read a mix of the dataset; another gave the run up after its training."""
        own = self._open_worker()
        cached = own.fetch(dataset.uri)
        own.close()
        run = self.worker.runs_folder / str(new_id())
        (run / "1" / "dataset").mkdir(parents=True)
        (run / "1" / "dataset" / TRAIN_FILE).write_bytes((cached / TRAIN_FILE).read_bytes())
        (run / "1" / "trained.json").write_text("{}")
        with self.curator.sessions() as session, session.begin():
            session.add(
                Run(
                    run_id=run.name,
                    request_id=new_id(),
                    dataset_sha256=dataset.dataset_sha256,
                    dataset_uri=dataset.uri,
                    parent_version="1",
                    recipe={},
                    recipe_sha256="",
                    state="failed",
                    deadline_at=datetime.now(UTC),
                )
            )

    def _mirror(self, dataset: Dataset) -> None:
        """What a run tells MLflow and W&B of the dataset that it trains on."""
        run_id = self.registry.start_run("training", {"request_id": "r"})
        self.registry.log_dataset(run_id, dataset.dataset_sha256, dataset.uri)
        if self._wandb is not None:
            self._wandb.begin(str(new_id()), "training", {"dataset_sha256": dataset.dataset_sha256})
            self._wandb.end("succeeded", {"candidate_version": "2"})

    @property
    def _wandb(self) -> Any:
        pytest.importorskip("wandb")
        from services.trainer.adapters.wandb_mirror import WandbMirror

        self._made = getattr(self, "_made", None) or WandbMirror("heliotrope", "offline", self.folder / "worker")
        return self._made

    def search(self) -> set[str]:
        """Every place with the user's words or the hash of their id."""
        found = {"Postgres"} if self._stands_in(dump(self._database_url)) else set()
        found |= {f"Kafka: {topic}" for topic in list_raw_topics(self.prefix) if self._stands_in(self._read(topic))}
        found |= self._search_bucket() | self._search_mlflow()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "erasures.jsonl" and self._stands_in(read_text(path)):
                found.add(str(path.relative_to(self.folder)))
        return found

    def _stands_in(self, text: str) -> bool:
        return any(mark in text for mark in MARKS)

    def _read(self, topic: str) -> str:
        consumer = KafkaBusConsumer(self.kafka, [topic], None, client_id="tests")
        try:
            return "\n".join(record.value.decode(errors="replace") for record in read_all(consumer))
        finally:
            consumer.close()

    def _search_bucket(self) -> set[str]:
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        found = set()
        for path in files.find(BUCKET):
            with files.open(path, "rb") as file:
                is_table = path.endswith(".parquet")
                text = json.dumps(pyarrow.parquet.read_table(file).to_pylist()) if is_table else file.read().decode()
            if self._stands_in(text):
                found.add(f"bucket: {path.rpartition('/')[2]}")
        return found

    def _search_mlflow(self) -> set[str]:
        client = MlflowClient(self.mlflow)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = [run.to_dictionary() for run in client.search_runs(experiments)]
        found = {"MLflow: runs"} if self._stands_in(json.dumps(runs, default=str)) else set()
        for path in self.mlflow_folder.rglob("*"):
            if path.is_file() and self._stands_in(path.read_bytes().decode(errors="replace")):
                found.add(f"MLflow: {path.name}")
        return found


def replace_topic(record: Record, prefix: str) -> Record:
    return msgspec.structs.replace(record, topic=prefix + record.topic)


def test_a_user_who_is_everywhere_is_gone_or_named_by_the_certificate(
    curator: Curator,
    setup: Setup,
    mlflow: tuple[str, Path],
    kafka_bootstrap: str,
    topic_prefix: str,
    tmp_path: Path,
):
    places = Places(curator, setup, mlflow, kafka_bootstrap, topic_prefix, tmp_path / "machines")
    places.plant()
    planted = places.search()
    kafka = {f"Kafka: {topic}" for topic in list_raw_topics(topic_prefix)}
    assert kafka | {"Postgres", "backups/heliotrope.sql", "bucket: texts.json", "bucket: train.parquet"} <= planted
    assert "MLflow: texts.json" in planted
    assert {Path(place).name for place in planted} >= {TRAIN_FILE, "spool.sqlite", "heliotrope.sql"}

    misspelt = curator.erase("Ines@shop")
    assert misspelt.status_code == 404
    assert curator.call("GET", "/v1/erasures").json()["erasures"] == []
    erasure = curator.erase().json()
    setup.maintenance.erase_users()
    erase_comparisons(curator.sessions, places.registry, places.artifacts)
    eraser = Eraser(
        curator.sessions,
        curator.settings.datasets,
        places.artifacts,
        RETENTION,
        lambda: datetime.now(UTC),
        topic_prefix=topic_prefix,
    )
    eraser.finish_running()
    execute_next_run(None, places.worker)
    places._open_worker().drop_unused(TRAIN_FILE)

    done = curator.call("GET", f"/v1/erasures/{erasure['erasure_id']}").json()
    assert done["state"] == "done"
    left = places.search()
    named = {place["place"]: place["until"] for place in done["certificate"]["raw_copies"]["places"]}
    assert left == kafka | {"gateway/spool.sqlite", "backups/heliotrope.sql"}
    assert {place for place in named if place.startswith("Kafka")} == kafka
    for place in [*kafka, "spools of gateways: what the broker refused"]:
        assert datetime.fromisoformat(named[place]) < datetime.now(UTC) + RETENTION

    relay = SpoolRelay(places.spool, lambda: LibrdkafkaBusProducer(kafka_bootstrap, client_id="tests"))
    relay.forget_refused(timedelta())
    places.spool.close()
    assert "gateway/spool.sqlite" not in places.search(), "what the broker refused goes after its time"
