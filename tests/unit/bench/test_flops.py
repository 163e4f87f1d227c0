"""The arithmetic of model FLOP utilisation."""

import pytest

from bench.gpu.flops import Network, Tokens, calculate_mfu, count_needed, count_six_n, find_peak_tflops

SMALL = Network(parameters=30, layers=20, head=10, attention=4)


def test_six_n_counts_six_for_each_weight_and_token_whatever_the_loss_looks_at():
    assert count_six_n(SMALL, Tokens(read=5, answers=1, seen=15)) == 6 * 30 * 5


def test_needed_flop_ask_the_head_for_answers_alone_and_count_what_attention_sees():
    assert count_needed(SMALL, Tokens(read=5, answers=2, seen=15)) == 6 * (20 * 5 + 10 * 2) + 12 * 4 * 15


def test_frozen_weights_need_no_gradient_of_their_own():
    adapted = Network(parameters=30, layers=20, head=10, attention=0, adapter=3)
    assert count_needed(adapted, Tokens(read=5, answers=2, seen=0)) == 4 * (20 * 5 + 10 * 2) + 6 * 3 * 5


def test_a_run_at_its_devices_peak_has_a_utilisation_of_one():
    assert calculate_mfu(6e14, 2.0, peak_tflops=300.0) == pytest.approx(1.0)


def test_a_device_is_known_by_part_of_its_name_or_not_at_all():
    assert find_peak_tflops("NVIDIA H200") == 989.0
    assert find_peak_tflops("NVIDIA H100 80GB HBM3") == 989.0
    assert find_peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert find_peak_tflops("Some Other Device") is None
