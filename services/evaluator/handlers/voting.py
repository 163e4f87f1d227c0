"""People judge blind: one comparison at a time, and never a word about which side is which."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from services.evaluator.domain.policy import read_policy
from services.evaluator.domain.votes.ballots import Vote
from services.evaluator.domain.votes.offers import Place, Rater, choose_offer, list_held
from services.evaluator.repository.comparisons import (
    has_voted_as_another,
    lease_comparison,
    load_for_vote,
    load_leased,
    load_places,
)
from services.evaluator.repository.evaluations import list_voting
from shared.auth import Caller
from shared.db import SessionFactory, lock_all
from shared.errors import Conflict, NotFound
from shared.tables.evaluator import Comparison
from shared.user_hashes import FindUserHashes


class ComparisonNotFound(NotFound):
    title = "Comparison not found"


class VoteStands(Conflict):
    title = "Another vote stands"


class OtherRater(Conflict):
    title = "The key votes under another name"


class VotingClosed(Conflict):
    title = "Voting is closed"


@dataclass(frozen=True)
class VoteHandler:
    sessions: SessionFactory
    find_user_hashes: FindUserHashes
    lease_seconds: float
    leases_per_key: int
    clock: Callable[[], datetime]

    def offer(self, caller: Caller, rater: str | None) -> Comparison | None:
        """Return a comparison to judge, kept for this person for the time of the lease; None when there is none now.

        Somebody who says who they are and asks again is shown the same one again. A key that many people share without
        saying so gets another one each time, up to `leases_per_key` at once.

        Raises:
            OtherRater: all that is left belongs to an evaluation in which the key judges under another name.
        """
        person = self._derive_person(caller, rater)
        now = self.clock()
        leased_after = now - timedelta(seconds=self.lease_seconds)
        with self.sessions() as session, session.begin():
            again = load_leased(session, person, leased_after) if rater or caller.is_person else None
            return again or self._lease(session, Rater(person, caller.key_id), now, leased_after)

    def _lease(self, session: Session, rater: Rater, now: datetime, leased_after: datetime) -> Comparison | None:
        is_known_otherwise = False
        for evaluation_id, generation in list_voting(session).items():
            lock_all(session, [f"offers:{evaluation_id}"])
            places = load_places(session, evaluation_id)
            held = list_held(places, rater.key_id, leased_after)
            if self._judges_as_another(session, evaluation_id, rater, held):
                is_known_otherwise = True
                continue
            if len(held) >= self.leases_per_key:
                return session.get_one(Comparison, held[0].comparison_id)
            offer = choose_offer(places, rater.person, leased_after, read_policy(generation).win_rate.seats)
            if offer and (comparison := lease_comparison(session, offer, rater, now)):
                return comparison
        if is_known_otherwise:
            raise OtherRater("this key judges under another name in this evaluation; each rater needs a key")
        return None

    def _judges_as_another(self, session: Session, evaluation_id: UUID, rater: Rater, held: list[Place]) -> bool:
        holds_as_another = any(place.offered_to != rater.person for place in held)
        return holds_as_another or has_voted_as_another(session, evaluation_id, rater)

    def vote(self, caller: Caller, rater: str | None, comparison_id: UUID, vote: Vote) -> Comparison:
        """Cast a vote; casting the same again changes nothing.

        Raises:
            ComparisonNotFound: no such comparison.
            VoteStands: somebody voted otherwise.
            VotingClosed: the evaluation is over.
            OtherRater: the key has voted under another name in this evaluation.
        """
        person = self._derive_person(caller, rater)
        with self.sessions() as session, session.begin():
            found = load_for_vote(session, comparison_id)
            if found is None:
                raise ComparisonNotFound(f"no comparison {comparison_id}")
            comparison, evaluation = found
            if comparison.vote == vote:
                return comparison
            if comparison.vote is not None:
                raise VoteStands("this comparison has another vote, and votes are not changed")
            if evaluation.state != "voting":
                raise VotingClosed("the evaluation of this comparison is over")
            self._check_name(session, evaluation.evaluation_id, caller, person)
            comparison.vote, comparison.voted_at = vote, self.clock()
            comparison.voter, comparison.voter_key = person, caller.key_id
            return comparison

    def _check_name(self, session: Session, evaluation_id: UUID, caller: Caller, person: str) -> None:
        """One key is one rater: invented names must not make a crowd of it."""
        lock_all(session, [f"rater:{evaluation_id}:{caller.key_id}"])
        if has_voted_as_another(session, evaluation_id, Rater(person, caller.key_id)):
            raise OtherRater("this key has voted under another name in this evaluation; each rater needs a key")

    def _derive_person(self, caller: Caller, rater: str | None) -> str:
        """A person who signed in is that person; a key speaks for whom it names, else for itself."""
        if caller.is_person:
            return f"account:{caller.key_id}"
        return self.find_user_hashes().hash_user(rater, None) or f"key:{caller.key_id}"
