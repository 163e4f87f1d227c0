"""What every table is made of."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, LargeBinary, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
UuidKey = Annotated[UUID, mapped_column(primary_key=True)]

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


class RefusedRow(Base):
    """An event that the broker will never take as it is, beside the outbox it comes from. One such table per schema."""

    __abstract__ = True

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    topic: Mapped[str]
    key: Mapped[bytes] = mapped_column(LargeBinary)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    headers: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    refused_at: Mapped[CreatedAt]
    reason: Mapped[str]


class ActRow(Base):
    """What a person or a command did, in the transaction that did it: new rows only. One such table per schema."""

    __abstract__ = True

    act_id: Mapped[UuidKey]
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]]


class OutboxRow(Base):
    """An event waiting to be announced, written in the transaction that made it true. One such table per schema."""

    __abstract__ = True

    refused: ClassVar[type[RefusedRow]]
    """The table beside it."""

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    topic: Mapped[str]
    key: Mapped[bytes] = mapped_column(LargeBinary)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    headers: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]
