"""Keep each user's vote what their last word says."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.deployer.domain.voting import DerivedVote, derive_vote, list_event_ids
from services.deployer.repository.rollouts import load_rollout
from services.deployer.repository.votes import delete_vote, list_voters, load_judged_answers, load_vote, save_vote
from shared.tables.deployer import Rollout


def count_votes_on(session: Session, interaction_id: UUID, now: datetime) -> None:
    """Count the vote of the user who was served an answer, once both the answer and feedback on it are known.

    The rollout is in a canary stage, or won: then the holdback goes on speaking for the old champion.
    """
    for rollout_id, user in list_voters(session, [interaction_id]):
        rollout = load_rollout(session, rollout_id)
        if rollout is not None and (rollout.stage is not None or rollout.state == "champion"):
            _update_vote(session, rollout, user, now)


def _update_vote(session: Session, rollout: Rollout, user: str, now: datetime) -> None:
    """Make the stored vote the derived one. A vote whose feedback is no longer kept stays as it is."""
    answers = load_judged_answers(session, rollout.rollout_id, user)
    derived = derive_vote(answers, {rollout.candidate_version: "canary", rollout.champion_version: "champion"})
    stored = load_vote(session, rollout.rollout_id, user)
    stage, at = len(rollout.stages) if rollout.stage is None else rollout.stage, now
    if stored is not None:
        if stored.event_id not in list_event_ids(answers) or _is_same(stored.arm, stored.up, derived):
            return
        stage, at = stored.stage, stored.at
        delete_vote(session, stored)
    if derived is not None:
        save_vote(
            session,
            rollout_id=rollout.rollout_id,
            user=user,
            arm=derived.arm,
            up=derived.up,
            stage=stage,
            event_id=derived.event_id,
            at=at,
        )


def _is_same(arm: str, up: bool, derived: DerivedVote | None) -> bool:
    return derived is not None and (arm, up) == (derived.arm, derived.up)
