"""Windows of a champion's reign: the votes in each, the prompts asked in it, and what the detectors made of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.curator.cells.domain.vectors import unpack
from services.curator.monitor.domain.opinion import Repeats, VoteWindow
from services.curator.monitor.domain.prompt_drift import Vectors
from services.curator.monitor.domain.windows import EPOCH, Span
from services.curator.requests.repository import Champion
from shared.events import IMPORT_KEY_ID
from shared.feedback import derive_rating_polarity
from shared.tables.drift import DriftWindow

STARS = range(1, 6)
PRAISE = ["up", *(str(stars) for stars in STARS if derive_rating_polarity(stars) is True)]
BLAME = ["down", *(str(stars) for stars in STARS if derive_rating_polarity(stars) is False)]
KEPT = timedelta(days=400)

COUNTED = """
    SELECT DISTINCT ON ("user", place) "user", value = ANY(:praise) AS up FROM (
        SELECT "user", value, received_at, event_id,
               floor(extract(epoch FROM received_at - :epoch) / :period_seconds) AS place
        FROM curator.votes
        WHERE model_version = :version AND served_at >= :since AND received_at >= :began_at AND received_at < :ended_at
            AND "user" IS NOT NULL AND value = ANY(:votes)
    ) AS placed ORDER BY "user", place, received_at, event_id
"""
"""Each user's first vote of each period; anonymous votes and middling ratings do not count."""
COUNT_VOTES = text(f"SELECT count(*), count(*) FILTER (WHERE up) FROM ({COUNTED}) AS counted")
COUNT_REPEATS = text(
    f"""
    SELECT votes, ups, count(*) FROM (
        SELECT count(*) AS votes, count(*) FILTER (WHERE up) AS ups FROM ({COUNTED}) AS counted GROUP BY "user"
    ) AS users GROUP BY votes, ups ORDER BY votes, ups
    """
)
SAMPLE = text(
    """
    SELECT prompts.prompt_hash, embedding FROM (
        SELECT DISTINCT ON ("user") "user", prompt_hash FROM curator.interactions
        WHERE served_at >= :began_at AND served_at < :ended_at AND "user" IS NOT NULL AND key_id <> :imports
        ORDER BY "user", interaction_id
    ) AS firsts JOIN curator.prompts USING (prompt_hash)
    WHERE embedder = :embedder ORDER BY hashtextextended("user", :salt), "user" LIMIT :most
    """
)
SALT = 19


class Sample(NamedTuple):
    """Prompts of different users, in an order that says nothing; `vectors` (n, d)."""

    prompt_hashes: list[str]
    vectors: Vectors


def count_votes(session: Session, champion: Champion, span: Span, period: timedelta) -> VoteWindow:
    """Count the votes on what the champion served that were received in a window: one of each user."""
    votes, ups = session.execute(COUNT_VOTES, _name_votes(champion, span, period)).one()
    return VoteWindow(span.began_at, votes, ups)


def count_repeats(session: Session, champion: Champion, span: Span, period: timedelta) -> list[Repeats]:
    """Count the users of several windows by how many votes, and how many positive ones, they have among those."""
    return [Repeats(*row) for row in session.execute(COUNT_REPEATS, _name_votes(champion, span, period))]


def _name_votes(champion: Champion, span: Span, period: timedelta) -> dict[str, object]:
    return {
        "version": champion.version,
        "since": champion.since,
        "praise": PRAISE,
        "votes": [*PRAISE, *BLAME],
        "epoch": EPOCH,
        "period_seconds": period.total_seconds(),
        **span._asdict(),
    }


def load_sample(session: Session, span: Span, embedder: str, most: int) -> Sample:
    """Load the first prompt that each of at most so many users asked in a window, where it is embedded by now."""
    named = {"embedder": embedder, "imports": IMPORT_KEY_ID, "salt": SALT, "most": most}
    rows = session.execute(SAMPLE, {**named, **span._asdict()}).all()
    return Sample([row.prompt_hash for row in rows], unpack([bytes(row.embedding) for row in rows]))


def load_windows(session: Session, detector: str, champion: Champion) -> Sequence[DriftWindow]:
    """Load what a detector made of each window of the reign, in order."""
    query = select(DriftWindow).where(
        DriftWindow.detector == detector,
        DriftWindow.model_version == champion.version,
        DriftWindow.began_at >= champion.since,
    )
    return session.scalars(query.order_by(DriftWindow.began_at)).all()


def list_windows(session: Session, detector: str | None, limit: int) -> Sequence[DriftWindow]:
    """List the newest first, of one detector or of all."""
    query = select(DriftWindow).order_by(DriftWindow.began_at.desc(), DriftWindow.detector).limit(limit)
    return session.scalars(query if detector is None else query.where(DriftWindow.detector == detector)).all()


def count_verdicts(session: Session, since: datetime, verdict: str) -> dict[str, int]:
    """Count the windows closed since then that ended so, by detector."""
    query = select(DriftWindow.detector, func.count()).where(
        DriftWindow.closed_at >= since, DriftWindow.verdict == verdict
    )
    return {detector: count for detector, count in session.execute(query.group_by(DriftWindow.detector))}  # noqa: C416


def save_window(session: Session, window: DriftWindow) -> None:
    """Save a window unless another monitor did."""
    columns = {column.key: getattr(window, column.key) for column in DriftWindow.__table__.columns}
    session.execute(insert(DriftWindow).values(columns).on_conflict_do_nothing())


def forget_windows(session: Session, now: datetime) -> None:
    """Delete what is too old to be of use to anybody."""
    session.execute(delete(DriftWindow).where(DriftWindow.closed_at < now - KEPT))
