"""Which parts of the database each service may touch, and which secrets it holds: written once, granted from here.

`heliotrope roles` makes the Postgres roles; the local stack, docker-compose.yml and the chart give each process the
secrets that stand here and no other (tests compare them).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatabaseRole:
    """A Postgres role. Tables are named `schema` (all of them) or `schema.table`.

    `reads_only` and `appends` take back from `writes`: what may be read alone, and what may be read and added to.
    """

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    reads_only: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()


EVIDENCE = (
    "curator.interactions",
    "curator.feedback",
    "curator.votes",
    "curator.conflicting_events",
    "curator.erasures",
    "curator.tombstones",
    "curator.quarantine_decisions",
    "curator.acts",
)
"""What only the curator's consumer and its API write; the monitor, which freezes datasets, reads it."""

DATABASE_ROLES = {
    "ingest": DatabaseRole(reads=("access", "curator.feedback", "curator.interactions")),
    "gateway": DatabaseRole(reads=("access",)),
    "curator": DatabaseRole(
        writes=("curator",), reads=("access", "trainer", "evaluator", "deployer"), appends=("curator.acts",)
    ),
    "monitor": DatabaseRole(
        writes=("curator",), reads=("access", "trainer", "evaluator", "deployer"), reads_only=EVIDENCE
    ),
    "trainer": DatabaseRole(writes=("trainer",), reads=("access", "curator", "evaluator"), appends=("trainer.acts",)),
    "evaluator": DatabaseRole(writes=("evaluator",), reads=("access", "curator", "deployer", "trainer")),
    "deployer": DatabaseRole(
        writes=("deployer",),
        reads=("access", "curator", "evaluator", "trainer"),
        appends=("deployer.audit", "deployer.sealed_acts", "deployer.approvals", "deployer.approval_policies"),
    ),
    "console": DatabaseRole(reads=("curator", "trainer", "evaluator", "deployer")),
}
"""Beside these there are `migrator`, which owns every table, and `mlflow`, which owns a database of its own."""

OWNERS = ("migrator", "mlflow")


@dataclass(frozen=True)
class ProcessAccess:
    """What one process is given: a database role, and settings that hold secrets, the database URL beside them."""

    role: str
    secrets: tuple[str, ...] = ()


USER_SECRETS = ("user_hash_secret", "user_hash_later_secrets")
INGEST_SECRETS = ("redis_url", *USER_SECRETS, "feedback_token_secret", "feedback_token_previous_secrets")
EMBEDDER_SECRET = "curator_embedder_api_key"
GATEWAY_SECRETS = (
    *USER_SECRETS,
    "feedback_token_secret",
    "gateway_internal_key",
    "gateway_model_server_key",
    "gateway_shadow_judge_key",
)

MODEL_SERVER_SECRET = "deployer_model_server_key"
"""Also of the agent beside each vLLM, which has no database role and no other secret."""
MLFLOW_SECRET = "mlflow_password"
"""Of whoever writes to MLflow, each as the user of its database role's name."""
DEPLOYER_SECRETS = (
    MODEL_SERVER_SECRET,
    MLFLOW_SECRET,
    "user_hash_later_secrets",
    "deployer_audit_key",
    "deployer_manifest_key",
    "deployer_routing_key",
    "deployer_assertion_key",
    "deployer_webhook_urls",
    "deployer_webhook_secret",
)

PROCESSES = {
    "ingest": ProcessAccess("ingest", INGEST_SECRETS),
    "gateway": ProcessAccess("gateway", GATEWAY_SECRETS),
    "curator": ProcessAccess("curator", (*USER_SECRETS, EMBEDDER_SECRET)),
    "drift-monitor": ProcessAccess("monitor", (EMBEDDER_SECRET,)),
    "trainer": ProcessAccess("trainer", ("redis_url",)),
    "trainer-worker": ProcessAccess("trainer", ("redis_url", "trainer_manifest_key", MLFLOW_SECRET)),
    "evaluator": ProcessAccess("evaluator", (*USER_SECRETS, MLFLOW_SECRET)),
    "deployer": ProcessAccess("deployer", DEPLOYER_SECRETS),
    "console": ProcessAccess("console", ("redis_url",)),
}
"""Process -> what it may do. A secret `x` is the setting `HELIOTROPE_X`."""


def list_secrets() -> list[str]:
    """List the settings that hold a secret, the database URL among them: a process is given its own alone."""
    return sorted({"database_url"}.union(*(access.secrets for access in PROCESSES.values())))


def name_role(database: str, role: str) -> str:
    """Name the Postgres role: roles belong to the whole server, so the database's name goes first."""
    return f"{database}_{role}"
