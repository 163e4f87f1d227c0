"""Acts of people outside the deployer, beside what they did: new entries only; the deployer seals them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0136"
down_revision = "0135"
branch_labels = None
depends_on = None

SCHEMAS = ("access", "curator", "trainer")
REFUSE = """
CREATE FUNCTION access.refuse_act_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts are append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
TRIGGERS = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {schema}.acts
FOR EACH ROW EXECUTE FUNCTION access.refuse_act_change();
CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {schema}.acts
FOR EACH STATEMENT EXECUTE FUNCTION access.refuse_act_change()
"""


def upgrade() -> None:
    op.execute(REFUSE)
    for schema in SCHEMAS:
        op.create_table(
            "acts",
            sa.Column("act_id", sa.Uuid(), nullable=False),
            sa.Column("at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("actor", sa.Text(), nullable=False),
            sa.Column("action", sa.Text(), nullable=False),
            sa.Column("subject", sa.Text(), nullable=False),
            sa.Column("detail", JSONB(), nullable=False),
            sa.PrimaryKeyConstraint("act_id", name=op.f("pk_acts")),
            schema=schema,
        )
        for statement in TRIGGERS.format(schema=schema).split(";"):
            op.execute(statement)
    op.create_table(
        "sealed_acts",
        sa.Column("act_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_sealed_acts")),
        schema="deployer",
    )


def downgrade() -> None:
    op.drop_table("sealed_acts", schema="deployer")
    for schema in SCHEMAS:
        op.drop_table("acts", schema=schema)
    op.execute("DROP FUNCTION access.refuse_act_change()")
