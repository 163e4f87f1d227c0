"""Schema curator: the indexes that the console's queues and searches walk. Its database role is made, and may only
read, by `shared.service_access`."""

import sqlalchemy as sa
from alembic import op

revision = "0230"
down_revision = "0225"
branch_labels = None
depends_on = None

INDEXES = (
    ("pairs", "contested", ["created_at"], "state = 'contested'"),
    ("interactions", "conversation_id", ["conversation_id"], "conversation_id IS NOT NULL"),
    ("drift_windows", "closed_at", ["closed_at"], None),
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, name, columns, where in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS curator.ix_{table}_{name}")  # of a try that was cut short
            op.create_index(
                f"ix_{table}_{name}",
                table,
                columns,
                schema="curator",
                postgresql_concurrently=True,
                postgresql_where=sa.text(where) if where else None,
            )


def downgrade() -> None:
    for table, name, _, _ in reversed(INDEXES):
        op.drop_index(f"ix_{table}_{name}", table_name=table, schema="curator")
