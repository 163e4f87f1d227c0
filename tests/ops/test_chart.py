"""The chart: linted, rendered for each values file, and every manifest valid in two versions of Kubernetes."""

from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from kubernetes_validate import validate

from shared.service_access import PROCESSES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "heliotrope"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.31", "1.35")
CUSTOM = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}
"""Resources of operators: Kubernetes itself has no schema for them."""


def render(values: Path) -> list[dict[str, Any]]:
    with helm_python.Chart.load(str(CHART)) as chart:
        rendered = chart.render(yaml.safe_load(values.read_text()), name="sun", namespace="loop")
    documents = (document for text in rendered.values() for document in yaml.safe_load_all(text))
    return [document for document in documents if document]


def test_there_are_five_values_files():
    assert len(VALUES) >= 5


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_is_without_lint(values: Path):
    report = helm_python.lint(str(CHART), yaml.safe_load(values.read_text()), strict=True, namespace="loop")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] >= 2] == []


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_manifest_is_valid(values: Path, kubernetes: str):
    manifests = render(values)
    for manifest in manifests:
        if manifest["apiVersion"] not in CUSTOM:
            validate(manifest, kubernetes, strict=True)
    assert len(manifests) > 20


def test_the_validator_refuses_what_is_wrong():
    deployment = next(each for each in render(VALUES[0]) if each["kind"] == "Deployment")
    deployment["spec"]["replicaz"] = 3
    with pytest.raises(Exception, match="replicaz"):
        validate(deployment, KUBERNETES[0], strict=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"existingSecret": ""},
        {"kafka": {"bootstrapServers": "kafka"}},
        {"settings": {"LOG_LEVEL": "DEBUG"}},
        {"services": {"ingest": {"replicas": "two"}}},
        {"servises": {}},
    ],
    ids=str,
)
def test_wrong_values_are_refused_by_the_schema(wrong: dict[str, Any]):
    with helm_python.Chart.load(str(CHART)) as chart, pytest.raises(helm_python.HelmValuesError):
        chart.validate_schema(chart.merge_values(wrong))


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_service_is_probed_bounded_and_confined(values: Path):
    kinds = ("Deployment", "StatefulSet")
    for workload in (each for each in render(values) if each["kind"] in kinds):
        name = workload["metadata"]["name"]
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name
        assert {"requests", "limits"} <= container["resources"].keys(), name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        assert pod["automountServiceAccountToken"] is False, name
        if name != "sun-vllm":
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert pod["securityContext"]["runAsNonRoot"] is True, name


def test_secrets_are_by_reference_only():
    for manifest in (each for values in VALUES for each in render(values)):
        assert manifest["kind"] != "Secret"
        for container in manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in ("SECRET", "PASSWORD", "DATABASE_URL", "KEY")):
                    assert "secretKeyRef" in variable["valueFrom"], variable


def test_the_gateway_keeps_its_spool_and_gpus_are_asked_for_where_they_are_used():
    manifests = {(each["kind"], each["metadata"]["name"]): each for each in render(CHART / "ci" / "gpu-values.yaml")}
    gateway = manifests["StatefulSet", "sun-gateway"]["spec"]
    claimed = {claim["metadata"]["name"] for claim in gateway["volumeClaimTemplates"]}
    mounts = {
        mount["mountPath"]: mount["name"] for mount in gateway["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounts["/var/spool/heliotrope"] in claimed
    for name in ("sun-trainer-worker", "sun-vllm"):
        pod = manifests["Deployment", name]["spec"]["template"]["spec"]
        assert pod["nodeSelector"]["cloud.example.org/gpu"] == "h100"
        assert pod["tolerations"]
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def list_references(workload: dict[str, Any]) -> dict[str, str]:
    """Variable -> the key of the secret that it is taken from."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each}


@pytest.mark.parametrize(("values", "own"), [("minimal-values.yaml", True), ("bare-values.yaml", False)])
def test_each_service_is_given_its_own_secrets_and_its_own_database_role(values: str, own: bool):
    kinds = ("Deployment", "StatefulSet")
    workloads = {each["metadata"]["name"]: each for each in render(CHART / "ci" / values) if each["kind"] in kinds}
    for name, access in PROCESSES.items():
        given = list_references(workloads[f"sun-{name}"])
        suffix = f"_{access.role.upper()}" if own else ""
        assert given.pop("HELIOTROPE_DATABASE_URL") == f"HELIOTROPE_DATABASE_URL{suffix}"
        assert set(given) == {f"HELIOTROPE_{secret.upper()}" for secret in access.secrets}, name


def test_whoever_writes_to_mlflow_is_itself_there():
    kinds = ("Deployment", "StatefulSet")
    workloads = [each for each in render(CHART / "ci" / "minimal-values.yaml") if each["kind"] in kinds]
    users, passwords = {}, {}
    for workload in workloads:
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        name = workload["metadata"]["name"]
        given = {each["name"]: each.get("value") for each in container["env"]}
        if user := given.get("HELIOTROPE_MLFLOW_USERNAME"):
            users[name] = user
        if key := list_references(workload).get("HELIOTROPE_MLFLOW_PASSWORD"):
            passwords[name] = key
    assert users == {"sun-deployer": "deployer", "sun-evaluator": "evaluator", "sun-trainer-worker": "trainer"}
    assert passwords == {name: f"HELIOTROPE_MLFLOW_PASSWORD_{user.upper()}" for name, user in users.items()}


def test_each_service_is_itself_to_kafka_and_the_migration_job_may_make_topics():
    kinds = ("Deployment", "StatefulSet", "Job")
    manifests = [each for each in render(CHART / "ci" / "production-values.yaml") if each["kind"] in kinds]
    workloads = {each["metadata"]["name"]: each for each in manifests}
    for name, access in PROCESSES.items():
        (container,) = workloads[f"sun-{name}"]["spec"]["template"]["spec"]["containers"]
        users = [each["value"] for each in container["env"] if each["name"] == "HELIOTROPE_KAFKA_SASL_USERNAME"]
        assert users == [f"sun-{access.role}"]
        password = list_references(workloads[f"sun-{name}"])["HELIOTROPE_KAFKA_SASL_PASSWORD"]
        assert password == f"HELIOTROPE_KAFKA_SASL_PASSWORD_{access.role.upper()}"
    (job,) = [each for each in manifests if each["kind"] == "Job"]
    assert list_references(job)["HELIOTROPE_KAFKA_SASL_PASSWORD"] == "HELIOTROPE_KAFKA_SASL_PASSWORD"
