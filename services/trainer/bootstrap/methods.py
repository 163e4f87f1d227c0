"""The training methods by name. Each imports torch only when it is called, once the run is claimed."""

from collections.abc import Callable, Mapping

from services.trainer.domain.training import Job, Trained, Watch

# Models are folders on disk: nothing here may look for them elsewhere. MLflow's own retries take minutes by default.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def train_with_dpo(threads: int, job: Job, watch: Watch) -> Trained:
    from services.trainer.adapters.dpo import set_threads, train_dpo

    set_threads(threads)
    return train_dpo(job, watch)


METHODS: Mapping[str, Callable[[int, Job, Watch], Trained]] = {"dpo": train_with_dpo}
