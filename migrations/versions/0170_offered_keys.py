"""Schema evaluator: the key that each comparison was shown to, so that one key cannot keep them all."""

import sqlalchemy as sa
from alembic import op

revision = "0170"
down_revision = "0175"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("comparisons", sa.Column("offered_key", sa.Text()), schema="evaluator", if_not_exists=True)


def downgrade() -> None:
    op.drop_column("comparisons", "offered_key", schema="evaluator")
