"""`python -m services.trainer.adapters.launching.ray_driver RESOURCES train ...`: the driver of a job on Ray.

Ray Train starts a worker on each machine; each runs `heliotrope train` with its place among them, and dies with it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Set
from dataclasses import fields
from typing import Any

from services.trainer.adapters.distributed.launcher import die_with_parent
from services.trainer.adapters.launching.ray import LOST
from services.trainer.domain.launching.endings import LOST_PEER
from services.trainer.domain.planning.places import PORT

LOST_ERRORS = (
    "Preemption",
    "ActorDied",
    "NodeDied",
    "WorkerCrashed",
    "ActorUnavailable",
    "WorkerKilled",
    "WorkerHealthCheck",
)


class WorkerKilledError(RuntimeError):
    """Somebody killed the training process."""


class PeerMissedError(RuntimeError):
    """The training process ended without knowing why."""


def train_on_machine(command: list[str]) -> None:
    """Run the training command on this worker's machine. Raises: RuntimeError and its kinds: it failed."""
    import ray.train

    context = ray.train.get_context()
    environment: Mapping[str, str] = os.environ
    if context.get_world_size() > 1:
        environment = os.environ | {
            "HELIOTROPE_NODES": str(context.get_world_size()),
            "HELIOTROPE_NODE_RANK": str(context.get_world_rank()),
            "HELIOTROPE_NODE_ADDRESS": os.environ["MASTER_ADDR"],
            "HELIOTROPE_NODE_PORT": str(PORT),
        }
    # what Ray Train prepared is for its own process group, which is not used
    own = {name: value for name, value in environment.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    status = subprocess.run(command, env=own, preexec_fn=die_with_parent).returncode
    if status == LOST_PEER:
        raise PeerMissedError("another machine may be gone")
    if status < 0:
        raise WorkerKilledError(f"ended with status {status}, by somebody else's hand")
    if status:
        raise RuntimeError(f"{command[0]} ended with status {status}")


def choose_retries(known: Set[str]) -> dict[str, int]:
    """Choose how often Ray Train starts the training again by itself: never. `known`: what this Ray has a limit for."""
    return dict.fromkeys({"max_failures", "max_preemption_failures"} & known, 0)


def main(resources: dict[str, Any], arguments: list[str]) -> int:
    """Train on so many machines; returns the exit status."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    scaling = ScalingConfig(
        num_workers=resources["nodes"],
        use_gpu=resources["gpus"] > 0,
        resources_per_worker={"CPU": resources["cpus"], "GPU": resources["gpus"]},
        placement_strategy="SPREAD",
    )
    trainer = TorchTrainer(
        lambda: train_on_machine([*resources["command"], *arguments]),
        scaling_config=scaling,
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            failure_config=FailureConfig(**choose_retries({one.name for one in fields(FailureConfig)}))
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{words[-2000:]}\n")
        if any(name in words for name in LOST_ERRORS):
            return LOST
        return LOST_PEER if PeerMissedError.__name__ in words else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
