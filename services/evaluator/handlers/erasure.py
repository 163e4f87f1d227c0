"""Words of users who were erased leave the evaluator's tables; votes, scores and the report's hash stay."""

from typing import Any

import structlog

from services.evaluator.repository import list_erased_comparisons, load_evaluation
from shared.db import SessionFactory

logger = structlog.get_logger(__name__)

WORDS = ("candidate", "champion")


def erase_comparisons(sessions: SessionFactory) -> None:
    """Empty every comparison, and report, of a prompt that the curator has erased; one nobody judged yet is dropped."""
    with sessions() as session, session.begin():
        comparisons = list_erased_comparisons(session)
        erased = {(item.evaluation_id, item.prompt_hash) for item in comparisons}
        for comparison in comparisons:
            if comparison.vote is None:
                session.delete(comparison)
            comparison.messages, comparison.left_answer, comparison.right_answer = [], "", ""
        for evaluation_id in {evaluation_id for evaluation_id, _ in erased}:
            evaluation = load_evaluation(session, evaluation_id)
            if evaluation is not None and evaluation.report is not None:
                evaluation.report = erase_prompts(evaluation.report, {key for at, key in erased if at == evaluation_id})
        if comparisons:
            logger.info("erased_words_forgotten", comparisons=len(comparisons))


def erase_prompts(report: dict[str, Any], prompt_hashes: set[str]) -> dict[str, Any]:
    """Return the report without what these prompts said and were answered."""
    empty: dict[str, Any] = {"messages": [], **dict.fromkeys(WORDS, "")}
    prompts = [item | empty if item["prompt_hash"] in prompt_hashes else item for item in report.get("prompts", [])]
    return report | {"prompts": prompts}
