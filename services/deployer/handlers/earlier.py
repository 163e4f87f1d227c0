"""Champions of before: which of them may come back."""

from sqlalchemy.orm import Session

from services.deployer.repository.lineage import find_erased_dataset
from services.deployer.repository.rollouts import load_latest_promotion, load_rollout_of_candidate


def find_taint(session: Session, version: str) -> str | None:
    """Return the dataset that a version learnt from, if a user or an import in it was erased since."""
    made = load_rollout_of_candidate(session, version)
    return find_erased_dataset(session, made.request_id) if made is not None else None


def find_untainted_champion(session: Session, version: str) -> str | None:
    """Return the newest champion before `version` that nothing taints; None if there is none."""
    seen = {version}
    while (promotion := load_latest_promotion(session, version)) is not None:
        version = promotion.champion_version
        if version in seen:
            return None
        seen.add(version)
        if find_taint(session, version) is None:
            return version
    return None
