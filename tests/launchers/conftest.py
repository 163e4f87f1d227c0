"""A run in a real database, a worker for it, and an engine to train it elsewhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import sessionmaker

from services.trainer.consumer import RetrainHandler
from services.trainer.domain.launching.limits import Limits
from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.handlers.remote_files import Offer
from services.trainer.ports import Launcher
from shared.artifacts import Artifacts
from shared.artifacts.manifest import write_manifest
from shared.events import RetrainRequested
from shared.signing import Signer, generate_key
from shared.tables.trainer import Run
from tests.builders import make_recipe
from tests.integration.trainer.scene import Sessions, load_run, make_context, make_request
from tests.launchers.kubernetes_rig import serve_kubernetes
from tests.launchers.ray_rig import RayRig, run_ray
from tests.launchers.rigs import MachinesRig, Rig, make_environment, program
from tests.launchers.sagemaker_rig import run_moto, serve_sagemaker
from tests.launchers.vertex_rig import serve_vertex
from tests.unit.trainer.tiny_model import make_pairs, save_dataset

WAIT_SECONDS = 120.0


def refuse_to_train(job: Any, reporter: Any) -> Any:
    raise AssertionError("the worker was to train nothing itself")


@dataclass
class Scene:
    """A deployment whose runs train at one engine."""

    folder: Path
    sessions: Sessions
    rig: Rig
    context: WorkerContext
    workers: list[threading.Thread] = field(default_factory=list)

    def ask(self, name: str, **changes: Any) -> Run:
        spread = {"strategy": "ddp", "processes": self.rig.nodes, "nodes": self.rig.nodes}
        recipe = {"name": name, "max_steps": 4, "parallelism": spread if self.rig.nodes > 1 else {}} | changes
        dataset = save_dataset(self.folder / "datasets" / name, make_pairs(8))
        write_manifest(dataset)
        return self.ask_by(make_request(dataset_uri=str(dataset)), recipe)

    def ask_by(self, event: RetrainRequested, recipe: dict[str, Any]) -> Run:
        """Have the trainer take up a request, by this recipe."""
        with self.sessions() as session, session.begin():
            RetrainHandler(lambda _: make_recipe(**recipe), "default", "").handle(session, event)
        with self.sessions() as session:
            return session.scalars(select(Run).where(Run.request_id == event.request_id)).one()

    def offer(self, launcher: Launcher | None = None, **limits: Any) -> WorkerContext:
        """The worker's context with another launcher, or other limits."""
        settings = {"max_instances": self.rig.nodes} | limits
        environment = make_environment(self.folder / "elsewhere")
        offer = Offer("engine", launcher or self.rig.launcher, Limits(**settings), environment)
        return replace(self.context, offers={"engine": offer}, stop=threading.Event())

    def work(self, context: WorkerContext | None = None) -> None:
        """One worker executes what is next, to its end."""
        execute_next_run(None, context or self.offer())

    @contextmanager
    def working(self, context: WorkerContext, seconds: float = WAIT_SECONDS) -> Iterator[threading.Thread]:
        worker = threading.Thread(target=partial(execute_next_run, None, context))
        worker.start()
        yield worker
        worker.join(seconds)
        assert not worker.is_alive()

    def is_training(self, run: Run) -> bool:
        """Whether any process on this machine still trains the run, whatever its engine says."""
        lines = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
        return any("train" in line and any(str(run.run_id) in word for word in line) for line in lines)

    def load(self, run: Run) -> Run:
        return load_run(self.sessions, run.run_id)

    def wait(self, run: Run, condition: Callable[[Run], Any], words: str, seconds: float = WAIT_SECONDS) -> Run:
        pause = threading.Event()
        for _ in range(int(seconds / 0.1)):
            if condition(found := self.load(run)):
                return found
            pause.wait(0.1)
        raise AssertionError(f"{words}: not within {seconds} s: {found.state} {found.reason} {found.progress}")


ENGINES = ("local", "accelerate", "ray", "kubernetes", "kubeflow", "sagemaker", "vertex")
"""Real here: local, accelerate (its machines are reached by a shell in ssh's place), ray. The others are played."""


@contextmanager
def open_rig(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    folder.mkdir()
    if name == "ray":
        yield RayRig(request.getfixturevalue("ray_cluster"), 2, program(), cpus=0.5)
    elif name == "sagemaker":
        with serve_sagemaker(folder, request.getfixturevalue("moto")) as sagemaker:
            yield sagemaker
    elif name == "vertex":
        with serve_vertex(folder) as vertex:
            yield vertex
    elif name in ("kubernetes", "kubeflow"):
        with serve_kubernetes(folder, "kubeflow" if name == "kubeflow" else "kubernetes") as kubernetes:
            yield kubernetes
    else:
        yield MachinesRig(folder, 1 if name == "local" else 2)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    with TemporaryDirectory(prefix="ray-") as folder, run_ray(Path(folder)) as url:  # its sockets need a short path
        yield url


@pytest.fixture(params=ENGINES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with open_rig(request.param, tmp_path / "engine", request) as opened:
        yield opened


@pytest.fixture
def scene(rig: Rig, tmp_path: Path, database_url: str) -> Iterator[Scene]:
    with open_scene(rig, tmp_path, database_url, (tmp_path / "store").as_uri()) as opened:
        yield opened


@contextmanager
def open_scene(rig: Rig, folder: Path, database_url: str, root: str) -> Iterator[Scene]:
    """Open a deployment whose artifacts lie below an address that the engine's machines reach too."""
    engine = create_engine(database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    store = Artifacts(folder / "cache", max_cache_bytes=1 << 30, root=root)
    context = make_context(sessions, folder, refuse_to_train, store)
    parent = folder / "parent"
    parent.mkdir()
    context.registry.register(str(parent), None, {"served_model": str(parent)})
    context = replace(
        context,
        launcher="engine",
        signer=Signer(generate_key()),
        launcher_poll_seconds=0.2,
        registry_patience=timedelta(seconds=5),
        heartbeat_timeout=timedelta(seconds=2),
    )
    yield Scene(folder, sessions, rig, context)
    engine.dispose()
