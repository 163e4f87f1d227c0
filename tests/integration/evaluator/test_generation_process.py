"""Generation in a process of its own, on a tiny random Llama made here."""

import sys
import time
from pathlib import Path

import msgspec
import pytest

from services.evaluator.adapters.cached_generation import CachedGenerator
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.ports import GenerationFailed, GenerationJob, JobModel, JobPrompt, Progress
from tests.integration.evaluator.tiny_models import QUESTIONS, make_checkpoints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_checkpoints(tmp_path_factory)


def job(checkpoints: dict[str, str], *, batch_size: int = 2) -> GenerationJob:
    prompts = [JobPrompt(f"prompt-{n}", [{"role": "user", "content": text}]) for n, text in enumerate(QUESTIONS)]
    return GenerationJob(
        models=[JobModel(version, folder) for version, folder in checkpoints.items()],
        prompts=[*prompts, JobPrompt("with-tools", [{"role": "tool", "content": "42"}])],
        max_new_tokens=12,
        batch_size=batch_size,
        dtype="float32",
        sampling="greedy",
        seed=0,
    )


def test_both_models_answer_in_a_process_of_their_own_and_padding_changes_nothing(checkpoints: dict[str, str]) -> None:
    beats: list[Progress | None] = []
    batched = SubprocessGenerator().generate(job(checkpoints), beats.append)
    assert {version: set(answers) for version, answers in batched.answers.items()} == {
        version: {f"prompt-{n}" for n in range(4)} for version in ("1", "2")
    }
    assert batched.answers["1"] != batched.answers["2"]
    progress = [beat for beat in beats if beat]
    assert [beat.done for beat in progress] == sorted(beat.done for beat in progress)
    assert (progress[-1].done, progress[-1].total) == (10, 10)
    alone = SubprocessGenerator().generate(job(checkpoints, batch_size=1), beats.append)
    assert (alone.answers, alone.cut) == (batched.answers, batched.cut)


def test_a_folder_without_weights_fails_and_names_the_version(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed) as failure:
        SubprocessGenerator().generate(job({"2": str(tmp_path)}), lambda progress: None)
    assert failure.value.version == "2"


def test_a_missing_folder_fails_before_a_process_starts(checkpoints: dict[str, str]) -> None:
    with pytest.raises(GenerationFailed, match="no checkpoint folder") as failure:
        SubprocessGenerator(["false"]).generate(job({"1": checkpoints["1"], "2": "/nowhere"}), lambda progress: None)
    assert failure.value.version == "2"


def test_a_process_that_dies_is_a_failure_and_not_a_wait(checkpoints: dict[str, str]) -> None:
    with pytest.raises(GenerationFailed, match="status 3"):
        SubprocessGenerator([sys.executable, "-c", "raise SystemExit(3)"]).generate(
            job(checkpoints), lambda progress: None
        )


class ToldToStop(Exception):
    pass


def test_whatever_the_heartbeat_raises_ends_the_process_at_once(checkpoints: dict[str, str]) -> None:
    def stop(progress: Progress | None) -> None:
        raise ToldToStop

    started = time.monotonic()
    with pytest.raises(ToldToStop):
        SubprocessGenerator([sys.executable, "-c", "import time; time.sleep(60)"]).generate(job(checkpoints), stop)
    assert time.monotonic() - started < 20


def test_sampled_answers_are_the_same_after_an_interruption_and_what_was_kept_is_not_said_again(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    sampled = msgspec.structs.replace(job(checkpoints, batch_size=1), sampling="model")
    whole = CachedGenerator(SubprocessGenerator(), tmp_path / "whole").generate(sampled, lambda progress: None)

    def stop(progress: Progress | None) -> None:
        if progress and progress.done >= 2:
            raise ToldToStop

    generator = CachedGenerator(SubprocessGenerator(), tmp_path / "kept")
    with pytest.raises(ToldToStop):
        generator.generate(sampled, stop)
    kept = sum(b'"key"' in line for file in (tmp_path / "kept").iterdir() for line in file.read_bytes().splitlines())
    assert kept >= 2
    assert generator.generate(sampled, lambda progress: None) == whole
    assert len(whole.divergences or {}) == 4
    again = CachedGenerator(SubprocessGenerator(["false"]), tmp_path / "kept")
    assert again.generate(sampled, lambda progress: None) == whole  # no process is needed
