"""Keys expire, and rotate with a grace for the old secret."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = (
    ("expires_at", sa.DateTime(timezone=True)),
    ("previous_secret_hash", sa.LargeBinary()),
    ("previous_expires_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("api_keys", sa.Column(name, kind, nullable=True), schema="access")


def downgrade() -> None:
    for name, _ in reversed(COLUMNS):
        op.drop_column("api_keys", name, schema="access")
