"""Generation in a process of its own, on a tiny random Llama made here."""

import sys
import time
from pathlib import Path

import msgspec
import pytest

from services.evaluator.adapters.cached_generation import CachedGenerator
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.ports import GenerationFailed, GenerationJob, JobModel, JobPair, JobPrompt, Progress
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


def test_held_out_pairs_are_looked_at_by_both_models(checkpoints: dict[str, str]) -> None:
    prompt = JobPrompt("h0", [{"role": "user", "content": QUESTIONS[0]}])
    answers = ("It is on its way.", "Why?")
    pairs = [
        JobPair(pair_id="right", group="a", prompt=prompt, chosen=answers[0], rejected=answers[1]),
        JobPair(pair_id="turned", group="a", prompt=prompt, chosen=answers[1], rejected=answers[0]),
        JobPair(
            pair_id="no template",
            group="b",
            prompt=JobPrompt("h1", [{"role": "tool", "content": "x"}]),
            chosen="x",
            rejected="y",
        ),
    ]
    made = SubprocessGenerator().generate(
        GenerationJob(
            models=[JobModel(version, checkpoints[version]) for version in ("1", "2")],
            prompts=[prompt],
            max_new_tokens=16,
            batch_size=2,
            dtype="float32",
            sampling="greedy",
            seed=0,
            pairs=pairs,
        ),
        lambda progress: None,
    )
    assert made.pairs is not None
    assert set(made.pairs) == {"right", "turned"}
    right, turned = made.pairs["right"], made.pairs["turned"]
    assert right.margin == pytest.approx(-turned.margin, rel=1e-4)
    assert (right.group, right.chosen_tokens, right.rejected_tokens) == (
        "a",
        turned.rejected_tokens,
        turned.chosen_tokens,
    )
    assert right.margin == pytest.approx(
        _find_margin(checkpoints["2"], answers) - _find_margin(checkpoints["1"], answers), abs=1e-3
    )


def _find_margin(checkpoint: str, answers: tuple[str, str]) -> float:
    """What transformers' own loss says: the log-odds of the first answer against the second."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    asked = [{"role": "user", "content": QUESTIONS[0]}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    sums = []
    for answer in answers:
        tokens = (tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id])[:16]
        labels = torch.tensor([[-100] * len(start) + tokens])
        with torch.inference_mode():
            loss = model(input_ids=torch.tensor([start + tokens]), labels=labels).loss
        sums.append(-float(loss) * len(tokens))
    return sums[0] - sums[1]
