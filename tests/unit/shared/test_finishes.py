"""How an answer ended, in the words of the servers that we know."""

import pytest

from shared.finishes import Ending, classify_finish, has_reason


@pytest.mark.parametrize(
    ("reasons", "ending"),
    [
        ((None, "stop", "tool_calls", "STOP", "eos", "end_turn", "COMPLETE", "stop_sequence", "eos_token"), "whole"),
        (("length", "model_length", "max_tokens", "MAX_TOKENS", "max_output_tokens"), "cut_off"),
        (("content_filter", "SAFETY", "RECITATION", "sensitive", "guardrail_intervened"), "filtered"),
        (
            ("insufficient_system_resource", "network_error", "error", "abort", "load", "MALFORMED_FUNCTION_CALL"),
            "failed",
        ),
        (("null", "", "brand_new_reason"), "unknown"),
    ],
)
def test_each_reason_has_its_ending(reasons: tuple[str | None, ...], ending: Ending):
    assert {reason: classify_finish(reason) for reason in reasons} == dict.fromkeys(reasons, ending)


@pytest.mark.parametrize("value", [None, "", "null", "None", "NULL ", 3, "FINISH_REASON_UNSPECIFIED"])
def test_no_reason_is_none(value: object):
    assert not has_reason(value)
    assert has_reason("stop")
