"""The tables, one module for each Postgres schema. Only its service writes a schema; the others may read it."""

from shared.tables import access, curator, deployer, drift, erasures, evaluator, quarantine, shadow, trainer
from shared.tables.base import Base

SCHEMAS = ("access", "curator", "trainer", "evaluator", "deployer")

__all__ = [
    "SCHEMAS",
    "Base",
    "access",
    "curator",
    "deployer",
    "drift",
    "erasures",
    "evaluator",
    "quarantine",
    "shadow",
    "trainer",
]
