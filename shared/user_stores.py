"""Every place that may hold a user's words, vectors, or the keyed hash of their id.

Erasure and its certificate walk this list. Whoever adds a place adds it here; a test plants a user everywhere and
searches dumps and folders.
"""

from dataclasses import dataclass

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


OWN = '"user" = %(user)s'
IN_EVENT = "event->>'user' = %(user)s"
OF_ERASED_PROMPTS = """
    jsonb_array_length(messages) > 0 AND NOT EXISTS
        (SELECT FROM curator.prompts WHERE prompts.prompt_hash = comparisons.prompt_hash)
"""

TABLES = (
    TableStore("curator.interactions", OWN, "curator"),
    TableStore("curator.feedback", OWN, "curator"),
    TableStore("curator.conflicting_events", IN_EVENT, "curator"),
    TableStore("curator.quarantined", "subject_id = %(user)s OR strpos(detail::text, %(user)s) > 0", "curator"),
    TableStore("curator.quarantine_decisions", "subject_id = %(user)s", "curator"),
    TableStore("curator.datasets", "strpos(manifest::text, %(user)s) > 0", "curator", "replaced by successors"),
    TableStore("curator.detectors", "strpos(state::text, %(user)s) > 0", "curator", "counted anew"),
    TableStore("deployer.served_interactions", OWN, "deployer", "made anonymous"),
    TableStore("deployer.votes", OWN, "deployer", "made anonymous: the vote counts, whose it was is gone"),
    TableStore("deployer.feedback", IN_EVENT, "deployer"),
    TableStore("evaluator.comparisons", OF_ERASED_PROMPTS, "evaluator", "emptied, in MLflow's reports too"),
    TableStore(
        "evaluator.comparisons",
        "voter = %(user)s OR offered_to = %(user)s",
        "evaluator",
        "made anonymous: the vote counts, whose it was is gone",
    ),
)

OTHERS = (
    OtherStore(
        "files of datasets, with their reports and selection logs", "curator", "deleted; successors stand for them"
    ),
    OtherStore("data reports beside datasets", "nobody", "hold figures and ids, no words and no users"),
    OtherStore("MLflow: report.html and texts.json of evaluations", "evaluator", "written anew without the texts"),
    OtherStore("MLflow: datasets and runs", "nobody", "hold hashes of datasets and figures, no words and no users"),
    OtherStore("Weights & Biases", "nobody", "is sent figures, settings and hashes, no words and no users"),
    OtherStore("caches of artifacts on workers", "trainer", "a dataset is deleted there when its run ends"),
    OtherStore("the erasure ledger and its journal", "nobody", "keep the keyed hash, so that the user stays erased"),
    OtherStore("weights of models", "nobody", "do not unlearn; `models` lists them, and a candidate is blocked"),
)

RETAINED = (
    "Kafka topics",
    "dead letters",
    "spools of gateways and clients",
    "backups of these and of the database",
)
"""Raw copies that nobody seeks out: they go when their retention ends."""
