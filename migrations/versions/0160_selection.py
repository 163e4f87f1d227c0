"""Schema evaluator: the pile of prompts that each comparison lies in, and with which probability it was offered."""

import sqlalchemy as sa
from alembic import op

revision = "0160"
down_revision = "0136"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("comparisons", sa.Column("pile", sa.Integer()), schema="evaluator")
    op.add_column("comparisons", sa.Column("selection_probability", sa.Double()), schema="evaluator")
    op.add_column("comparisons", sa.Column("selection_pool", sa.Integer()), schema="evaluator")


def downgrade() -> None:
    for name in ("pile", "selection_probability", "selection_pool"):
        op.drop_column("comparisons", name, schema="evaluator")
