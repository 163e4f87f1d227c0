"""Amazon SageMaker training jobs, by boto3's client: its credentials are those of the worker's own role."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from services.trainer.domain.launching.endings import (
    LOST_PEER,
    LauncherDenied,
    LauncherRefused,
    LauncherUnavailable,
    QuotaReached,
    RemoteRun,
    State,
)
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.launching.settings import SageMaker

T = TypeVar("T")
STATES: dict[str, State] = {
    "InProgress": "running",
    "Stopping": "running",
    "Stopped": "cancelled",
    "Completed": "succeeded",
    "Failed": "failed",
}
EVICTED = ("Interrupted", "MaxWaitTimeExceeded")
"""Secondary states of a spot job whose machines were taken away."""
CAPACITY = ("CapacityError", "InsufficientCapacity")
DENIED = (
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
)
PASSING = ("ThrottlingException", "ServiceUnavailable", "InternalFailure", "InternalServerError", "RequestTimeout")
LOGS = "/aws/sagemaker/TrainingJobs"
LOG_EVENTS = 60
WAIT_FACTOR = 2


class SageMakerLauncher:
    def __init__(self, settings: SageMaker, session: Any = None) -> None:
        """`session`: boto3's, by default one that finds the worker's own credentials."""
        import boto3
        from botocore.config import Config

        session = session or boto3.Session()
        config = Config(
            region_name=settings.region, connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 2}
        )
        self._client: Any = session.client("sagemaker", config=config)
        self._logs: Any = session.client("logs", config=config)
        self._settings = settings

    def start(self, order: LaunchOrder) -> str:
        with suppress(_AlreadyThereError):
            _call(lambda: self._client.create_training_job(**make_request(order, self._settings)))
        return order.name

    def look(self, handle: str) -> RemoteRun:
        try:
            job = _call(lambda: self._client.describe_training_job(TrainingJobName=handle))
        except _NotThereError:
            return RemoteRun("gone")
        state = STATES.get(job["TrainingJobStatus"], "running")
        reason, secondary = str(job.get("FailureReason") or ""), str(job.get("SecondaryStatus") or "")
        was_taken = secondary in EVICTED or any(word in reason for word in CAPACITY)
        if state in ("failed", "cancelled") and was_taken:
            state = "evicted"
        if secondary == "MaxRuntimeExceeded":
            state, reason = "failed", reason or secondary
        if state == "failed" and f"exit code: {LOST_PEER}" in reason:
            state = "lost"
        if state == "running" and secondary in ("Starting", "LaunchingMLInstances", "Pending"):
            state = "pending"
        return RemoteRun(state, reason[:300], self._locate_page(handle))

    def read_log(self, handle: str) -> str:
        try:
            streams = _call(
                lambda: self._logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=f"{handle}/")
            )["logStreams"]
            lines: list[str] = []
            for stream in streams[:1]:
                lines += self._read_stream(stream["logStreamName"])
            return "\n".join(lines)
        except (_NotThereError, LauncherDenied):  # the role may lack the right to read logs: the run's end is known
            return ""

    def _read_stream(self, name: str) -> list[str]:
        found = _call(lambda: self._logs.get_log_events(logGroupName=LOGS, logStreamName=name, limit=LOG_EVENTS))
        return [event["message"] for event in found["events"]]

    def cancel(self, handle: str) -> None:
        try:
            _call(lambda: self._client.stop_training_job(TrainingJobName=handle))
        except (_NotThereError, LauncherRefused):  # it is over
            return

    def _locate_page(self, handle: str) -> str:
        region = self._settings.region
        return f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/jobs/{handle}"


class _NotThereError(Exception):
    """SageMaker knows of no such job."""


class _AlreadyThereError(Exception):
    """A job of that name is there."""


def _call(action: Callable[[], T]) -> T:
    """Call AWS, with its errors as ours."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return action()
    except NoCredentialsError as error:
        raise LauncherDenied(str(error)) from error
    except BotoCoreError as error:
        raise LauncherUnavailable(str(error)) from error
    except ClientError as error:
        raise _translate(error.response.get("Error", {})) from error


def _translate(error: dict[str, Any]) -> Exception:
    code, words = str(error.get("Code")), str(error.get("Message", ""))[:300]
    said = f"{code}: {words}"
    if code == "ResourceLimitExceeded":
        return QuotaReached(said)
    if code in DENIED:
        return LauncherDenied(said)
    if code == "ResourceInUse":
        return _AlreadyThereError(said)
    missing = "not found" in words.lower() or "could not find" in words.lower() or "does not exist" in words.lower()
    if code in ("ResourceNotFound", "ResourceNotFoundException") or (code == "ValidationException" and missing):
        return _NotThereError(said)
    return LauncherUnavailable(said) if code in PASSING else LauncherRefused(said)


def make_request(order: LaunchOrder, settings: SageMaker) -> dict[str, Any]:
    """Make what `CreateTrainingJob` takes."""
    request: dict[str, Any] = {
        "TrainingJobName": order.name,
        "RoleArn": settings.role,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["heliotrope"],
            "ContainerArguments": list(order.arguments),
        },
        "ResourceConfig": {
            "InstanceType": settings.instance_type,
            "InstanceCount": order.nodes,
            "VolumeSizeInGB": settings.volume_gb,
        },
        "OutputDataConfig": {"S3OutputPath": settings.output},
        "StoppingCondition": {"MaxRuntimeInSeconds": order.max_seconds},
        "Environment": dict(order.environment),
        "Tags": [{"Key": "managed-by", "Value": "heliotrope"}],
    }
    if settings.spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = WAIT_FACTOR * order.max_seconds
    if settings.subnets:
        request["VpcConfig"] = {
            "Subnets": list(settings.subnets),
            "SecurityGroupIds": list(settings.security_groups),
        }
    return request
