"""`python -m services.trainer.bootstrap.rank <order file>`: a process of a spread run, started by `accelerate launch`.

The first process reports to the launcher, which alone holds the claim; the first on each further machine says when a
checkpoint is there, and the others say nothing.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from services.trainer.adapters.distributed.exchange import ERROR, OUTCOME, choose_reporter, read_order
from services.trainer.adapters.distributed.launcher import die_with_parent
from services.trainer.adapters.methods.resource_errors import translate_resource_errors
from services.trainer.bootstrap.methods import train_here
from services.trainer.domain.training import Interrupted, OutOfMemory, TrainingFailed


def main(order_file: Path) -> None:
    """Train as the order says, and leave the outcome for the launcher."""
    die_with_parent()
    order = read_order(order_file)
    folder = order_file.parent
    leads_machine = os.environ["LOCAL_RANK"] == "0"
    reporter = choose_reporter(folder, int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]))
    outcome: dict[str, Any]
    try:
        with translate_resource_errors(folder):
            trained = train_here(order.threads, order.job, reporter)
        outcome = {"trained": trained.__dict__}
    except Interrupted as error:
        outcome = {"interrupted": error.detail}
    except OutOfMemory as error:
        (folder / f"{ERROR}.{os.environ['RANK']}").write_text(
            f"{OutOfMemory.__name__}: {error.detail}", encoding="utf-8"
        )
        raise
    except TrainingFailed as error:
        outcome = {"failed": error.detail, "cause": error.cause}
    except Exception as error:
        (folder / f"{ERROR}.{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise
    if leads_machine:
        draft = folder / f"{OUTCOME}.draft"
        draft.write_text(json.dumps(outcome), encoding="utf-8")
        draft.replace(folder / OUTCOME)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
