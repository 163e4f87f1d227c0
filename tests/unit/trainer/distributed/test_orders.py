"""The order that a run's processes read."""

import json
from pathlib import Path

from services.trainer.adapters.distributed.exchange import dump_order, read_order
from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.training import Job


def test_an_order_reads_back_also_of_a_recipe_that_an_earlier_release_accepted(tmp_path: Path):
    recipe = parse_recipe({"name": "old", "method": "dpo", "max_steps": 6, "guards": {"max_kl": 0.5}}, stored=True)
    job = Job(recipe, tmp_path / "base", tmp_path / "dataset", tmp_path, None, tmp_path / "candidate")
    (tmp_path / "order.json").write_text(json.dumps(dump_order(job, 2)))
    order = read_order(tmp_path / "order.json")
    assert (order.job, order.threads) == (job, 2)
