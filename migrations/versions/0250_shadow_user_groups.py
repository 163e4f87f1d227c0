"""Schema deployer: which of a thousand groups of users a comparison of a shadow comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0250"
down_revision = "0235"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Comparisons of before are all of one group, and so of one user."""
    column = sa.Column("user_group", sa.Integer(), server_default="0", nullable=False)
    op.add_column("shadow_comparisons", column, schema="deployer")


def downgrade() -> None:
    op.drop_column("shadow_comparisons", "user_group", schema="deployer")
