"""What the registry's aliases were made to name, and copies of the registrations that users may meet."""

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.registry import ModelVersion
from shared.tables.deployer import Alias, Registration


def load_named(session: Session, alias: str) -> str | None:
    """Return the version that an alias was last made to name."""
    return session.scalar(select(Alias.version).where(Alias.alias == alias))


def save_named(session: Session, alias: str, version: str | None) -> None:
    if version is None:
        session.execute(delete(Alias).where(Alias.alias == alias))
        return
    new = insert(Alias).values(alias=alias, version=version)
    session.execute(new.on_conflict_do_update(index_elements=["alias"], set_={"version": version}))


def load_registration(session: Session, version: str) -> ModelVersion | None:
    row = session.get(Registration, version)
    return ModelVersion(version, row.tags) if row else None


def save_registration(session: Session, version: str, tags: Mapping[str, str]) -> None:
    new = insert(Registration).values(version=version, tags=dict(tags))
    session.execute(new.on_conflict_do_update(index_elements=["version"], set_={"tags": dict(tags)}))
