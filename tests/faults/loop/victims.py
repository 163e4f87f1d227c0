"""The processes of the loop: when each is harmed, for how long a stop must last, and what shows that work goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.loop.scene import Scene

GoesOn = Callable[["Scene", datetime], bool]


@dataclass(frozen=True)
class Victim:
    """`begins` is a query that is true once it may be harmed; `goes_on`, whether work went through it since a time."""

    name: str
    phase: str
    begins: str
    goes_on: GoesOn
    proof: str
    stop_seconds: float
    """Longer than the deadline that others, or it itself, keep."""


def sql(query: str) -> GoesOn:
    return lambda scene, since: scene.tables.holds(query, since=since)


CHATTING = "SELECT count(*) > 30 FROM curator.feedback"
TRAINING = """
    SELECT EXISTS (SELECT FROM trainer.runs WHERE state = 'running' AND (progress->>'step')::int >= 2)
        OR EXISTS (SELECT FROM trainer.runs WHERE state = 'succeeded')
"""
EVALUATING = """
    SELECT EXISTS (SELECT FROM evaluator.evaluations WHERE state <> 'generating' OR progress->>'done' IS NOT NULL)
"""
CANARY = """
    SELECT EXISTS (SELECT FROM deployer.rollouts WHERE state = 'canary' AND stage >= 0 OR closed_at IS NOT NULL)
"""
PROMOTED = "SELECT EXISTS (SELECT FROM deployer.rollouts WHERE closed_at IS NOT NULL)"

ACCEPTED = sql("SELECT EXISTS (SELECT FROM curator.feedback WHERE received_at > %(since)s)")
ANSWERED = sql("SELECT EXISTS (SELECT FROM curator.interactions WHERE served_at > %(since)s AND error IS NULL)")
LOOKED = sql("SELECT EXISTS (SELECT FROM curator.detectors WHERE updated_at > %(since)s)")
TRAINED_ON = sql("""
    SELECT EXISTS (SELECT FROM trainer.runs WHERE heartbeat_at > %(since)s AND (progress->>'step')::int > 0)
        OR EXISTS (SELECT FROM trainer.runs WHERE finished_at > %(since)s)
""")
JUDGED_ON = sql("""
    SELECT EXISTS (SELECT FROM evaluator.evaluations WHERE heartbeat_at > %(since)s AND progress->>'done' IS NOT NULL)
        OR EXISTS (SELECT FROM evaluator.comparisons WHERE voted_at > %(since)s)
        OR EXISTS (SELECT FROM evaluator.evaluations WHERE completed_at > %(since)s)
""")
HEARD = sql("SELECT EXISTS (SELECT FROM deployer.feedback WHERE heard_at > %(since)s)")
SERVED_BY_CHAMPION = sql("""
    SELECT EXISTS (
        SELECT FROM curator.interactions WHERE served_at > %(since)s AND error IS NULL AND model_version =
        (SELECT "table"->'champion'->>'version' FROM deployer.routing ORDER BY generation DESC LIMIT 1))
""")


VICTIMS = (
    Victim("ingest", "users chat", CHATTING, ACCEPTED, "a new event is accepted and curated", 10),
    Victim("gateway", "users chat", CHATTING, ANSWERED, "a new chat is answered and curated", 10),
    Victim("curator", "users chat", CHATTING, ACCEPTED, "a new event is curated", 10),
    Victim("model-server", "users chat", CHATTING, ANSWERED, "a new chat is answered", 14),
    Victim("drift-monitor", "users chat", CHATTING, LOOKED, "the detectors are read again", 8),
    Victim("postgres", "users chat", CHATTING, ACCEPTED, "a new event is curated", 12),
    Victim("broker", "users chat", CHATTING, ACCEPTED, "a new event is accepted and curated", 12),
    Victim(
        "valkey", "training", TRAINING, lambda scene, _: scene.wakes_worker(), "the worker hears its queue again", 12
    ),
    Victim("mlflow", "training", TRAINING, lambda scene, _: scene.reads_model(), "the champion is read from it", 12),
    Victim("trainer", "training", TRAINING, lambda scene, _: scene.reads_runs(), "the runs are read from it", 8),
    Victim("trainer-worker", "training", TRAINING, TRAINED_ON, "the run takes further steps", 14),
    Victim("evaluator", "evaluating", EVALUATING, JUDGED_ON, "answers are made, or votes counted", 14),
    Victim("deployer", "the canary serves", CANARY, HEARD, "a new thumb is counted", 8),
    Victim("gateway", "the canary serves", CANARY, ANSWERED, "a new chat is answered and curated", 10),
    Victim("model-server", "the new champion serves", PROMOTED, SERVED_BY_CHAMPION, "the champion answers", 14),
)
"""In the order in which the loop gets to where each matters. `supervisor` comes last, and is the scene's own affair."""
