"""How the model servers of the local stack are started."""

from pathlib import Path

import pytest

from local.servers.programs import choose_dtype


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
