"""HTTP: blind comparisons for raters, evaluations for operators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from services.evaluator.handlers.voting import VoteHandler
from services.evaluator.metrics import VOTES
from services.evaluator.repository.comparisons import count_votes
from services.evaluator.repository.evaluations import list_evaluations, load_evaluation
from services.evaluator.schemas import (
    ComparisonOffered,
    EvaluationDetail,
    EvaluationList,
    EvaluationSummary,
    VoteBody,
    VoteCast,
)
from shared.auth import Caller, require
from shared.db import SessionFactory
from shared.errors import NotFound

Rater = Annotated[Caller, Depends(require("rater", "ops", "admin"))]
Operator = Annotated[Caller, Depends(require("ops", "admin"))]
PersonQuery = Annotated[str | None, Query(alias="rater", max_length=200, description="who judges, if many share a key")]
PersonHeader = Annotated[str | None, Header(alias="x-heliotrope-rater", max_length=200)]


class EvaluationNotFound(NotFound):
    title = "Evaluation not found"


def create_router(voting: VoteHandler, sessions: SessionFactory) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/comparisons/next", responses={204: {"description": "nothing to judge now"}})
    def next_comparison(
        caller: Rater, rater: PersonQuery = None, rater_header: PersonHeader = None
    ) -> ComparisonOffered:
        comparison = voting.offer(caller, rater or rater_header)
        if comparison is None:
            return Response(status_code=204)  # type: ignore[return-value]
        return ComparisonOffered.of(comparison)

    @router.post("/comparisons/{comparison_id}/vote")
    def vote(
        comparison_id: UUID,
        body: VoteBody,
        caller: Rater,
        rater: PersonQuery = None,
        rater_header: PersonHeader = None,
    ) -> VoteCast:
        comparison = voting.vote(caller, rater or rater_header, comparison_id, body.vote)
        VOTES.labels(body.vote).inc()
        return VoteCast(comparison_id=comparison.comparison_id, vote=body.vote)

    @router.get("/evaluations")
    def evaluations(caller: Operator, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> EvaluationList:
        with sessions() as session:
            rows = list_evaluations(session, limit)
            votes = count_votes(session, [row.evaluation_id for row in rows])
        return EvaluationList(
            evaluations=[EvaluationSummary.of(row, votes.get(row.evaluation_id, (0, 0))) for row in rows]
        )

    @router.get("/evaluations/{evaluation_id}")
    def evaluation(evaluation_id: UUID, caller: Operator) -> EvaluationDetail:
        with sessions() as session:
            row = load_evaluation(session, evaluation_id)
            if row is None:
                raise EvaluationNotFound(f"no evaluation {evaluation_id}")
            votes = count_votes(session, [evaluation_id])
        return EvaluationDetail.of(row, votes.get(evaluation_id, (0, 0)))

    return router
