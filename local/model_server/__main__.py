"""`python -m local.model_server HOST PORT [--dtype float32] [--slots 16] [--context 2048]`."""

import argparse
import logging
import os
import threading
import time

import torch
import uvicorn

from local.model_server.app import create_app
from local.model_server.models import Models
from local.model_server.worker import Worker

LOOK_SECONDS = 2.0
FAREWELL_SECONDS = 1.0
"""From a failed step to the end of the process: those who waited hear of it."""


def end_when_dead(worker: Worker) -> None:
    """End the process once its worker computes no more, so that a supervisor starts another."""
    while worker.problem is None:
        worker.wait(LOOK_SECONDS)
    logging.getLogger(__name__).critical("ending: %s", worker.problem)
    time.sleep(FAREWELL_SECONDS)
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="what is computed in")
    parser.add_argument("--slots", type=int, default=16, help="requests answered at once")
    parser.add_argument("--context", type=int, default=2_048, help="tokens of a prompt and its answer, at most")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker()
    models = Models(worker, dtype=getattr(torch, arguments.dtype), slots=arguments.slots, context=arguments.context)
    worker.start()
    threading.Thread(target=end_when_dead, args=(worker,), daemon=True).start()
    uvicorn.run(create_app(worker, models), host=arguments.host, port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
