"""What was generated is generated once: across runs, models that are the same, and processes that are killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.evaluator.adapters.cached_generation import CachedGenerator
from services.evaluator.adapters.kept_replies import KeptReplies
from services.evaluator.ports import (
    Generated,
    GenerationFailed,
    GenerationJob,
    JobModel,
    JobPrompt,
    Keep,
    Progress,
    Reply,
    forget,
    summarise,
)


@dataclass
class Scripted:
    """Answers with the version's name, and remembers which prompts each model was asked."""

    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def generate(
        self, job: GenerationJob, heartbeat: Callable[[Progress | None], None], keep: Keep = forget
    ) -> Generated:
        replies = {}
        for model in job.models:
            open_prompts = [each.prompt_hash for each in job.prompts if each.prompt_hash not in model.replies]
            self.asked.append((model.version, open_prompts))
            made = {key: Reply(text=f"{model.version}: {key}", token_count=3) for key in open_prompts}
            keep(model.version, made)
            replies[model.version] = model.replies | made
        return summarise(replies, {job.prompts[0].prompt_hash: 0.5} if len(job.models) > 1 else None)


def make_job(tmp_path: Path, models: dict[str, str], prompts: int = 2, **how: object) -> GenerationJob:
    for content in models.values():
        (tmp_path / content).mkdir(exist_ok=True)
        (tmp_path / content / "model.safetensors").write_text(content)
    settings = {"max_new_tokens": 8, "batch_size": 2, "dtype": "float32", "sampling": "greedy", "seed": 0} | how
    return GenerationJob(
        models=[JobModel(version, str(tmp_path / content)) for version, content in models.items()],
        prompts=[JobPrompt(f"p{n}", [{"role": "user", "content": str(n)}]) for n in range(prompts)],
        **settings,  # type: ignore[arg-type]
    )


def run(inner: Scripted, tmp_path: Path, job: GenerationJob) -> Generated:
    return CachedGenerator(inner, tmp_path / "kept").generate(job, lambda progress: None)


def test_a_second_run_asks_no_model_and_says_the_same(tmp_path: Path) -> None:
    inner, job = Scripted(), make_job(tmp_path, {"B": "one", "A": "two"})
    first = run(inner, tmp_path, job)
    assert inner.asked == [("B", ["p0", "p1"]), ("A", ["p0", "p1"])]
    assert run(inner, tmp_path, job) == first
    assert len(inner.asked) == 2
    assert first.divergences == {"p0": 0.5}


def test_only_new_prompts_are_asked_and_another_way_of_asking_is_another_answer(tmp_path: Path) -> None:
    inner = Scripted()
    run(inner, tmp_path, make_job(tmp_path, {"A": "one"}))
    run(inner, tmp_path, make_job(tmp_path, {"A": "one"}, prompts=3))
    assert inner.asked[-1] == ("A", ["p2"])
    for how in ({"max_new_tokens": 9}, {"seed": 1}, {"sampling": "model"}, {"dtype": "bfloat16"}):
        run(inner, tmp_path, make_job(tmp_path, {"A": "one"}, **how))
        assert inner.asked[-1] == ("A", ["p0", "p1"]), how


def test_the_same_model_twice_is_asked_once(tmp_path: Path) -> None:
    inner = Scripted()
    made = run(inner, tmp_path, make_job(tmp_path, {"B": "one", "A": "one"}))
    assert inner.asked == [("B", ["p0", "p1"])]
    assert made.answers["A"] == made.answers["B"]
    assert made.divergences is None


def test_other_weights_in_the_same_folder_are_another_model(tmp_path: Path) -> None:
    inner, job = Scripted(), make_job(tmp_path, {"A": "one"})
    run(inner, tmp_path, job)
    (tmp_path / "one" / "model.safetensors").write_text("changed")
    run(inner, tmp_path, job)
    assert len(inner.asked) == 2


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    job = make_job(tmp_path, {"A": "one"})
    (tmp_path / "one" / "model.safetensors").unlink()
    (tmp_path / "one").rmdir()
    with pytest.raises(GenerationFailed) as failure:
        run(Scripted(), tmp_path, job)
    assert failure.value.version == "A"


def test_a_torn_line_is_left_out_and_what_follows_it_is_read(tmp_path: Path) -> None:
    kept = KeptReplies.open(tmp_path, {"model": "m"})
    kept.add({"a": 1})
    with kept.path.open("ab") as file:
        file.write(b'{"key": "b", "val')
    again = KeptReplies.open(tmp_path, {"model": "m"})
    assert again.entries == {"a": 1}
    again.add({"c": 3})
    assert KeptReplies.open(tmp_path, {"model": "m"}).entries == {"a": 1, "c": 3}


WRITER = """
import sys, time
from pathlib import Path
from services.evaluator.adapters.kept_replies import KeptReplies
kept = KeptReplies.open(Path(sys.argv[1]), {"model": "m"})
while True:
    number = len(kept.entries)
    kept.add({f"p{number}": "x" * 5000})
    print(number, flush=True)
"""


def test_what_was_told_to_be_kept_is_there_after_a_kill(tmp_path: Path) -> None:
    told = -1
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        first = int(process.stdout.readline())
        assert first >= told + 1
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        later = process.stdout.read().split()
        told = int(later[-1]) if later else first
        process.wait()
        process.stdout.close()
    entries = KeptReplies.open(tmp_path, {"model": "m"}).entries
    assert set(entries) >= {f"p{number}" for number in range(told + 1)}
