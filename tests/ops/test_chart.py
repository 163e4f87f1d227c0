"""The chart: linted, rendered for each values file, and every manifest valid in two versions of Kubernetes."""

import json
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from kubernetes_validate import validate

from local.development.chart_readme import write_readme
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
    manifests = (text for name, text in rendered.items() if not name.endswith("NOTES.txt"))
    documents = (document for text in manifests for document in yaml.safe_load_all(text))
    return [document for document in documents if document]


def test_the_small_values_fit_a_node_of_two_cores_without_a_gpu():
    small = yaml.safe_load((CHART / "values-small.yaml").read_text())
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(chart.merge_values(small))
        rendered = chart.render({**small, "modelServerUrls": ["http://models/v1"]}, name="sun", namespace="loop")
    manifests = [text for name, text in rendered.items() if name.endswith("services.yaml")]
    workloads = [
        each
        for text in manifests
        for each in yaml.safe_load_all(text)
        if each and each["kind"] in ("Deployment", "StatefulSet")
    ]
    cores = memory = 0.0
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        resources = pod["containers"][0]["resources"]
        assert "nodeSelector" not in pod
        assert "nvidia.com/gpu" not in resources["limits"]
        cores += workload["spec"]["replicas"] * int(resources["requests"]["cpu"].removesuffix("m")) / 1000
        memory += workload["spec"]["replicas"] * int(resources["requests"]["memory"].removesuffix("Mi"))
    assert len(workloads) == 9
    assert cores <= 0.85
    assert memory <= 2450


def test_the_readme_is_that_of_the_values():
    assert (CHART / "README.md").read_text() == write_readme(CHART)


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
        if name == "sun-commands":
            continue  # it serves nobody
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), name
        assert {"requests", "limits"} <= container["resources"].keys(), name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
        starts_pods = (name, values.stem) == ("sun-trainer-worker", "launchers-values")
        assert pod["automountServiceAccountToken"] is starts_pods, name
        if name != "sun-vllm":
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert pod["securityContext"]["runAsNonRoot"] is True, name


def test_secrets_are_by_reference_only():
    for manifest in (each for values in VALUES for each in render(values)):
        if manifest["kind"] == "Secret":
            assert manifest["metadata"]["name"] == "sun-keys"
        for container in manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in ("SECRET", "PASSWORD", "DATABASE_URL", "KEY")):
                    assert "secretKeyRef" in variable["valueFrom"], variable


def find(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))


def test_a_worker_may_start_pods_where_its_launchers_do_and_nowhere_else():
    manifests = render(CHART / "ci" / "launchers-values.yaml")
    roles = {each["metadata"]["namespace"]: each["rules"] for each in manifests if each["kind"] == "Role"}
    assert roles.keys() == {"training"}
    assert {verb for rule in roles["training"] for verb in rule["verbs"]} == {
        *("create", "get", "list", "delete", "deletecollection"),
    }
    binding = find(manifests, "RoleBinding", "sun-launchers")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "sun-trainer-worker", "namespace": "loop"}]
    file = yaml.safe_load(find(manifests, "ConfigMap", "sun-launchers")["data"]["launchers.yaml"])
    assert file["launchers"] == yaml.safe_load((CHART / "ci" / "launchers-values.yaml").read_text())["launchers"]
    egress = find(manifests, "NetworkPolicy", "sun-trainer-worker")["spec"]["egress"]
    assert {"ports": [{"port": 443}, {"port": 6443}]} in egress


def test_the_gateway_keeps_its_spool_on_a_claim_or_has_time_to_hand_it_over():
    gateway = find(render(CHART / "ci" / "bare-values.yaml"), "StatefulSet", "sun-gateway")["spec"]
    claimed = {claim["metadata"]["name"] for claim in gateway["volumeClaimTemplates"]}
    mounts = gateway["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {mount["mountPath"]: mount["name"] for mount in mounts}["/var/spool/heliotrope"] in claimed

    spec = find(render(CHART / "ci" / "minimal-values.yaml"), "Deployment", "sun-gateway")["spec"]
    environment = {each["name"]: each.get("value") for each in spec["template"]["spec"]["containers"][0]["env"]}
    phases = ("DRAIN_SECONDS", "STOP_SECONDS", "GATEWAY_HANDOVER_SECONDS")
    given = sum(float(environment[f"HELIOTROPE_{phase}"]) for phase in phases)
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == given + 30
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_no_pod_is_killed_before_its_drain_its_requests_and_its_workers_have_ended(values: Path):
    for workload in (each for each in render(values) if each["kind"] in ("Deployment", "StatefulSet")):
        pod = workload["spec"]["template"]["spec"]
        environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        if "HELIOTROPE_DRAIN_SECONDS" in environment:
            needed = float(environment["HELIOTROPE_DRAIN_SECONDS"]) + float(environment["HELIOTROPE_STOP_SECONDS"])
            assert pod["terminationGracePeriodSeconds"] >= needed + 20, workload["metadata"]["name"]


def test_an_object_store_takes_the_shared_volumes_place():
    manifests = render(CHART / "ci" / "production-values.yaml")
    assert "PersistentVolumeClaim" not in {each["kind"] for each in manifests}
    for workload in (each for each in manifests if each["kind"] == "Deployment"):
        assert not any("persistentVolumeClaim" in volume for volume in workload["spec"]["template"]["spec"]["volumes"])
    worker = find(manifests, "Deployment", "sun-trainer-worker")["spec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each.get("value") for each in worker["env"]}
    assert environment["HELIOTROPE_ARTIFACTS_URI"] == "s3://heliotrope/artifacts"
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] in [
        f"{mount['mountPath']}/credentials" for mount in worker["volumeMounts"]
    ]
    assert "PersistentVolumeClaim" in {each["kind"] for each in render(CHART / "ci" / "minimal-values.yaml")}


def test_vllm_has_an_agent_that_fetches_adapters_where_no_disk_is_shared():
    manifests = render(CHART / "ci" / "gpu-values.yaml")
    pod = find(manifests, "Deployment", "sun-vllm")["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["vllm", "agent"]
    deployer = find(manifests, "Deployment", "sun-deployer")["spec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each.get("value") for each in deployer["env"]}
    service = find(manifests, "Service", "sun-vllm-replicas")["spec"]
    assert (
        environment["HELIOTROPE_DEPLOYER_REPLICA_URLS"]
        == f"dns+http://sun-vllm-replicas:{service['ports'][0]['port']}/v1"
    )
    assert service["clusterIP"] == "None"


def test_keys_are_drawn_in_the_form_of_keys_and_stored_by_the_migration_job():
    manifests = render(CHART / "ci" / "minimal-values.yaml")
    held = find(manifests, "Secret", "sun-keys")["stringData"]
    drawn = json.loads(held["HELIOTROPE_API_KEYS"])
    assert drawn == {role: held[role] for role in ("frontend", "ops", "admin")}
    assert held["HELIOTROPE_GATEWAY_INTERNAL_KEY"] == held["internal"]
    assert all(re.fullmatch("hk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key) for key in [*drawn.values(), held["internal"]])
    (job,) = find(manifests, "Job", "sun-migrations")["spec"]["template"]["spec"]["containers"]
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"]["name"] for each in job["env"] if "valueFrom" in each}
    assert secrets["HELIOTROPE_API_KEYS"] == secrets["HELIOTROPE_GATEWAY_INTERNAL_KEY"] == "sun-keys"
    gateway = find(manifests, "Deployment", "sun-gateway")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "sun-keys", "key": "HELIOTROPE_GATEWAY_INTERNAL_KEY"} in [
        each["valueFrom"]["secretKeyRef"] for each in gateway["env"] if "valueFrom" in each
    ]


def test_whoever_installs_is_told_what_is_next():
    with helm_python.Chart.load(str(CHART)) as chart:
        values = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
        rendered = chart.render(values, name="sun", namespace="loop")
    (notes,) = [text for name, text in rendered.items() if name.endswith("NOTES.txt")]
    for command in ("get secret sun-keys", "services.deployer adopt", "helm test sun -n loop"):
        assert command in notes


def test_every_pod_of_ours_may_reach_dns_and_the_stores_and_nothing_of_the_clouds_own():
    manifests = render(CHART / "ci" / "gpu-values.yaml")
    policies = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]
    covered = {policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for policy in policies}
    workloads = [each for each in manifests if each["kind"] in ("Deployment", "StatefulSet", "Job", "Pod")]
    assert covered == {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in workloads}
    for policy in policies:
        assert "Egress" in policy["policyTypes"]
        assert {"port": 53, "protocol": "UDP"} in policy["egress"][0]["ports"]
        assert policy["egress"][2]["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]


def test_gpus_are_asked_for_where_they_are_used():
    manifests = render(CHART / "ci" / "gpu-values.yaml")
    for name in ("sun-trainer-worker", "sun-vllm"):
        pod = find(manifests, "Deployment", name)["spec"]["template"]["spec"]
        assert pod["nodeSelector"]["cloud.example.org/gpu"] == "h100"
        assert pod["tolerations"]
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_vllm_starts_only_from_a_base_whose_sums_are_configured(tmp_path: Path):
    values = yaml.safe_load((CHART / "ci" / "gpu-values.yaml").read_text())
    base = {"baseSource": "s3://models/base", "baseFiles": "/var/lib/heliotrope/base", "baseSums": "a" * 64}
    written = tmp_path / "values.yaml"
    written.write_text(yaml.safe_dump(values | {"vllm": values["vllm"] | base}))
    manifests = {(each["kind"], each["metadata"]["name"]): each for each in render(written)}
    pod = manifests["Deployment", "sun-vllm"]["spec"]["template"]["spec"]
    server, placing = pod["containers"][0], pod["initContainers"][0]
    script = manifests["ConfigMap", "sun-vllm"]["data"]["serve-verified.sh"]
    assert server["command"] == ["sh", "/opt/heliotrope/serve-verified.sh"]
    assert script.strip() == (CHART / "files" / "serve-verified.sh").read_text().strip()
    told = {each["name"]: each["value"] for each in server["env"]}
    assert told["HELIOTROPE_BASE_FILES"] == "/var/lib/heliotrope/base"
    assert told["HELIOTROPE_BASE_SUMS"] == "a" * 64
    assert placing["args"] == ["s3://models/base", "/var/lib/heliotrope/base"]
    [state] = [each for each in server["volumeMounts"] if each["mountPath"] == "/var/lib/heliotrope"]
    assert state["readOnly"] is True


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


def test_training_workers_scale_from_zero_on_runs_and_are_never_taken_one_by_one():
    manifests = render(CHART / "ci" / "keda-values.yaml")
    scaled = find(manifests, "ScaledObject", "sun-trainer-worker")["spec"]
    assert scaled["minReplicaCount"] == 0
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["url"] == "http://sun-trainer.loop:8008/metrics"
    assert "replicas" not in find(manifests, "Deployment", "sun-trainer-worker")["spec"]
    peers = find(manifests, "NetworkPolicy", "sun-trainer")["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in peers
    others = find(manifests, "NetworkPolicy", "sun-evaluator")["spec"]["ingress"][0]["from"]
    assert len(others) == len(peers) - 1


def test_keda_asks_kafka_as_the_service_does(tmp_path: Path):
    values = yaml.safe_load((CHART / "ci" / "production-values.yaml").read_text()) | {"keda": {"enabled": True}}
    (written := tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    manifests = render(written)
    trigger = find(manifests, "ScaledObject", "sun-curator")["spec"]["triggers"][0]
    assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")
    asked = find(manifests, "TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    assert {each["parameter"]: each["name"] for each in asked["env"]} == {
        "username": "HELIOTROPE_KAFKA_SASL_USERNAME",
        "password": "HELIOTROPE_KAFKA_SASL_PASSWORD",
    }


def test_vllm_ends_after_its_requests_and_is_ready_once_its_adapters_are_loaded():
    manifests = render(CHART / "ci" / "gpu-values.yaml")
    pod = find(manifests, "Deployment", "sun-vllm")["spec"]["template"]["spec"]
    server, agent = pod["containers"]
    assert agent["readinessProbe"]["httpGet"]["path"] == "/readyz"
    drain = server["lifecycle"]["preStop"]["exec"]["command"]
    assert drain == ["python3", "/opt/heliotrope/drain-vllm.py", "10"]
    assert pod["terminationGracePeriodSeconds"] == 10 + 600 + 30
    assert "drain-vllm.py" in find(manifests, "ConfigMap", "sun-vllm")["data"]
