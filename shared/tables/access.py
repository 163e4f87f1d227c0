"""Schema `access`: API keys and people's accounts, written by the command line only."""

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, CreatedAt

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
