"""SageMaker: moto's server for the shapes of requests and answers, and in front of it what moto has not: machines that
take their time, credentials that are checked, a quota.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx

from services.trainer.adapters.launching.sagemaker import LOGS, SageMakerLauncher
from services.trainer.domain.launching.settings import SageMaker
from services.trainer.ports import Launcher
from tests.launchers.environments import find_python
from tests.launchers.played import Container, Handler, Platform, serve
from tests.trainer_processes import find_port

REGION, KEY = "us-east-1", "AKIATESTTESTTESTTEST"
STATES = {
    "running": ("InProgress", "Training", ""),
    "succeeded": ("Completed", "Completed", ""),
    "failed": ("Failed", "Failed", "AlgorithmError: , exit code: 3"),
    "taken": ("Stopped", "Interrupted", ""),
    "stopped": ("Stopped", "Stopped", ""),
}
LIMIT = {
    "__type": "ResourceLimitExceeded",
    "message": "The account-level service limit 'ml.p4d.24xlarge for training job usage' is 0 Instances",
}
STRANGER = {
    "__type": "UnrecognizedClientException",
    "message": "The security token included in the request is invalid.",
}


def make_handler(platform: Platform, moto: str) -> type[Handler]:
    class SageMakerHandler(Handler):
        def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
            action = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            if KEY not in (self.headers.get("Authorization") or ""):
                return 400, STRANGER
            if action == "CreateTrainingJob" and platform.is_full:
                return 400, LIMIT
            request = json.loads(body)
            if action == "DescribeLogStreams":
                publish_log(platform, moto, request["logStreamNamePrefix"].rstrip("/"))
            skipped = ("Content-Length", "Host", "Accept-Encoding")
            headers = {name: value for name, value in self.headers.items() if name not in skipped}
            answered = httpx.post(moto, content=body, headers=headers)
            if action == "CreateTrainingJob" and answered.is_success:
                launch(platform, request)
            if action == "StopTrainingJob" and request["TrainingJobName"] in platform.containers:
                platform.stop(request["TrainingJobName"])
                return 200, {}
            if action == "DescribeTrainingJob" and answered.is_success:
                return 200, describe(answered.json(), platform.containers[request["TrainingJobName"]])
            return answered.status_code, answered.content

    return SageMakerHandler


def launch(platform: Platform, request: dict[str, Any]) -> None:
    hosts = [f"algo-{number + 1}" for number in range(request["ResourceConfig"]["InstanceCount"])]
    places = [{"SM_HOSTS": json.dumps(hosts), "SM_CURRENT_HOST": host} for host in hosts]
    assert request["AlgorithmSpecification"]["ContainerEntrypoint"] == ["heliotrope"]
    arguments = request["AlgorithmSpecification"]["ContainerArguments"]
    platform.launch(request["TrainingJobName"], arguments, places, **request.get("Environment", {}))


def describe(job: dict[str, Any], container: Container) -> dict[str, Any]:
    status, secondary, reason = STATES[container.state]
    return job | {"TrainingJobStatus": status, "SecondaryStatus": secondary, "FailureReason": reason}


def publish_log(platform: Platform, moto: str, name: str) -> None:
    """Put a job's log where SageMaker puts it."""
    logs = make_session(KEY).client("logs", region_name=REGION, endpoint_url=moto)
    stream = f"{name}/algo-1-1700000000"
    if not logs.describe_log_groups(logGroupNamePrefix=LOGS)["logGroups"]:
        logs.create_log_group(logGroupName=LOGS)
    if logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=stream)["logStreams"]:
        return
    logs.create_log_stream(logGroupName=LOGS, logStreamName=stream)
    lines = platform.containers[name].log.read_text().splitlines() or ["-"]
    now = int(time.time() * 1000)  # what is older than two weeks is dropped
    events = [{"timestamp": now, "message": line or " "} for line in lines]
    logs.put_log_events(logGroupName=LOGS, logStreamName=stream, logEvents=events)


def make_session(key: str) -> Any:
    return boto3.Session(aws_access_key_id=key, aws_secret_access_key="secret", region_name=REGION)


class SageMakerRig:
    def __init__(self, platform: Platform, nodes: int) -> None:
        self.nodes, self._platform = nodes, platform
        self.settings = SageMaker(
            region=REGION,
            role="arn:aws:iam::123456789012:role/heliotrope-training",
            image="123456789012.dkr.ecr.us-east-1.amazonaws.com/heliotrope:gpu",
            instance_type="ml.p4d.24xlarge",
            output="s3://heliotrope/sagemaker/",
            spot=True,
        )
        self.launcher: Launcher = SageMakerLauncher(self.settings, make_session(KEY))

    def evict(self, handle: str) -> None:
        self._platform.take(handle)

    def make_denied(self) -> Launcher:
        return SageMakerLauncher(self.settings, make_session("AKIASTRANGERSTRANGER"))

    @contextmanager
    def fill(self) -> Iterator[None]:
        self._platform.is_full = True
        yield
        self._platform.is_full = False


@contextmanager
def run_moto(folder: Path) -> Iterator[str]:
    port = find_port()
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [str(find_python()), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    pause = threading.Event()
    for _ in range(300):
        assert process.poll() is None, "moto's server did not start"
        try:
            httpx.get(f"{url}/moto-api/data.json", timeout=2.0)
            return
        except httpx.HTTPError:
            pause.wait(0.2)
    raise AssertionError("moto's server does not answer")


@contextmanager
def serve_sagemaker(folder: Path, moto: str) -> Iterator[SageMakerRig]:
    """Yields the rig; while the block lasts, boto3 is told of this endpoint as it is told of a private one."""
    platform = Platform(folder)
    with serve(make_handler(platform, moto)) as url:
        os.environ["AWS_ENDPOINT_URL"] = url
        try:
            yield SageMakerRig(platform, 2)
        finally:
            platform.close()
            del os.environ["AWS_ENDPOINT_URL"]
