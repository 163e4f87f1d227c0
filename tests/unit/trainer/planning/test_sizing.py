"""Steps and length follow from the data, the model and the memory."""

import gc
from pathlib import Path
from typing import Any

import pytest

from services.trainer.domain.planning.memory import ModelSize
from services.trainer.domain.planning.planner import GIB, Devices, plan_run
from services.trainer.domain.planning.sizing import Sizes, assess_length, size_recipe
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.refusals import assess_refusals
from services.trainer.domain.training import Job, TrainingFailed
from tests.unit.trainer.tiny_model import make_pairs, save_dataset, save_tiny_model

SMOLLM2 = ModelSize(parameters=134_515_008, layers=30, hidden=576, intermediate=1536, key_value=192, vocabulary=49_152)


def make_recipe(**settings: Any) -> Recipe:
    return parse_recipe({"name": "sized", "method": "dpo", "batch_size": 4} | settings)


def make_sizes(lengths: list[int], *, gib: float = 64, context: int = 8192) -> Sizes:
    return Sizes(lengths, SMOLLM2, Devices("gpu", 1, int(gib * GIB)), context)


def test_the_length_holds_ninety_nine_percent_of_the_rows():
    sized, reason = size_recipe(make_recipe(max_steps=10), make_sizes([*range(1, 100), 5000]))
    assert sized.max_length == 104
    assert reason == "104 tokens hold 99.0% of the rows"


def test_the_steps_are_passes_over_the_rows():
    sized, reason = size_recipe(make_recipe(max_length=512, passes=2), make_sizes([100] * 306))
    assert (sized.max_steps, reason) == (153, "2 passes over 306 rows are 153 steps")
    default, _ = size_recipe(make_recipe(max_length=512), make_sizes([100] * 306))
    assert default.max_steps == 153


def test_named_steps_and_lengths_stay_as_they_are():
    recipe = make_recipe(max_steps=40, max_length=96)
    assert recipe.is_sized
    assert size_recipe(recipe, make_sizes([5000] * 300)) == (recipe, None)
    capped, reason = size_recipe(make_recipe(max_steps=40, max_length=96, passes=2), make_sizes([50] * 300))
    assert (capped.max_steps, reason) == (40, "40 steps at most, 0.5 passes")


def test_little_memory_takes_fewer_rows_at_a_time_and_then_shorter_ones():
    few, reason = size_recipe(make_recipe(max_steps=10), make_sizes([1000] * 10, gib=16))
    assert (few.max_length, few.batch_size * few.gradient_accumulation_steps) == (1000, 4)
    assert few.batch_size < 4
    assert "rows at a time in place of 4" in (reason or "")
    short, reason = size_recipe(make_recipe(max_steps=10), make_sizes([8000] * 10, gib=4))
    assert short.batch_size == 1
    assert short.length < 8000
    assert plan_run(short, SMOLLM2, Devices("gpu", 1, 4 * GIB))[-1].fits
    assert "the longest that fits into memory; 99% would need 8000" in (reason or "")


def test_memory_that_would_cut_more_than_a_fifth_of_the_rows_is_what_the_run_fails_for():
    recipe, sizes = make_recipe(max_steps=10), make_sizes([*range(1000, 8000, 70)], gib=3)
    sized, _ = size_recipe(recipe, sizes)
    problem = assess_length(recipe, sized, sizes)
    assert problem is not None
    assert problem.startswith(f"3.0 GiB free on each gpu hold {sized.length} tokens")
    assert "max_length" in problem
    assert "leave it out" not in problem, "nobody named it"
    named = make_recipe(max_steps=10, max_length=sized.length)
    assert assess_length(named, named, sizes) is None, "somebody chose to cut them"


@pytest.mark.parametrize(("gib", "context"), [(64, 8192), (64, 2048)])
def test_a_length_that_memory_holds_or_the_model_cannot_read_is_no_shortage(gib: float, context: int):
    recipe, sizes = make_recipe(max_steps=10), make_sizes([*range(1000, 8000, 70)], gib=gib, context=context)
    assert assess_length(recipe, size_recipe(recipe, sizes)[0], sizes) is None


def test_nothing_is_longer_than_the_model_reads():
    sized, reason = size_recipe(make_recipe(max_steps=10), make_sizes([9000] * 10, context=2048))
    assert sized.max_length == 2048
    assert "all that the model reads; 99% would need 9000" in (reason or "")


def test_above_a_fifth_of_refused_rows_a_run_says_what_to_change():
    assert assess_refusals(80, {"no_room": 12, "no_answer": 8}, 96) is None
    problem = assess_refusals(45, {"same_answers": 1, "no_room": 260}, 96)
    assert problem is not None
    assert problem.startswith(
        "261 of 306 rows (85%) cannot be trained on within max_length 96: 260 leave no room for an answer, "
        "1 hold the same answer twice; raise max_length, or leave it out"
    )


def test_a_longer_length_is_not_advised_where_the_template_is_the_reason():
    problem = assess_refusals(3, {"unrenderable": 5, "no_room": 1}, 96)
    assert problem is not None
    assert "max_length, or" not in problem
    assert problem.endswith("take a base whose chat template renders them")


def make_long_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs whose answers begin behind the hundredth token."""
    pairs = make_pairs(count)
    for pair in pairs:
        pair["prompt"] = [{"role": "user", "content": pair["prompt"][0]["content"] + " Where is it?" * 20}]
    return pairs


@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_long_conversations_are_trained_on_whole_by_a_recipe_that_names_no_length(tmp_path: Path):
    pytest.importorskip("torch")
    from services.trainer.bootstrap.methods import METHODS
    from tests.unit.trainer.quiet_reporter import QuietReporter

    parent, reporter = save_tiny_model(tmp_path / "parent"), QuietReporter()
    dataset = save_dataset(tmp_path / "data", make_long_pairs(8))
    job = Job(make_recipe(passes=1), parent, dataset, tmp_path / "1", None, tmp_path / "candidate")
    result = METHODS["dpo"](1, job, reporter)
    assert (result.steps, result.refused, result.pairs) == (2, 0, 8)
    assert any("tokens hold 100.0% of the rows; 1 passes over 8 rows are 2 steps" in note for note in reporter.notes)


def test_a_machine_too_full_for_the_rows_fails_the_run_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch")
    from services.trainer.adapters.methods import row_lengths
    from services.trainer.bootstrap.methods import METHODS
    from tests.unit.trainer.quiet_reporter import QuietReporter

    monkeypatch.setattr(row_lengths, "find_devices", lambda _: Devices("cpu", 1, 4 << 20))
    parent, dataset = save_tiny_model(tmp_path / "parent"), save_dataset(tmp_path / "data", make_long_pairs(8))
    job = Job(make_recipe(passes=1), parent, dataset, tmp_path / "1", None, tmp_path / "candidate")
    with pytest.raises(TrainingFailed, match=r"0\.0 GiB free on each cpu hold \d+ tokens") as failure:
        METHODS["dpo"](1, job, QuietReporter())
    assert failure.value.cause == "memory"


def count_models() -> int:
    """Models that are in memory, those that nothing refers to any more included."""
    from transformers import PreTrainedModel

    return sum(issubclass(type(each), PreTrainedModel) for each in gc.get_objects())


@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_ladders_stage_is_sized_when_the_model_of_the_one_before_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch")
    from services.trainer.adapters.methods import row_lengths
    from services.trainer.bootstrap.methods import METHODS
    from tests.unit.trainer.quiet_reporter import QuietReporter

    held: list[int] = []

    def find_devices(_: int | None) -> Devices:
        held.append(count_models() - before)
        return Devices("cpu", 1, 64 * GIB)

    monkeypatch.setattr(row_lengths, "find_devices", find_devices)
    stages = [
        {"name": "imitate", "method": "sft", "sft_rows": "chosen", "max_steps": 1},
        {"name": "prefer", "method": "dpo", "max_steps": 1},
    ]
    parent, dataset = save_tiny_model(tmp_path / "parent"), save_dataset(tmp_path / "data", make_pairs(8))
    recipe = parse_recipe({"name": "two", "method": "ladder", "stages": stages})
    gc.collect()
    before = count_models()
    METHODS["ladder"](1, Job(recipe, parent, dataset, tmp_path / "1", None, tmp_path / "candidate"), QuietReporter())
    assert held == [0, 0]


@pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning")
def test_a_length_that_refuses_more_than_a_fifth_of_the_rows_fails_the_run(tmp_path: Path):
    pytest.importorskip("torch")
    from services.trainer.bootstrap.methods import METHODS
    from tests.unit.trainer.quiet_reporter import QuietReporter

    parent, reporter = save_tiny_model(tmp_path / "parent"), QuietReporter()
    dataset = save_dataset(tmp_path / "data", make_pairs(4) + make_long_pairs(8)[4:])
    recipe = make_recipe(max_steps=2, max_length=64)
    job = Job(recipe, parent, dataset, tmp_path / "1", None, tmp_path / "candidate")
    problem = r"4 of 8 rows \(50%\) cannot be trained on within max_length 64: 4 leave no room"
    with pytest.raises(TrainingFailed, match=problem):
        METHODS["dpo"](1, job, reporter)
    assert {"refused_share": 0.5, "refused_rows/no_room": 4.0} in [metrics for _, metrics in reporter.metrics]
