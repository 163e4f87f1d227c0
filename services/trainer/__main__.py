"""`python -m services.trainer [worker]`."""

import sys

from services.trainer.bootstrap.trainer import run_trainer
from services.trainer.bootstrap.worker import run_worker

ROLES = {"": run_trainer, "worker": run_worker}

role = " ".join(sys.argv[1:])
if role not in ROLES:
    sys.exit(f"usage: python -m services.trainer [worker], not {role!r}")
ROLES[role]()
