"""lm-eval on the tasks of a folder, for one model; runs in a process of its own (`python -m services.evaluator tasks`).

Reads one job from standard input and writes one JSON line to standard output. Nothing is fetched: the tasks, and the
data that they name, are local files, relative to the folder.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from services.evaluator.adapters.generation import end_with_parent, load_model
from services.evaluator.ports import TaskAnswers, TaskJob, TasksFailed

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
REASON_LIMIT = 300


class TaskLine(msgspec.Struct):
    """What a job came to: answers, or why there are none."""

    answers: TaskAnswers | None = None
    failure: str | None = None


class _Loader(yaml.SafeLoader):
    """Reads task files without running what they name by `!function`."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)


def main() -> int:
    """Answer one job; status 1 after a failure, which is also a line."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not mix with the line
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=TaskJob)
    threading.Thread(target=end_with_parent, daemon=True).start()
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= dict.fromkeys(OFFLINE, "1") | {"HF_DATASETS_CACHE": cache}
        try:
            line = TaskLine(answers=run(job))
        except TasksFailed as error:
            line = TaskLine(failure=error.detail)
        except (Exception, SystemExit) as error:
            line = TaskLine(failure=f"{type(error).__name__}: {error}"[:REASON_LIMIT])
    output.write(msgspec.json.encode(line) + b"\n")
    return 1 if line.failure else 0


def run(job: TaskJob) -> TaskAnswers:
    """Return whether each document of each task was answered right.

    Raises:
        TasksFailed: lm-eval is not there, a file is none of its tasks, or a task tells right from wrong of no document.
    """
    named = list_tasks(Path(job.folder))
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise TasksFailed("lm-eval is not installed: pip install 'heliotrope[lm-eval]'") from error
    os.chdir(job.folder)
    manager = TaskManager(include_path=job.folder, include_defaults=False)
    if unknown := sorted(named - set(manager.all_tasks)):
        raise TasksFailed(f"lm-eval does not take the task {unknown[0]!r} for one")
    model, has_template = _open(job)
    results = simple_evaluate(
        model=model,
        tasks=sorted(named),
        task_manager=manager,
        limit=job.documents or None,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=has_template,
        use_cache=job.cache,
        random_seed=job.seed,
        numpy_random_seed=job.seed,
        torch_random_seed=job.seed,
        fewshot_random_seed=job.seed,
    )
    better = results["higher_is_better"]
    return {
        name: right
        for task, samples in results["samples"].items()
        for name, right in read_samples(task, samples, better.get(task, {})).items()
    }


def list_tasks(folder: Path) -> set[str]:
    """Return the names of the tasks in a folder's YAML files.

    Raises:
        TasksFailed: a file is no YAML mapping, or there is no task.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml"))
    names = {name for path in files if isinstance(name := _read(path).get("task"), str)}
    if not names:
        raise TasksFailed(f"no task file in {folder}")
    return names


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TasksFailed(f"{path.name}: {' '.join(str(error).split())}"[:REASON_LIMIT]) from error
    if not isinstance(content, Mapping):
        raise TasksFailed(f"{path.name}: not a mapping")
    return content


def read_samples(task: str, samples: Sequence[Mapping[str, Any]], higher_is_better: Mapping[str, bool]) -> TaskAnswers:
    """Return whether each document was answered right, by the task's first metric that says so, unfiltered first.

    Raises:
        TasksFailed: no metric of this task is 0 or 1 for every document.
    """
    first = [each for each in samples if each["filter"] == samples[0]["filter"]]
    for metric in first[0]["metrics"] if first else ():
        values = [each[metric] for each in first]
        if all(isinstance(value, int | float) and value in (0, 1) for value in values):
            good = higher_is_better.get(metric) is not False
            return {
                f"task:{task}:{each['doc_id']}": bool(value) == good for each, value in zip(first, values, strict=True)
            }
    raise TasksFailed(f"task {task!r}: no metric says of each document whether it was answered right")


def _open(job: TaskJob) -> tuple[Any, bool]:
    """Return the model as lm-eval wants it, and whether it has a chat template."""
    if job.endpoint:
        from services.evaluator.adapters.task_endpoint import open_model

        return open_model(job), True
    from lm_eval.models.huggingface import HFLM

    tokenizer, model = load_model(job.model, job.dtype)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=job.batch_size), bool(tokenizer.chat_template)


if __name__ == "__main__":
    raise SystemExit(main())
