"""Who a process is to MLflow."""

import os

from shared.settings import Settings


def log_in_to_mlflow(settings: Settings) -> None:
    """Let MLflow's client log in as the settings say; it takes that from the environment, which children inherit."""
    if password := settings.mlflow_password.get_secret_value():
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_username
        os.environ["MLFLOW_TRACKING_PASSWORD"] = password
