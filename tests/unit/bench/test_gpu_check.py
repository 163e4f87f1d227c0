"""The check on GPUs, as far as a machine without one can tell."""

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bench.gpu.check import main  # noqa: E402
from bench.gpu.checks import Check  # noqa: E402
from bench.gpu.conclusions import list_goals, list_rows, say_speed  # noqa: E402
from bench.gpu.flops import Tokens  # noqa: E402
from bench.gpu.model import SHAPES, Lengths, Pair, make_tokenizer, write_dataset  # noqa: E402
from bench.gpu.profiling import find_kind  # noqa: E402
from bench.gpu.speed import SIZES, Case, count_step, make_job  # noqa: E402
from bench.gpu.stopwatch import Enough, Stopwatch  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_that_nothing_was_measured(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 1
    assert "no CUDA device on this machine, so nothing was measured" in capsys.readouterr().out


def test_a_check_whose_time_was_up_before_it_checked_anything_has_not_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--dry-run", "--seconds", "0", "--parts", str(tmp_path)]) == 1
    assert "FAILED: nothing was checked" in capsys.readouterr().out


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_every_case_is_a_recipe_without_mistakes(tmp_path: Path, size, method: str):
    job = make_job(Case(method, "ours"), size, tmp_path, 9)
    assert (job.recipe.method, job.recipe.precision) == (method, size.precision)


def test_a_shared_prompt_counts_once_for_the_gpu_and_twice_as_what_was_said():
    pair = Pair(prompt=10, chosen=4, rejected=2)
    step = count_step(Case("dpo", "ours"), 1, [pair])
    assert step["tokens"] == Tokens(read=16, answers=6, seen=55 + (40 + 10) + (20 + 3))
    assert step["said"] == 26
    assert count_step(Case("sft", "ours"), 1, [pair])["tokens"] == Tokens(14, 4, 55 + 50)


def test_the_dataset_has_the_tokens_that_are_counted(tmp_path: Path):
    from services.trainer.adapters.artifacts.dataset import load_pairs

    [counted] = write_dataset(tmp_path, rows=1, lengths=Lengths((5, 9), (3, 6)))
    [pair] = load_pairs(tmp_path / "train.parquet")
    tokenizer = make_tokenizer()
    prompt, whole = (
        tokenizer.apply_chat_template(messages, return_dict=False)
        for messages in (pair["prompt"], pair["prompt"] + pair["chosen"])
    )
    assert (len(prompt), len(whole) - len(prompt)) == (counted.prompt, counted.chosen)
    assert whole[-1] == tokenizer.eos_token_id


def test_shapes_have_as_many_weights_as_their_names_say():
    found = {name: shape.describe().parameters / 1e9 for name, shape in SHAPES.items() if name != "tiny"}
    assert found == pytest.approx({"0.5b": 0.494, "1.5b": 1.544, "8b": 8.03}, rel=1e-3)


def test_no_number_passes_no_check():
    assert not Check("a loss", math.nan, 1.0).passed
    assert not Check("a change", math.nan, 0.0, "at_least").passed
    assert not Check("a loss", 1.1, 1.0).passed
    assert Check("a change", 1.1, 1.0, "at_least").passed


def test_a_run_is_broken_off_after_the_step_it_ends_at():
    watch = Stopwatch(ends_at=2)
    watch.on_metrics(1, {"loss": 1.0})
    watch.on_metrics(2, {"memory": 1.0})
    with pytest.raises(Enough):
        watch.on_metrics(2, {"loss": 0.5})
    assert watch.list_figures("loss") == [1.0, 0.5]


def make_entry(contestant: str, seconds: float) -> dict[str, object]:
    return {
        "size": "0.5b",
        "case": {"method": "dpo", "contestant": contestant},
        "seconds_a_step": [seconds, seconds],
        "reference_seconds_a_step": 0.0,
        "tokens_a_second": 1000 / seconds,
        "needed_flop_a_step": 300e12,
        "six_n_flop_a_step": 400e12,
        "peak_bytes": {"loading": 1, "training": 2**30},
        "first_step_after_seconds": 1.0,
        "losses": [0.69],
        "gradient_norms": [1.0],
        "rows_at_a_time": 4,
        "profile": None,
    }


def test_goals_say_what_was_reached_and_what_was_missed():
    entries = [make_entry("ours", 1.0), make_entry("plain TRL", 1.4)]
    share, speed_up = list_goals(entries, 1000.0)
    assert share.value == pytest.approx(40.0)
    assert speed_up.value == pytest.approx(1.4)
    assert [share.met, speed_up.met] == [True, False]
    names = {row.name: row.median for row in list_rows(entries, 1000.0)}
    assert names["0.5b dpo, ours: MFU by needed FLOP"] == pytest.approx(30.0)
    assert names["0.5b dpo, plain TRL: memory while training"] == 1.0
    said = list(say_speed(entries, None))
    assert any("1,000 tokens/s" in line for line in said)
    assert "goal of 0.5b dpo: not measured" not in said


def test_what_was_cut_for_time_is_said():
    entries = [{"size": "8b", "left_out": "cut for time"}]
    said = list(say_speed(entries, None))
    assert "8b : cut for time" in said
    assert "goal of 8b dpo: not measured" in said


def test_kernels_are_told_apart_by_name():
    assert find_kind("void pytorch_flash::flash_fwd_kernel<...>") == "attention"
    assert find_kind("nvjet_tst_256x128_64x4_1x2_h_bz_coopA_NNT") == "matrix products"
    assert find_kind("triton_red_fused_add_mul_0") == "compiled element by element"
