"""Schema trainer: a run that trains elsewhere remembers its job there, for whichever worker looks after it next."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0235"
down_revision = "0220"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("remote", postgresql.JSONB(none_as_null=True)), schema="trainer")


def downgrade() -> None:
    op.drop_column("runs", "remote", schema="trainer")
