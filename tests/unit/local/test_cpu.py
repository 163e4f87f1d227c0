"""What is computed in on a processor."""

from pathlib import Path

import pytest

from local.cpu import choose_dtype, choose_evaluation_dtype


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t: fpu avx2 avx512f avx512_vnni", "float32"),
        ("flags\t: fpu avx512f avx512_bf16", "bfloat16"),
        ("flags\t: fpu amx_bf16 amx_tile", "bfloat16"),
        ("Features\t: fp asimd bf16", "bfloat16"),
    ],
)
def test_a_cpu_without_instructions_for_bfloat16_computes_in_float32(flags: str, expected: str, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert choose_dtype(tmp_path / "cpuinfo") == expected


def test_a_cpu_that_says_nothing_keeps_bfloat16(tmp_path: Path):
    assert choose_dtype(tmp_path / "missing") == "bfloat16"


def test_the_evaluator_has_the_gpu_s_format_where_there_is_one(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx2\n")
    (tmp_path / "gpu").touch()
    assert choose_evaluation_dtype(tmp_path / "cpuinfo", tmp_path / "gpu") == "bfloat16"
    assert choose_evaluation_dtype(tmp_path / "cpuinfo", tmp_path / "none") == "float32"
