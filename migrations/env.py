"""Alembic: one history for all schemas; the database comes from `HELIOTROPE_DATABASE_URL`."""

from alembic import context
from sqlalchemy import create_engine

from shared.settings import Settings, load_settings
from shared.tables import SCHEMAS, Base


def include_name(name: str | None, type_: str, parent_names: object) -> bool:
    return type_ != "schema" or name in SCHEMAS


def run() -> None:
    url = context.config.attributes.get("url") or load_settings(Settings).database_url.get_secret_value()
    engine = create_engine(url, connect_args={"connect_timeout": 5})
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_schemas=True,
            include_name=include_name,
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
