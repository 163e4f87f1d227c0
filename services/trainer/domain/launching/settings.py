"""The launchers that a deployment offers: each with a name, an engine, and limits.

Credentials are the platform's own: a role, a service account, a kubeconfig. A file that names one is refused.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from services.trainer.domain.launching.limits import Limits
from services.trainer.domain.recipe.sections import Part, PositiveInt
from shared.errors import FieldError, InvalidRequest

SECRET_NAME = re.compile(
    r"SECRET|TOKEN(?!IZER)|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|CONN(ECTION)?_?STR|(API|ACCESS|SIGNING|SSH|AWS)_?KEY"
    r"|(^|_)(KEY|PASS|PWD|AUTH|COOKIE|DSN|SAS|JWT|PAT)($|_)"
    r"|(DATABASE|DB|POSTGRES|POSTGRESQL|PG|MYSQL|MONGO|MONGODB|REDIS|VALKEY|BROKER|AMQP|KAFKA)_(URL|URI)$"
)
SECRET_VALUE = re.compile(
    r"://[^/\s@:]*:[^/\s@]+@"  # a URL with a password
    r"|://[^/\s@:]{16,}@"  # or with a token as its user
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|(^|[?&;,\s])(sig|token|key|accountkey|password|passwd|pwd|sslpassword|x-amz-signature)\s*=\s*[^&;\s]",
    re.IGNORECASE,
)
Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Text = Annotated[str, Meta(min_length=1)]


class Engine(Part, frozen=True, kw_only=True, tag_field="engine"):
    """What every launcher has."""

    limits: Limits = Limits()
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """For the training processes; no secrets."""


class Local(Engine, frozen=True, kw_only=True, tag="local"):
    """Processes of their own on this machine, which outlive the worker."""


class Machines(Engine, frozen=True, kw_only=True, tag="accelerate"):
    """Machines by name, over ssh; the first is the one that the others connect to."""

    hosts: Annotated[tuple[Text, ...], Meta(min_length=1)]
    shell: tuple[Text, ...] = ("ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5")
    """What reaches a host: its name and a command line follow."""
    command: tuple[Text, ...] = ("heliotrope",)
    """There."""
    folder: Text = "/var/tmp/heliotrope"
    """There, for logs and what is fetched."""
    port: PositiveInt = 29500


class Ray(Engine, frozen=True, kw_only=True, tag="ray"):
    """An existing Ray cluster, by its Jobs API; the training runs under Ray Train."""

    url: Text
    gpus: int = 0
    """For each machine's worker."""
    cpus: float = 1.0
    driver: tuple[Text, ...] = ("python", "-m", "services.trainer.adapters.launching.ray_driver")
    """On the cluster, which has this release and Ray side by side."""
    command: tuple[Text, ...] = ("heliotrope",)
    """There."""


class Pods(Engine, frozen=True, kw_only=True):
    """What the engines on Kubernetes have in common."""

    image: Text
    namespace: Name = "default"
    service_account: Text = "default"
    """Whose rights to the object store the pods have."""
    secrets: tuple[Text, ...] = ()
    """Kubernetes Secrets that become environment variables, where the store knows no workload identity."""
    command: tuple[Text, ...] = ("heliotrope",)
    cpu: Text = "1"
    memory: Text = "4Gi"
    gpus: int = 0
    gpu_resource: Text = "nvidia.com/gpu"
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    shared_memory: Text = "1Gi"
    volume: Text = "20Gi"
    """Of each pod alone, for the base, the dataset and checkpoints."""
    pull_policy: Text = "IfNotPresent"
    queue: Text | None = None
    """Of Kueue, which starts the job once there is room; None: the cluster has no Kueue, or a default for all."""


class Kubernetes(Pods, frozen=True, kw_only=True, tag="kubernetes"):
    """A plain Job; of several machines an indexed one, with a headless Service."""


class Kubeflow(Pods, frozen=True, kw_only=True, tag="kubeflow"):
    """Kubeflow Trainer's TrainJob."""

    runtime: Text = "torch-distributed"

    def __post_init__(self) -> None:
        if self.secrets:
            raise ValueError("secrets: a TrainJob takes none: name them in a runtime of your own (docs/launchers.md)")


class SageMaker(Engine, frozen=True, kw_only=True, tag="sagemaker"):
    region: Text
    role: Text
    """The ARN of the role that the job runs under."""
    image: Text
    instance_type: Text
    volume_gb: PositiveInt = 100
    spot: bool = False
    output: Text
    """An s3:// prefix: SageMaker asks for one; nothing of ours lies there."""
    subnets: tuple[Text, ...] = ()
    security_groups: tuple[Text, ...] = ()


class Vertex(Engine, frozen=True, kw_only=True, tag="vertex"):
    project: Text
    region: Text
    image: Text
    machine_type: Text
    accelerator: Text | None = None
    accelerators: int = 0
    service_account: Text | None = None
    spot: bool = False
    network: Text | None = None
    endpoint: Text | None = None
    """In place of https://<region>-aiplatform.googleapis.com, for a private endpoint."""


AnyEngine = Local | Machines | Ray | Kubernetes | Kubeflow | SageMaker | Vertex


class Launchers(Part, frozen=True, kw_only=True):
    launchers: dict[Name, AnyEngine]


def parse_launchers(content: object) -> Mapping[str, AnyEngine]:
    """Parse the launchers in this mapping, by name.

    Raises:
        InvalidRequest: with the field that is wrong.
    """
    try:
        engines = msgspec.convert(content, Launchers).launchers
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`") or "launchers"
        raise InvalidRequest(f"{field}: {words}", errors=[FieldError(field, words)]) from error
    for name, engine in engines.items():
        for variable, value in engine.environment.items():
            if SECRET_NAME.search(variable.upper()) or SECRET_VALUE.search(value):
                field = f"launchers.{name}.environment.{variable}"
                message = "looks like a secret or a connection: give the job a role of its platform instead"
                raise InvalidRequest(f"{field}: {message}", errors=[FieldError(field, message)])
        limits = engine.limits
        if limits.max_cost is not None and limits.cost_per_instance_hour is None:
            field = f"launchers.{name}.limits.cost_per_instance_hour"
            raise InvalidRequest(f"{field}: required by max_cost", errors=[FieldError(field, "required by max_cost")])
    return engines
