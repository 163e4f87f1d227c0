"""Schema deployer: epochs of routing. A restored backup begins a new one, so that gateways take its older tables."""

import sqlalchemy as sa
from alembic import op

revision = "0101"
down_revision = "0120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_epochs")),
        schema="deployer",
    )


def downgrade() -> None:
    op.drop_table("epochs", schema="deployer")
