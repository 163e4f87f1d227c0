"""The launchers that a deployment's file offers; each engine's library is imported when a launcher is made."""

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from services.trainer.domain.launching.settings import (
    AnyEngine,
    Kubeflow,
    Kubernetes,
    Local,
    Machines,
    Ray,
    SageMaker,
    Vertex,
    parse_launchers,
)
from services.trainer.handlers.remote_files import Offer
from services.trainer.ports import Launcher
from services.trainer.settings import TrainerSettings
from shared.errors import InvalidRequest

ROOT = Path(__file__).parents[3]


def load_offers(settings: TrainerSettings, home: Path) -> Mapping[str, Offer]:
    """Load what the launchers' file offers; nothing where there is none. Nobody is called yet.

    Raises:
        InvalidRequest: the file cannot be read, names a field wrongly, or not the launcher that the settings name.
    """
    engines = {} if settings.launchers_file is None else parse_launchers(_read(settings.launchers_file))
    if settings.launcher and settings.launcher not in engines:
        raise InvalidRequest(
            f"HELIOTROPE_TRAINER_LAUNCHER: {settings.launcher!r} is not in HELIOTROPE_TRAINER_LAUNCHERS_FILE"
        )
    return {
        name: Offer(name, make_launcher(engine, home), engine.limits, engine.environment)
        for name, engine in engines.items()
    }


def _read(path: Path) -> object:
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        return content
    except OSError as error:
        raise InvalidRequest(f"HELIOTROPE_TRAINER_LAUNCHERS_FILE: {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"HELIOTROPE_TRAINER_LAUNCHERS_FILE: {path} is not valid YAML: {error}") from error


def make_launcher(engine: AnyEngine, home: Path) -> Launcher:
    """Make the launcher of an engine. Raises: LauncherRefused: what it needs is not there."""
    match engine:
        case Local() | Machines():
            return _make_machines(engine, home)
        case Ray():
            from services.trainer.adapters.launching.ray import RayLauncher, read_token

            return RayLauncher(engine, read_token())
        case Kubernetes() | Kubeflow():
            return _make_pods(engine)
        case SageMaker():
            from services.trainer.adapters.launching.sagemaker import SageMakerLauncher

            return SageMakerLauncher(engine)
        case Vertex():
            from services.trainer.adapters.launching.vertex import VertexLauncher

            return VertexLauncher(engine)


def _make_machines(engine: Local | Machines, home: Path) -> Launcher:
    from services.trainer.adapters.launching.machines import Machine, MachinesLauncher

    if isinstance(engine, Machines):
        machines = [Machine(host, (*engine.shell, host)) for host in engine.hosts]
        return MachinesLauncher(machines, engine.folder, engine.command, engine.port)
    command = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "cli.main")
    return MachinesLauncher([Machine("this machine", ("sh", "-c"))], str(home / "launched"), command, 0)


def _make_pods(engine: Kubernetes | Kubeflow) -> Launcher:
    from services.trainer.adapters.launching.kubeflow import KubeflowLauncher
    from services.trainer.adapters.launching.kubernetes import KubernetesLauncher
    from services.trainer.adapters.launching.kubernetes_api import KubernetesApi, find_login

    api = KubernetesApi(find_login(), engine.namespace)
    return KubernetesLauncher(api, engine) if isinstance(engine, Kubernetes) else KubeflowLauncher(api, engine)
