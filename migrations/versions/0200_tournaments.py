"""Schemas curator and trainer: a request names several recipes, and has a run for each.

Release 0.1.0 lets a request have one run by a unique key on `trainer.runs.request_id`, which its inserts name. So that
column stays as it is, for the first recipe's run; of the others it is the run's own id. The request of every run is in
`retrain_request_id`. A trigger fills in whichever of the two a writer does not know.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0200"
down_revision = "0150"
branch_labels = None
depends_on = None

NAME = """
CREATE FUNCTION trainer.name_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.retrain_request_id IS NULL THEN
        NEW.retrain_request_id := NEW.request_id;
        NEW.recipe_name := coalesce(NEW.recipe->>'name', '');
    ELSIF NEW.request_id IS NULL THEN
        NEW.request_id := CASE WHEN NEW.recipe_position = 0 THEN NEW.retrain_request_id ELSE NEW.run_id END;
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER name_request BEFORE INSERT ON trainer.runs
FOR EACH ROW EXECUTE FUNCTION trainer.name_request()
"""
BACKFILL = """
UPDATE trainer.runs SET retrain_request_id = request_id, recipe_name = coalesce(recipe->>'name', '')
WHERE retrain_request_id IS NULL
"""


def upgrade() -> None:
    op.add_column("retrain_requests", sa.Column("recipes", postgresql.JSONB(none_as_null=True)), schema="curator")
    op.add_column("runs", sa.Column("retrain_request_id", sa.Uuid()), schema="trainer")
    op.add_column("runs", sa.Column("recipe_name", sa.Text(), server_default="", nullable=False), schema="trainer")
    op.add_column(
        "runs", sa.Column("recipe_position", sa.Integer(), server_default="0", nullable=False), schema="trainer"
    )
    op.execute(NAME)
    op.execute(TRIGGER)
    op.execute(BACKFILL)
    op.alter_column("runs", "retrain_request_id", nullable=False, schema="trainer")
    op.alter_column("runs", "request_id", nullable=True, schema="trainer")
    op.create_unique_constraint(
        op.f("uq_runs_retrain_request_id_recipe_name"), "runs", ["retrain_request_id", "recipe_name"], schema="trainer"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER name_request ON trainer.runs")
    op.execute("DROP FUNCTION trainer.name_request()")
    op.drop_constraint(op.f("uq_runs_retrain_request_id_recipe_name"), "runs", schema="trainer")
    op.alter_column("runs", "request_id", nullable=False, schema="trainer")
    for name in ("retrain_request_id", "recipe_name", "recipe_position"):
        op.drop_column("runs", name, schema="trainer")
    op.drop_column("retrain_requests", "recipes", schema="curator")
