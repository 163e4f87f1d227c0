"""Schema deployer: which of a thousand groups of users a comparison of a shadow comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0250"
down_revision = "0235"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. In a shadow under way each prompt of before goes on counting as a user's of its own.

    Who asked is not known. As one user's they would count as prompts and weigh nothing: the shadow would end well.
    """
    column = sa.Column("user_group", sa.Integer(), server_default="0", nullable=False)
    op.add_column("shadow_comparisons", column, schema="deployer")
    op.execute(
        "UPDATE deployer.shadow_comparisons SET user_group = sequence % 1000 WHERE rollout_id IN"
        " (SELECT rollout_id FROM deployer.rollouts WHERE shadow_started_at IS NOT NULL AND closed_at IS NULL)"
    )


def downgrade() -> None:
    op.drop_column("shadow_comparisons", "user_group", schema="deployer")
