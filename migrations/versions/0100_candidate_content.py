"""Schema trainer: a run knows the content of its candidate's files, and where they are."""

import sqlalchemy as sa
from alembic import op

revision = "0100"
down_revision = "0090"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("content_sha256", "served_model"):
        op.add_column("runs", sa.Column(name, sa.Text()), schema="trainer")


def downgrade() -> None:
    for name in ("served_model", "content_sha256"):
        op.drop_column("runs", name, schema="trainer")
