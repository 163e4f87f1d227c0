"""A team's own tasks: both models answer every document, and the answers are paired."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.evaluator.ports import TaskAnswers, TaskJob, TaskRunner, TasksFailed

Beat = Callable[[], None]


class Champion:
    """The champion's answers, asked for once however many candidates they are paired with."""

    def __init__(self, runner: TaskRunner, job: TaskJob, beat: Beat) -> None:
        self._runner, self._job, self._beat = runner, job, beat
        self._answers: TaskAnswers | None = None

    def pair(self, candidate: TaskJob) -> dict[str, Any]:
        """Return by document whether (candidate, champion) were right, or why that is not known."""
        try:
            ours = _run("candidate", self._runner, candidate, self._beat)
            self._answers = self._answers or _run("champion", self._runner, self._job, self._beat)
            return {"solved": pair(ours, self._answers), "files_sha256": hash_files(Path(candidate.folder))}
        except TasksFailed as error:
            return {"failure": error.detail}


def _run(side: str, runner: TaskRunner, job: TaskJob, beat: Beat) -> TaskAnswers:
    try:
        return runner.run(job, beat)
    except TasksFailed as error:
        raise TasksFailed(f"the {side}: {error.detail}") from error


def pair(candidate: Mapping[str, bool], champion: Mapping[str, bool]) -> dict[str, list[bool]]:
    """Pair answers by document.

    Raises:
        TasksFailed: they are not of the same documents.
    """
    if candidate.keys() != champion.keys():
        raise TasksFailed("candidate and champion were not asked the same documents")
    return {name: [candidate[name], champion[name]] for name in sorted(candidate)}


def hash_files(folder: Path) -> str:
    """Return a hash (hex) over the files of a folder of tasks."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
