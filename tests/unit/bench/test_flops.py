"""The arithmetic of model FLOP utilisation."""

import pytest

from bench.gpu.flops import Work, calculate_mfu, find_peak_tflops


def test_a_trained_token_counts_six_and_a_read_one_two_for_each_weight():
    assert Work(parameters=10, trained_tokens=3).flop == 180
    assert Work(parameters=10, trained_tokens=3, read_tokens=5).flop == 280


def test_a_run_at_its_devices_peak_has_a_utilisation_of_one():
    work = Work(parameters=1_000_000_000, trained_tokens=100_000)  # 6e14 FLOP
    assert calculate_mfu(work, 2.0, devices=1, peak_tflops=300.0) == pytest.approx(1.0)
    assert calculate_mfu(work, 2.0, devices=2, peak_tflops=300.0) == pytest.approx(0.5)


def test_a_device_is_known_by_part_of_its_name_or_not_at_all():
    assert find_peak_tflops("NVIDIA H200") == 989.0
    assert find_peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert find_peak_tflops("Some Other Device") is None
