"""The check on GPUs, as far as a machine without one can tell."""

import pytest

from bench.gpu.check import Case, Settings, list_cases, main
from services.trainer.domain.recipe.parsing import parse_recipe

torch = pytest.importorskip("torch")
SETTINGS = Settings(steps=4, batch_size=4, length=1024, precision="bf16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_told_that_nothing_was_measured(capsys: pytest.CaptureFixture[str]):
    main([])
    assert "no CUDA device on this machine, so nothing was measured" in capsys.readouterr().out


def test_every_case_is_a_recipe_without_mistakes(tmp_path):
    for case in list_cases(8):
        assert parse_recipe(SETTINGS.make_recipe(case, tmp_path)).precision == "bf16"


def test_plain_dpo_reads_its_reference_in_every_step_and_ours_before_the_first():
    ours, plain = (SETTINGS.count_work(Case("dpo", "single", 1, plain), 10) for plain in (False, True))
    assert ours.trained_tokens == plain.trained_tokens == 2 * 4 * 1024
    assert (ours.read_tokens, plain.read_tokens) == (0, 2 * 4 * 1024)


def test_processes_share_a_steps_work_out():
    assert SETTINGS.count_work(Case("sft", "fsdp2", 8), 10).trained_tokens == 8 * 4 * 1024
