"""Users who were erased leave the evaluator's tables and reports; votes, scores and the report's hash stay."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from services.evaluator.domain.report import TEXTS
from services.evaluator.handlers.completion import log_report
from services.evaluator.repository.comparisons import forget_erased_raters, list_erased_comparisons
from services.evaluator.repository.evaluations import load_evaluation
from shared.artifacts import Artifacts
from shared.db import SessionFactory
from shared.registry import ModelRegistry
from shared.tables.evaluator import Comparison

logger = structlog.get_logger(__name__)


def erase_comparisons(sessions: SessionFactory, registry: ModelRegistry, artifacts: Artifacts) -> None:
    """Empty every comparison, and report, of a prompt that the curator has erased; one nobody judged yet is dropped.

    The registry's copy goes first: while a comparison still shows the words, it is tried again.
    """
    with sessions() as session, session.begin():
        comparisons = list_erased_comparisons(session)
        forgotten = forget_erased_raters(session)
        for evaluation_id, prompt_hashes in _group(comparisons).items():
            evaluation = load_evaluation(session, evaluation_id, for_update=True)
            if evaluation is not None and evaluation.report is not None:
                evaluation.report = erase_prompts(evaluation.report, prompt_hashes)
                if evaluation.report_uri is not None:
                    log_report(registry, artifacts, evaluation, evaluation.report)
        for comparison in comparisons:
            if comparison.vote is None:
                session.delete(comparison)
            comparison.messages, comparison.left_answer, comparison.right_answer = [], "", ""
        if comparisons or forgotten:
            logger.info("erased_words_forgotten", comparisons=len(comparisons), votes=forgotten)


def _group(comparisons: Sequence[Comparison]) -> dict[UUID, set[str]]:
    """Return the prompts by evaluation."""
    found: dict[UUID, set[str]] = {}
    for comparison in comparisons:
        found.setdefault(comparison.evaluation_id, set()).add(comparison.prompt_hash)
    return found


def erase_prompts(report: dict[str, Any], prompt_hashes: set[str]) -> dict[str, Any]:
    """Return the report without what these prompts said and were answered."""
    empty: dict[str, Any] = {**dict.fromkeys(TEXTS, ""), "messages": []}
    prompts = [item | empty if item["prompt_hash"] in prompt_hashes else item for item in report.get("prompts", [])]
    return report | {"prompts": prompts}
