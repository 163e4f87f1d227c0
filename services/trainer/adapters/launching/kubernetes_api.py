"""The Kubernetes API over HTTP, as whoever this process is there: a pod's account, else the kubeconfig's user."""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from services.trainer.adapters.launching.http_calls import CALL_SECONDS, call, open_client
from services.trainer.domain.launching.endings import LauncherDenied, LauncherRefused

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Login:
    """Where the API server is, whom we trust there, and who we are."""

    server: str
    context: ssl.SSLContext
    token_file: Path | None = None
    """Read at every call: the kubelet renews it."""
    token: str | None = None
    command: tuple[tuple[str, ...], Mapping[str, str]] | None = None
    """A credential plugin: what is executed, with which variables."""

    def write_headers(self) -> dict[str, str]:
        """Write what proves who we are, apart from a certificate. Raises: LauncherDenied."""
        token = self.token
        if self.token_file is not None:
            token = self.token_file.read_text(encoding="utf-8").strip()
        elif self.command is not None:
            token = _ask_plugin(*self.command)
        return {"Authorization": f"Bearer {token}"} if token else {}


def find_login() -> Login:
    """Find the pod's account, else the kubeconfig that `KUBECONFIG` names or that lies at home.

    Raises:
        LauncherRefused: there is neither, or the kubeconfig makes no sense.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host and (ACCOUNT / "token").is_file() and "KUBECONFIG" not in os.environ:
        server = f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
        trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        return Login(server, trust, token_file=ACCOUNT / "token")
    path = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        return read_kubeconfig(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LauncherRefused(f"no Kubernetes: {path} cannot be read, and this is no pod") from error
    except (KeyError, TypeError, StopIteration, ValueError, yaml.YAMLError) as error:
        raise LauncherRefused(f"{path} makes no sense: {error!r}") from error


def read_kubeconfig(content: Any) -> Login:
    """Read the current context's server and user. Raises: KeyError, TypeError, ValueError, StopIteration."""
    context = _pick(content["contexts"], content["current-context"])["context"]
    cluster = _pick(content["clusters"], context["cluster"])["cluster"]
    user = _pick(content["users"], context["user"])["user"]
    if data := cluster.get("certificate-authority-data"):
        trust = ssl.create_default_context(cadata=base64.b64decode(data).decode())
    else:
        trust = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    _load_certificate(trust, user)
    plugin = user.get("exec")
    command = None
    if plugin:
        variables = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
        command = ((plugin["command"], *(plugin.get("args") or ())), variables)
    token_file = Path(user["tokenFile"]) if "tokenFile" in user else None
    return Login(cluster["server"], trust, token_file=token_file, token=user.get("token"), command=command)


def _pick(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _load_certificate(trust: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    if "client-certificate" in user:
        trust.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        with tempfile.TemporaryDirectory() as folder:  # readable by this user alone
            files = [Path(folder) / name for name in ("certificate", "key")]
            for file, name in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
                file.write_bytes(base64.b64decode(user[name]))
            trust.load_cert_chain(str(files[0]), str(files[1]))


def _ask_plugin(command: tuple[str, ...], variables: Mapping[str, str]) -> str:
    """Ask a credential plugin (client.authentication.k8s.io) for a token. Raises: LauncherDenied."""
    try:
        said = subprocess.run(
            command, env=os.environ | dict(variables), capture_output=True, text=True, timeout=CALL_SECONDS, check=True
        ).stdout
        return str(json.loads(said)["status"]["token"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise LauncherDenied(f"the credential plugin {command[0]} gave no token: {error}") from error


class KubernetesApi:
    """A namespace of a cluster."""

    def __init__(self, login: Login, namespace: str) -> None:
        self._login, self._namespace = login, namespace
        self._client = open_client(login.server, verify=login.context)

    def create(self, api: str, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, or return the one of that name. Raises: as `call`."""
        response = self._call("POST", self._locate(api, kind), content)
        if response.status_code == 404:
            raise LauncherRefused(f"{kind}: {response.text[:300]}")
        name = content["metadata"]["name"]
        return (self.load(api, kind, name) or {}) if response.status_code == 409 else dict(response.json())

    def load(self, api: str, kind: str, name: str) -> dict[str, Any] | None:
        """Load an object; None when there is none. Raises: as `call`."""
        response = self._call("GET", f"{self._locate(api, kind)}/{name}")
        return dict(response.json()) if response.is_success else None

    def delete(self, api: str, kind: str, name: str) -> None:
        """Delete an object with all that it made; its pods end at once. Raises: as `call`."""
        path = f"{self._locate(api, kind)}/{name}"
        self._call("DELETE", path, {"propagationPolicy": "Background", "gracePeriodSeconds": 0})

    def list_pods(self, selector: str) -> list[dict[str, Any]]:
        """List the pods with these labels. Raises: as `call`."""
        response = self._call("GET", f"{self._locate('v1', 'pods')}?labelSelector={selector}")
        return list(response.json()["items"])

    def delete_pods(self, selector: str) -> None:
        """Delete the pods with these labels at once. Raises: as `call`."""
        self._call("DELETE", f"{self._locate('v1', 'pods')}?labelSelector={selector}", {"gracePeriodSeconds": 0})

    def read_log(self, pod: str, lines: int) -> str:
        """Read the end of a pod's log; empty when there is none any more. Raises: as `call`."""
        try:
            response = self._call("GET", f"{self._locate('v1', 'pods')}/{pod}/log?tailLines={lines}")
        except LauncherRefused:  # its container has not begun
            return ""
        return response.text if response.is_success else ""

    def _locate(self, api: str, kind: str) -> str:
        root = "api" if api == "v1" else "apis"
        return f"/{root}/{api}/namespaces/{self._namespace}/{kind}"

    def _call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return call(self._client, method, path, body=body, headers=self._login.write_headers())
