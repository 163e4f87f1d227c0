"""Schema deployer: the audit log takes new entries only, and seals them with a key."""

import sqlalchemy as sa
from alembic import op

revision = "0073"
down_revision = "0072"
branch_labels = None
depends_on = None

REFUSE = """
CREATE FUNCTION deployer.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
ROWS = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON deployer.audit
FOR EACH ROW EXECUTE FUNCTION deployer.refuse_audit_change()
"""
TABLE = """
CREATE TRIGGER append_only_table BEFORE TRUNCATE ON deployer.audit
FOR EACH STATEMENT EXECUTE FUNCTION deployer.refuse_audit_change()
"""


def upgrade() -> None:
    op.add_column("audit", sa.Column("seal", sa.Text()), schema="deployer")
    for statement in (REFUSE, ROWS, TABLE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER append_only_table ON deployer.audit")
    op.execute("DROP TRIGGER append_only ON deployer.audit")
    op.execute("DROP FUNCTION deployer.refuse_audit_change()")
    op.drop_column("audit", "seal", schema="deployer")
