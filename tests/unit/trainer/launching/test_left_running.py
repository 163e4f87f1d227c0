"""Jobs elsewhere that nobody watches any more, and those that somebody still has."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.trainer.domain.launching.endings import LauncherUnavailable, RemoteRun
from services.trainer.domain.launching.orders import name_job
from services.trainer.handlers.attempt import choose_launcher
from services.trainer.handlers.execution import end_left_running
from shared.errors import StaleClaim
from shared.tables.trainer import Run
from tests.builders import make_recipe
from tests.unit.trainer.launching.remote_rig import RUN, Remote, end_as


class Rows:
    """A session that has one finished run."""

    def __init__(self, **remote: Any) -> None:
        content = {"launcher": "spot", "began": "2026-11-28T00:00:00Z", "open": True} | remote
        self.run = Run(run_id=RUN, state="cancelled", remote=content)

    @contextmanager
    def open(self) -> Any:
        one = SimpleNamespace(scalars=lambda _: SimpleNamespace(all=lambda: [self.run], one=lambda: self.run))
        one.begin, one.execute, one.scalar = self.open, lambda _: one.scalars(_), lambda *_: self.run
        one.get = lambda *_, **__: self.run
        yield one

    def is_open(self) -> bool:
        return bool((self.run.remote or {})["open"])


class Launcher:
    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel(self, handle: str) -> None:
        self.cancelled.append(handle)


def end_left(rows: Rows, **launchers: Any) -> None:
    offers = {name: SimpleNamespace(launcher=launcher) for name, launcher in launchers.items()}
    context: Any = SimpleNamespace(sessions=rows.open, offers=offers)
    end_left_running(context)


def test_a_start_whose_answer_never_came_is_ended_by_its_name():
    rows, spot = Rows(number=3, handle=None), Launcher()
    end_left(rows, spot=spot)
    assert spot.cancelled == [name_job(RUN, 3)]
    assert not rows.is_open()


def test_a_job_whose_launcher_this_worker_lacks_is_left_for_one_that_has_it():
    rows, spot = Rows(number=1, handle="job-1"), Launcher()
    end_left(rows, other=Launcher())
    assert rows.is_open()
    end_left(rows, spot=spot)
    assert spot.cancelled == ["job-1"]
    assert not rows.is_open()


def test_the_launcher_that_has_the_job_goes_before_recipe_and_settings():
    run = Rows(number=1, handle="job-1").run
    both: Any = SimpleNamespace(launcher="other", offers={"spot": None, "other": None})
    assert choose_launcher(run, make_recipe(launcher="other"), both) == "spot"
    unset: Any = SimpleNamespace(launcher=None, offers={})
    with pytest.raises(LauncherUnavailable, match="'spot'"):
        choose_launcher(run, make_recipe(), unset)
    run.remote = None
    assert choose_launcher(run, make_recipe(), both) == "other"
    assert choose_launcher(run, make_recipe(), unset) is None


@pytest.mark.parametrize(("state", "is_ended"), [("cancelled", True), ("running", False)])
def test_a_run_that_is_cancelled_while_it_starts_is_ended_and_one_taken_over_is_not(
    tmp_path: Path, state: str, is_ended: bool
):
    def start(engine: Any, order: Any, mailbox: Any) -> RemoteRun:
        engine.claim.is_lost, engine.claim.run.state = True, state
        return end_as(RemoteRun("running"))(engine, order, mailbox)

    remote = Remote(tmp_path, [start])
    with pytest.raises(StaleClaim):
        remote.train()
    assert bool(remote.engine.cancelled) == is_ended
