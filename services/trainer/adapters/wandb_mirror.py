"""Weights & Biases shows a run too."""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import structlog

from services.trainer.domain.guards.verdict import Metrics
from services.trainer.ports import Mirror, NoMirror
from services.trainer.settings import TrainerSettings
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from wandb import Run

logger = structlog.get_logger(__name__)

Mode = Literal["online", "offline"]
Action = Callable[["Run"], Any]
Actions = queue.SimpleQueue[Action | None]

QUEUED = 10_000
PATIENCE_SECONDS = 30.0
CREDENTIALS = re.compile(r"://[^/@\s\"]+@")


def check_wandb() -> None:
    """Check that W&B is installed. Raises: InvalidRequest."""
    if find_spec("wandb") is None:
        raise InvalidRequest('HELIOTROPE_TRAINER_WANDB: W&B is not installed: pip install "heliotrope[wandb]"')


class WandbMirror:
    """A W&B run under the run's own id, written by a thread, so that W&B can be away, slow or broken.

    `offline` writes below the folder, for `wandb sync`. `online` takes key, entity and server from where W&B looks for
    them (`WANDB_API_KEY` or `wandb login`, `WANDB_ENTITY`, `WANDB_BASE_URL`). A server that is not there at the start
    is not asked again in this attempt.

    The x axis is the metric `step`, not W&B's own, which drops what comes before the newest: a run that goes back to a
    checkpoint repeats steps.
    """

    def __init__(self, project: str, mode: Mode, folder: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`patience_seconds`: for the server at the start, and again at the end; what is late stays in the folder."""
        self._project = project
        self._mode = mode
        self._folder = folder
        self._patience_seconds = patience_seconds
        self._actions: Actions = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def begin(self, run_id: str, name: str, config: Mapping[str, Any]) -> None:
        self._actions = queue.SimpleQueue()
        self._dropped = 0
        shown = without_credentials(config)
        self._thread = threading.Thread(
            target=self._work, args=(self._actions, run_id, name, shown), name="wandb", daemon=True
        )
        self._thread.start()

    def describe(self, config: Mapping[str, Any]) -> None:
        shown = without_credentials(config)
        self._put(lambda run: run.config.update(shown, allow_val_change=True))

    def log(self, step: int, metrics: Metrics) -> None:
        logged = {**metrics, "step": step}
        self._put(lambda run: run.log(logged))

    def end(self, outcome: str, facts: Mapping[str, Any]) -> None:
        summary = without_credentials({"outcome": outcome, **facts})
        self._put(lambda run: run.summary.update(summary))
        self._close(lambda run: run.finish(exit_code=0 if outcome == "succeeded" else 1))

    def leave(self) -> None:
        def preempt(run: "Run") -> None:
            run.mark_preempting()
            run.finish(exit_code=1)

        self._close(preempt)

    def _put(self, action: Action) -> None:
        if self._actions.qsize() < QUEUED:
            self._actions.put(action)
        else:
            self._dropped += 1

    def _close(self, last: Action) -> None:
        """Wait for the thread for as long as opening and finishing may take."""
        if self._thread is None:
            return
        self._actions.put(last)
        self._actions.put(None)
        self._thread.join(2 * self._patience_seconds + 5.0)
        if self._thread.is_alive() or self._dropped:
            logger.warning("wandb_is_behind", dropped=self._dropped, folder=str(self._folder))
        self._thread = None

    def _work(self, actions: Actions, run_id: str, name: str, config: dict[str, Any]) -> None:
        try:
            run = self._open(run_id, name, config)
        except Exception as error:
            logger.warning("wandb_not_started", error=without_credentials(str(error)))
            run = None
        while (action := actions.get()) is not None:
            if run is None:
                continue
            try:
                action(run)
            except Exception as error:
                logger.warning("wandb_failed", error=without_credentials(repr(error)))

    def _open(self, run_id: str, name: str, config: dict[str, Any]) -> "Run":
        import wandb

        if self._mode == "online" and not wandb.api.api_key:  # or it would ask whoever sits at the terminal
            raise InvalidRequest("no API key: set WANDB_API_KEY, or run `wandb login`")
        logging.getLogger("wandb").propagate = False  # it has a file of its own beside the run's
        self._folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self._project,
            id=run_id,
            name=name,
            config=config,
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,  # offline, `wandb sync` puts together what has one id
            dir=str(self._folder),
            settings=wandb.Settings(
                init_timeout=self._patience_seconds, finish_timeout=self._patience_seconds, **PRIVATE_SETTINGS
            ),
        )
        run.define_metric("*", step_metric="step")
        return run


PRIVATE_SETTINGS: Mapping[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "program": "heliotrope",
    "username": "",
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""W&B would also take the command line, the machine, its user, installed packages, the repository and the output."""


def without_credentials(content: Any) -> Any:
    """Copy the content as JSON holds it, without the user and password of any URL in it."""
    return json.loads(CREDENTIALS.sub("://", json.dumps(content, default=str)))


def make_mirror(settings: TrainerSettings, folder: Path) -> Mirror:
    """Make the mirror that the settings ask for. Raises: InvalidRequest for one that is not installed."""
    if settings.wandb == "off":
        return NoMirror()
    check_wandb()
    return WandbMirror(settings.wandb_project, settings.wandb, folder)
