"""`python -m services.trainer.bootstrap.rank <order file>`: a process of a spread run, started by `accelerate launch`.

The first process reports to the launcher, which alone holds the claim; the others say nothing.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from services.trainer.adapters.distributed.exchange import ERROR, OUTCOME, ReportingWatch, SilentWatch, read_order
from services.trainer.adapters.distributed.launcher import die_with_parent
from services.trainer.adapters.methods.resource_errors import explain_shortages
from services.trainer.bootstrap.methods import train_here
from services.trainer.domain.training import Interrupted, OutOfMemory, TrainingFailed


def main(order_file: Path) -> None:
    die_with_parent()
    order = read_order(order_file)
    folder = order_file.parent
    is_first = os.environ["RANK"] == "0"
    watch = ReportingWatch(folder) if is_first else SilentWatch(folder)
    outcome: dict[str, Any]
    try:
        with explain_shortages(folder):
            trained = train_here(order.threads, order.job, watch)
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
    if is_first:
        draft = folder / f"{OUTCOME}.draft"
        draft.write_text(json.dumps(outcome), encoding="utf-8")
        draft.replace(folder / OUTCOME)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
