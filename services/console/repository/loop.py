"""The state of the whole loop, in a dozen short queries."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from services.console.repository.counting import count_up_to
from shared.rollouts import OPEN_STATES
from shared.tables.curator import Dataset, Feedback, Interaction, LoopSwitch, Pair, RetrainRequestRow, RoutingRow
from shared.tables.deployer import Rollout, RoutingGeneration
from shared.tables.drift import DetectorState, Vote
from shared.tables.evaluator import Comparison, Evaluation
from shared.tables.quarantine import Quarantined, QuarantineDecision
from shared.tables.trainer import Run

HOUR = timedelta(hours=1)
WAITING = 1_000
LATEST_VOTES = 500

PULSE = text(
    """
    SELECT md5(concat_ws('|',
        (SELECT max(served_at) FROM curator.interactions),
        (SELECT max(received_at) FROM curator.feedback),
        (SELECT max(created_at) FROM curator.pairs),
        (SELECT max(updated_at) FROM curator.detectors),
        (SELECT string_agg(concat(state, closed_at), ',' ORDER BY requested_at DESC) FROM
            (SELECT * FROM curator.retrain_requests ORDER BY requested_at DESC LIMIT 3) AS newest),
        (SELECT string_agg(concat(state, progress), ',' ORDER BY created_at DESC) FROM
            (SELECT * FROM trainer.runs ORDER BY created_at DESC LIMIT 5) AS newest),
        (SELECT string_agg(concat(state, verdict, progress), ',' ORDER BY created_at DESC) FROM
            (SELECT * FROM evaluator.evaluations ORDER BY created_at DESC LIMIT 3) AS newest),
        (SELECT string_agg(concat(state, stage, summary, evidence), ',' ORDER BY created_at DESC) FROM
            (SELECT * FROM deployer.rollouts ORDER BY created_at DESC LIMIT 3) AS newest),
        (SELECT max(sequence) FROM deployer.audit)))
    """
)


def load_pulse(session: Session) -> str:
    """Return what changes whenever the loop has moved."""
    return str(session.scalar(PULSE))


def measure_answers(session: Session, now: datetime) -> tuple[datetime | None, int]:
    """Return when the last answer was served, and how many were in the last hour."""
    last = session.scalar(select(func.max(Interaction.served_at)))
    return last, count_up_to(session, select(Interaction.served_at).where(Interaction.served_at > now - HOUR))


def measure_feedback(session: Session, now: datetime) -> tuple[datetime | None, int, int]:
    """Return when the last reaction came, how many did in the last hour, and how many wait for their answer."""
    last = session.scalar(select(func.max(Feedback.received_at)))
    lately = count_up_to(session, select(Feedback.received_at).where(Feedback.received_at > now - HOUR))
    return last, lately, count_up_to(session, select(Feedback.event_id).where(Feedback.state == "parked"), WAITING)


def measure_pairs(session: Session, now: datetime) -> tuple[datetime | None, int]:
    """Return when the last pair was made, and how many were in the last hour."""
    last = session.scalar(select(func.max(Pair.created_at)))
    return last, count_up_to(session, select(Pair.created_at).where(Pair.created_at > now - HOUR))


def count_set_aside(session: Session) -> tuple[int, int]:
    """Return how many pairs are contested, and what in quarantine nobody has decided about."""
    contested = count_up_to(session, select(Pair.pair_id).where(Pair.state == "contested"), WAITING)
    return contested, count_up_to(session, select_undecided(), WAITING)


def select_undecided() -> Any:
    """Select what is in quarantine and nobody has decided about."""
    decided = select(QuarantineDecision.decision_id).where(
        QuarantineDecision.subject_kind == Quarantined.subject_kind,
        QuarantineDecision.subject_id == Quarantined.subject_id,
    )
    return select(Quarantined).where(~decided.exists())


def load_newest_dataset(session: Session) -> Any:
    """Return hash, counts and time of the newest dataset that has its files."""
    columns = Dataset.dataset_sha256, Dataset.manifest["counts"].label("counts"), Dataset.created_at
    return session.execute(
        select(*columns).where(Dataset.erased_at.is_(None)).order_by(Dataset.created_at.desc()).limit(1)
    ).first()


def load_newest(session: Session, table: type[Any], order: Any) -> Any:
    """Return a table's newest row."""
    return session.scalar(select(table).order_by(order.desc()).limit(1))


def load_newest_request(session: Session) -> RetrainRequestRow | None:
    return load_newest(session, RetrainRequestRow, RetrainRequestRow.requested_at)  # type: ignore[no-any-return]


def load_newest_run(session: Session) -> Run | None:
    return load_newest(session, Run, Run.created_at)  # type: ignore[no-any-return]


def load_newest_evaluation(session: Session) -> Any:
    """Return the newest evaluation without its report, which is large."""
    columns = (
        Evaluation.evaluation_id, Evaluation.state, Evaluation.verdict, Evaluation.candidate_version,
        Evaluation.champion_version, Evaluation.created_at, Evaluation.completed_at,
    )  # fmt: skip
    return session.execute(select(*columns).order_by(Evaluation.created_at.desc()).limit(1)).first()


def count_votes(session: Session, evaluation_id: Any) -> tuple[int, int]:
    """Return (cast, asked) of an evaluation's comparisons."""
    counts = select(func.count(Comparison.vote), func.count()).where(Comparison.evaluation_id == evaluation_id)
    cast, asked = session.execute(counts).one()
    return cast, asked


def load_newest_rollout(session: Session) -> Rollout | None:
    return load_newest(session, Rollout, Rollout.created_at)  # type: ignore[no-any-return]


def list_open_rollouts(session: Session) -> list[Rollout]:
    rows = select(Rollout).where(Rollout.state.in_(OPEN_STATES)).order_by(Rollout.created_at).limit(20)
    return list(session.scalars(rows))


def list_voting(session: Session) -> list[Any]:
    """Return the evaluations that people vote in."""
    columns = (
        Evaluation.evaluation_id,
        Evaluation.candidate_version,
        Evaluation.champion_version,
        Evaluation.deadline_at,
    )
    return list(session.execute(select(*columns).where(Evaluation.state == "voting").limit(20)))


def load_routing(session: Session, family: str) -> RoutingGeneration | None:
    newest = select(RoutingGeneration).where(RoutingGeneration.family == family)
    return session.scalar(newest.order_by(RoutingGeneration.generation.desc()).limit(1))


def load_reign(session: Session, family: str) -> RoutingRow | None:
    """Return what the curator knows of the champion, with the time since when it is."""
    return session.get(RoutingRow, family)


def load_switch(session: Session) -> LoopSwitch | None:
    """Return who paused the whole loop, if anybody did."""
    switch = session.get(LoopSwitch, 1)
    return switch if switch and switch.paused else None


def list_detectors(session: Session) -> list[DetectorState]:
    return list(session.scalars(select(DetectorState).order_by(DetectorState.name).limit(50)))


def count_praise(session: Session, version: str) -> tuple[int, int]:
    """Return (praise, votes) of the latest votes on a version that praise or blame: a rating of 3 does neither."""
    latest = (
        select(Vote.value)
        .where(Vote.model_version == version, Vote.value != "3")
        .order_by(Vote.received_at.desc())
        .limit(LATEST_VOTES)
        .subquery()
    )
    praise = func.count().filter(latest.c.value.in_(("up", "4", "5")))
    ups, votes = session.execute(select(praise, func.count()).select_from(latest)).one()
    return ups, votes
