"""Preference pairs, what is contested, and what is in quarantine."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Subquery, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from services.console.repository.evidence import WINDOW, Found
from shared.tables.curator import Pair, Prompt
from shared.tables.quarantine import Quarantined, QuarantineDecision


@dataclass(frozen=True)
class PairSearch:
    """What is looked for; empty: everything."""

    state: str = ""
    rule: str = ""
    words: str = ""
    after: tuple[datetime, str] | None = None


def search_pairs(session: Session, search: PairSearch, limit: int) -> Found:
    """Return pairs with their prompts, the newest first. Filters look at `WINDOW` rows at most, but for contested."""
    order = Pair.created_at.desc(), Pair.pair_id.desc()
    window = select(Pair.pair_id, Pair.created_at, Pair.state, Pair.rule, Pair.chosen, Pair.rejected).order_by(*order)
    if search.state == "contested":
        window = window.where(Pair.state == "contested")
    if search.after is not None:
        window = window.where(tuple_(Pair.created_at, Pair.pair_id) < search.after)
    is_filtered = search.state not in ("", "contested") or search.rule or search.words
    looked_at = WINDOW if is_filtered else None
    looked = window.limit(looked_at or limit + 1).subquery()
    fitting = _filter(select(looked.c.pair_id), looked, search)
    ids = list(session.scalars(fitting.order_by(looked.c.created_at.desc(), looked.c.pair_id.desc()).limit(limit + 1)))
    rows = select(Pair, Prompt.messages, Prompt.split).join(Prompt, Prompt.prompt_hash == Pair.prompt_hash)
    found = list(session.execute(rows.where(Pair.pair_id.in_(ids)).order_by(*order)))
    if len(found) > limit:
        last = found[limit - 1][0]
        return Found(found[:limit], (last.created_at, last.pair_id), looked_at)
    edge = session.execute(select(looked.c.created_at, looked.c.pair_id).offset(WINDOW - 1).limit(1)).first()
    return Found(found, (edge[0], edge[1]) if edge else None, looked_at)


def _filter(ids: Select[Any], looked: Subquery, search: PairSearch) -> Select[Any]:
    if search.state:
        ids = ids.where(looked.c.state == search.state)
    if search.rule:
        ids = ids.where(looked.c.rule == search.rule)
    if search.words:
        sides = (side.icontains(search.words, autoescape=True) for side in (looked.c.chosen, looked.c.rejected))
        ids = ids.where(or_(*sides))
    return ids


def load_pair(session: Session, pair_id: str) -> Any:
    """Return (pair, prompt); None: there is none."""
    rows = select(Pair, Prompt).join(Prompt, Prompt.prompt_hash == Pair.prompt_hash).where(Pair.pair_id == pair_id)
    return session.execute(rows).first()


def list_rivals(session: Session, pair: Pair) -> list[Pair]:
    """Return the other pairs of the same prompt."""
    others = select(Pair).where(Pair.prompt_hash == pair.prompt_hash, Pair.pair_id != pair.pair_id)
    return list(session.scalars(others.order_by(Pair.created_at.desc()).limit(20)))


def list_quarantine(session: Session, limit: int) -> list[Any]:
    """Return (what is in quarantine, the newest decision about it or None), the undecided first."""
    made = aliased(QuarantineDecision)
    newest = (
        select(func.max(made.decision_id))
        .where(made.subject_kind == Quarantined.subject_kind, made.subject_id == Quarantined.subject_id)
        .correlate(Quarantined)
        .scalar_subquery()
    )
    rows = (
        select(Quarantined, QuarantineDecision)
        .outerjoin(QuarantineDecision, QuarantineDecision.decision_id == newest)
        .order_by(QuarantineDecision.decision_id.desc().nullsfirst(), Quarantined.found_at.desc())
        .limit(limit)
    )
    return list(session.execute(rows))


def list_decisions(session: Session, kind: str, subject: str) -> list[QuarantineDecision]:
    """Return what was decided about something, the newest first."""
    rows = select(QuarantineDecision).where(
        QuarantineDecision.subject_kind == kind, QuarantineDecision.subject_id == subject
    )
    return list(session.scalars(rows.order_by(QuarantineDecision.decision_id.desc()).limit(20)))
