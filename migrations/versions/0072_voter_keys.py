"""Schema evaluator: the API key behind each vote, so that one key is one rater and nobody approves what they judged."""

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("comparisons", sa.Column("voter_key", sa.Text()), schema="evaluator")


def downgrade() -> None:
    op.drop_column("comparisons", "voter_key", schema="evaluator")
