"""Keep each user's vote what their last word says."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.deployer.domain.arms import Arm
from services.deployer.domain.outcomes import find_end
from services.deployer.domain.voting import DerivedVote, derive_vote, list_event_ids
from services.deployer.repository.exposures import save_exposure
from services.deployer.repository.rollouts import load_rollout
from services.deployer.repository.votes import delete_vote, list_voters, load_judged_answers, load_vote, save_vote
from shared.events import InteractionRecorded
from shared.tables.deployer import Rollout


def count_votes_on(session: Session, interaction_id: UUID, now: datetime) -> None:
    """Count the vote of the user who was served an answer, once both the answer and feedback on it are known.

    The rollout is in a canary stage, or won: then the holdback goes on speaking for the old champion.
    """
    for rollout_id, user in list_voters(session, [interaction_id]):
        rollout = load_rollout(session, rollout_id)
        if rollout is not None and (rollout.stage is not None or rollout.state == "champion"):
            _update_vote(session, rollout, user, now)


def note_exposure(session: Session, event: InteractionRecorded) -> None:
    """Save that a user was served in a rollout's stage, the holdback's included, if it had begun by then."""
    if event.rollout_id is None or event.user is None or event.intended_version is None:
        return
    rollout = load_rollout(session, event.rollout_id)
    if rollout is None or (stage := find_stage_at(rollout, event.served_at)) is None:
        return
    arms: dict[str, Arm] = {rollout.champion_version: "champion", rollout.candidate_version: "canary"}
    if (arm := arms.get(event.intended_version)) is not None:
        began_at = find_end(event.served_at, event.total_seconds)
        save_exposure(session, event.rollout_id, stage, event.user, arm, began_at)


def find_stage_at(rollout: Rollout, at: datetime) -> int | None:
    """Return the stage that had begun last by then; the one after all is the holdback's."""
    begun = [datetime.fromisoformat(stage["started_at"]) for stage in rollout.stages]
    if rollout.state == "champion" and rollout.closed_at is not None:
        begun.append(rollout.closed_at)
    passed = [stage for stage, since in enumerate(begun) if since <= at]
    return passed[-1] if passed else None


def _update_vote(session: Session, rollout: Rollout, user: str, now: datetime) -> None:
    """Make the stored vote the derived one. A vote whose feedback is no longer kept stays as it is."""
    answers = load_judged_answers(session, rollout.rollout_id, [user]).get(user, [])
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
