"""Schema `access`: API keys and people's accounts, written by the command line only."""

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import ActRow, Base, CreatedAt

ROLES = ("frontend", "rater", "ops", "admin", "internal")
ACCOUNT_ROLES = ("rater", "data", "ops", "admin")


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("role IN ('frontend', 'rater', 'ops', 'admin', 'internal')", name="role"),
        {"schema": "access"},
    )

    key_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    previous_secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_expires_at: Mapped[datetime | None]
    """After a rotation the previous secret opens until then."""


class UserHashGeneration(Base):
    """A secret that users are hashed with: 0 is the first one, each later one hashes what the one before gave."""

    __tablename__ = "user_hash_generations"
    __table_args__ = ({"schema": "access"},)

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fingerprint: Mapped[str]
    starts_anew: Mapped[bool]
    """The secrets before it were lost: their hashes lead no further."""
    began_at: Mapped[CreatedAt]


class Account(Base):
    """A person. `name` is theirs alone, and stands in audit logs and on decisions."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(f"role IN {ACCOUNT_ROLES}", name="role"),
        {"schema": "access"},
    )

    account_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]


class Act(ActRow):
    """What was done on the command line."""

    __tablename__ = "acts"
    __table_args__ = ({"schema": "access"},)
