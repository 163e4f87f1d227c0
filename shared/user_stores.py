"""Every place that may hold a user's words, vectors, or the keyed hash of their id.

Erasure and its certificate walk this list. Whoever adds a place adds it here; a test plants a user everywhere and
searches dumps and folders.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.events import FeedbackReceived, InteractionRecorded

EVIDENCE_LOCK = "curator:evidence"
"""Held shared by whoever stores what users sent, while they do: an erasure waits until those before it are done."""


@dataclass(frozen=True)
class TableStore:
    """Rows of a table: `where` finds what is left of a user, whose keyed hash is the parameter `user`."""

    table: str
    where: str
    erased_by: str
    how: str = "deleted"


@dataclass(frozen=True)
class OtherStore:
    """A place outside the tables. `how` says to people what becomes of a user there."""

    place: str
    erased_by: str
    how: str


RELAYED = ("outbox", "refused_records")
NO_USERS = "hold hashes, figures and decisions, no words and no users"
OWN = '"user" = %(user)s'
IN_EVENT = "event->>'user' = %(user)s"
ON_ERASED_ANSWERS = """
    interaction_id IN (
        SELECT tombstones.subject::uuid FROM curator.tombstones
        JOIN curator.erasures USING (erasure_id)
        WHERE erasures."user" = %(user)s AND tombstones.kind = 'interaction')
"""
"""What others said of a user's answers may repeat their words, and goes with them."""
OF_ERASED_PROMPTS = """
    jsonb_array_length(messages) > 0 AND NOT EXISTS
        (SELECT FROM curator.prompts WHERE prompts.prompt_hash = comparisons.prompt_hash)
"""

TABLES = (
    TableStore("curator.interactions", OWN, "curator"),
    TableStore("curator.feedback", OWN, "curator"),
    TableStore("curator.votes", OWN, "curator", "deleted with the feedback"),
    TableStore("curator.conflicting_events", IN_EVENT, "curator"),
    TableStore("curator.quarantined", "subject_id = %(user)s OR strpos(detail::text, %(user)s) > 0", "curator"),
    TableStore("curator.quarantine_decisions", "subject_id = %(user)s", "curator"),
    TableStore("curator.datasets", "strpos(manifest::text, %(user)s) > 0", "curator", "replaced by successors"),
    TableStore("curator.detectors", "strpos(state::text, %(user)s) > 0", "curator", "counted anew"),
    TableStore("deployer.served_interactions", OWN, "deployer", "made anonymous"),
    TableStore("deployer.votes", OWN, "deployer", "made anonymous: the vote counts, whose it was is gone"),
    TableStore("deployer.exposures", OWN, "deployer", "made anonymous: the outcome counts, whose it was is gone"),
    TableStore("deployer.feedback", IN_EVENT, "deployer"),
    TableStore("deployer.feedback", ON_ERASED_ANSWERS, "deployer", "deleted: what others said of these answers"),
    TableStore("evaluator.comparisons", OF_ERASED_PROMPTS, "evaluator", "emptied, in MLflow's reports too"),
    TableStore(
        "evaluator.comparisons",
        "voter = %(user)s OR offered_to = %(user)s",
        "evaluator",
        "made anonymous: the vote counts, whose it was is gone",
    ),
)

WITHOUT_USERS = (
    *("access.accounts", "access.api_keys", "access.user_hash_generations", "curator.cells", "curator.loop_switch"),
    *("curator.drift_windows", "curator.import_withdrawals", "curator.retrain_requests"),
    *("curator.routing", "curator.tombstones"),
    *("deployer.audit", "deployer.epochs", "deployer.heard_thumbs", "deployer.rollouts", "deployer.routing"),
    *("deployer.approvals", "deployer.approval_policies", "deployer.notices"),  # of admins, and of our own words
    *("deployer.aliases", "deployer.registrations", "deployer.shadow_comparisons"),
    *("access.acts", "curator.acts", "trainer.acts", "deployer.sealed_acts", "trainer.runs"),
    *(f"{schema}.{name}" for schema in ("curator", "trainer", "evaluator", "deployer") for name in RELAYED),
)
"""Tables with ids, hashes, figures and decisions of people who are no users."""

OTHERS = (
    OtherStore("curator.prompts, with their vectors", "curator", "deleted where nobody else asked the same"),
    OtherStore("curator.pairs, curator.labels", "curator", "deleted with what they rest on"),
    OtherStore("curator.frozen_items, curator.dataset_items", "curator", "deleted with what they rest on"),
    OtherStore("evaluator.evaluations: reports", "evaluator", "emptied of these prompts and what was answered"),
    OtherStore(", ".join(WITHOUT_USERS), "nobody", NO_USERS),
    OtherStore(
        "files of datasets, with their reports and selection logs", "curator", "deleted; successors stand for them"
    ),
    OtherStore("data reports beside datasets", "nobody", "hold figures and ids, no words and no users"),
    OtherStore("MLflow: report.html and texts.json of evaluations", "evaluator", "written anew without the texts"),
    OtherStore("MLflow: datasets, runs, tags and candidates", "nobody", NO_USERS),
    OtherStore("Weights & Biases", "nobody", NO_USERS),
    OtherStore(
        "caches of artifacts",
        "whoever fetched",
        "a dataset is deleted there when its reader ends, or after a crash next",
    ),
    OtherStore(
        "files of training runs", "trainer", "deleted when a run ends; of failed runs that are kept, their rows"
    ),
    OtherStore("logs and metrics", "nobody", "hold counts, ids and reasons, no words and no users"),
    OtherStore(
        "the erasure ledger (curator.erasures) and its journal", "nobody", "keep the keyed hash: the user stays erased"
    ),
    OtherStore("weights of models", "nobody", "do not unlearn; `models` lists them, and a candidate is blocked"),
)

RAW_TOPICS = (InteractionRecorded.topic, FeedbackReceived.topic)
"""Topics with users' words and hashes; their dead letters hold them too."""


@dataclass(frozen=True)
class RetainedStore:
    """Raw copies that nobody seeks out. `expires`: within the retention of raw events; else `how` says when."""

    place: str
    how: str
    expires: bool = True


def list_retained(topics: Iterable[str]) -> list[RetainedStore]:
    """List where raw copies of what users sent may be found after an erasure.

    Args:
        topics: `RAW_TOPICS` and their dead-letter topics, as the broker knows them.
    """
    return [RetainedStore(f"Kafka: {topic}", "deleted with its segment") for topic in topics] + [
        RetainedStore("spools of gateways: what the broker refused", "deleted by the gateway"),
        RetainedStore("spools of gateways: what waits for the broker", "sent once the broker takes it", expires=False),
        RetainedStore("queues of browsers and front ends", "until they are sent: not ours to erase", expires=False),
        RetainedStore(
            "backups, archives and replicas of the database and of Kafka",
            "until whoever made them deletes them; a restore erases again before anybody reads",
            expires=False,
        ),
        RetainedStore("exports of datasets", "until whoever made them deletes them", expires=False),
    ]
