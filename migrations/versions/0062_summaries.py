"""Schema deployer: free text for people is called `summary`.

The column `words` stays for the release before; a trigger copies whichever of the two a writer set.
"""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0041"
branch_labels = None
depends_on = None

COPY = """
CREATE FUNCTION deployer.copy_summary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.summary := coalesce(nullif(NEW.summary, ''), NEW.words, '');
    ELSIF NEW.summary IS NOT DISTINCT FROM OLD.summary AND NEW.words IS DISTINCT FROM OLD.words THEN
        NEW.summary := coalesce(NEW.words, '');
    END IF;
    NEW.words := NEW.summary;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER copy_summary BEFORE INSERT OR UPDATE ON deployer.rollouts
FOR EACH ROW EXECUTE FUNCTION deployer.copy_summary()
"""


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("summary", sa.Text(), server_default="", nullable=False), schema="deployer")
    op.execute("UPDATE deployer.rollouts SET summary = words")
    op.alter_column("rollouts", "words", nullable=True, schema="deployer")
    op.execute(COPY)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER copy_summary ON deployer.rollouts")
    op.execute("DROP FUNCTION deployer.copy_summary()")
    op.alter_column("rollouts", "words", nullable=False, schema="deployer")
    op.drop_column("rollouts", "summary", schema="deployer")
