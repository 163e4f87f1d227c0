"""How an answer ended, by the finish reason that its model server gave."""

from collections.abc import Mapping
from typing import Literal

Ending = Literal["whole", "cut_off", "filtered", "failed", "unknown"]

_REASONS: Mapping[Ending, tuple[str, ...]] = {
    "whole": (
        *("stop", "tool_calls", "function_call"),  # OpenAI, and most others
        *("eos", "eos_token", "stop_sequence", "end_turn", "tool_use"),  # llama.cpp, TGI, Anthropic, Bedrock
        *("complete", "completed", "finished", "end", "done", "tool_call"),  # Cohere, Responses, own servers
    ),
    "cut_off": (
        *("length", "max_tokens", "max_output_tokens", "model_length"),  # OpenAI, Anthropic, Responses, Mistral
        *("model_context_window_exceeded", "max_length", "limit", "token_limit", "context_length", "max_new_tokens"),
        *("incomplete", "pause_turn"),
    ),
    "filtered": (
        *("content_filter", "content_filtered", "guardrail_intervened", "refusal"),  # OpenAI, Bedrock, Anthropic
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "language", "image_safety"),  # Gemini
        *("sensitive", "error_toxic"),  # GLM, Cohere
    ),
    "failed": (
        *("error", "abort", "network_error", "insufficient_system_resource"),  # OpenRouter, vLLM, GLM, DeepSeek
        *("error_limit", "timeout", "cancelled", "canceled", "load", "unload"),  # Cohere, Ollama
        *("malformed_function_call", "malformed_tool_use", "unexpected_tool_call"),  # Gemini, Bedrock
    ),
}
_ENDINGS = {reason: ending for ending, reasons in _REASONS.items() for reason in reasons}
NO_REASONS = frozenset({"", "null", "none", "finish_reason_unspecified"})
"""What some servers write where they mean that the answer goes on."""


def has_reason(finish_reason: object) -> bool:
    """Tell whether this names a reason at all."""
    return isinstance(finish_reason, str) and finish_reason.strip().casefold() not in NO_REASONS


def classify_finish(finish_reason: str | None) -> Ending:
    """Classify how an answer ended. One of which nobody said anything counts as whole, an unknown reason does not."""
    if finish_reason is None:
        return "whole"
    return _ENDINGS.get(finish_reason.strip().casefold(), "unknown")
