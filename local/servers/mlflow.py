"""`python -m local.servers.mlflow HOST PORT`: MLflow's tracking server and registry in one process.

`mlflow server` is a parent that only waits for its uvicorn child: half as much memory again, and when it is killed the
child keeps the port, so that no successor can start. The database is in `MLFLOW_BACKEND_STORE_URI`, the folder that
clients write artifacts to in `MLFLOW_DEFAULT_ARTIFACT_ROOT`.
"""

import os
import sys

import uvicorn
from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from mlflow.server.handlers import initialize_backend_stores


def main(host: str, port: int) -> None:
    database_url, artifacts = os.environ["MLFLOW_BACKEND_STORE_URI"], os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    initialize_backend_stores(database_url, database_url, artifacts)  # makes or migrates the tables
    os.environ |= {BACKEND_STORE_URI_ENV_VAR: database_url, ARTIFACT_ROOT_ENV_VAR: artifacts}
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=port, access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
