"""Apache Kafka for tests and benchmarks, from an unpacked release.

One broker or three, open or behind SASL_SSL with an authorizer.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from local.servers.certificates import CertificateAuthority, make_authority
from local.supervision.readiness import is_port_free
from shared.bus.security import PLAINTEXT, KafkaSecurity

START_SECONDS = 180
STOP_SECONDS = 30
ADMIN = "admin"
LOGGING = """
Configuration:
  Appenders: {Console: {name: out, PatternLayout: {pattern: "%d %p %m (%c)%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: [{ref: out}]}}
"""


class KafkaMissing(Exception):
    """There is no Apache Kafka to run."""


def find_libraries() -> Path:
    """Return `libs/` of the release that KAFKA_HOME names.

    Raises:
        KafkaMissing: KAFKA_HOME names none, or there is no Java; says what to do.
    """
    home = os.environ.get("KAFKA_HOME", "")
    libraries = Path(home) / "libs"
    if not home or not list(libraries.glob("kafka-server-*.jar")):
        raise KafkaMissing(
            "set KAFKA_HOME to the folder of an unpacked Apache Kafka 4 (what matters is its libs/); "
            f"it is {home!r} now. kafka.apache.org/downloads has releases"
        )
    if shutil.which("java") is None:
        raise KafkaMissing("Apache Kafka needs Java 17 or newer: there is no java on PATH")
    return libraries


class KafkaCluster:
    """Brokers that are controllers too, with their state below `folder`.

    With `users` the brokers speak SASL_SSL with SCRAM-SHA-512 and nobody but the administrator may do anything, until
    an ACL says so.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 1,
        users: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.nodes = range(1, brokers + 1)
        self._libraries = find_libraries()
        self._settings = dict(settings or {})
        self.passwords = {user: secrets.token_urlsafe(12) for user in (ADMIN, *users)} if users else {}
        self._ports: dict[int, tuple[int, int]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.authority: CertificateAuthority | None = None

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{self._ports[node][0]}" for node in self.nodes)

    def security(self, user: str = ADMIN) -> KafkaSecurity:
        """Return how `user` speaks to the brokers."""
        if self.authority is None:
            return PLAINTEXT
        return KafkaSecurity("SASL_SSL", username=user, password=self.passwords[user], ca_file=self.authority.ca_file)

    def environment(self, user: str = ADMIN) -> dict[str, str]:
        """Return the variables of a process that is to use this Kafka as `user`."""
        environment = {"HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers}
        if self.authority is None:
            return environment
        return environment | {
            "HELIOTROPE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "HELIOTROPE_KAFKA_SASL_USERNAME": user,
            "HELIOTROPE_KAFKA_SASL_PASSWORD": self.passwords[user],
            "HELIOTROPE_KAFKA_CA_FILE": str(self.authority.ca_file),
        }

    def start(self) -> "KafkaCluster":
        """Format the brokers' folders, start all and wait until they serve."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log4j2.yaml").write_text(LOGGING)
        ports = _find_ports(2 * len(self.nodes))
        self._ports = {node: (ports.pop(), ports.pop()) for node in self.nodes}
        if self.passwords:
            self.authority = make_authority(self.folder)
        for node in self.nodes:
            self.renew_certificate(node)
            (self.folder / f"{node}.properties").write_text(_render(self._describe(node)))
            self._format(node)
        try:
            for node in self.nodes:
                self.start_node(node, wait=False)
            for node in self.nodes:
                self._wait_until_up(node)
        except BaseException:
            self.stop()
            raise
        return self

    def renew_certificate(self, node: int, lifetime: timedelta = timedelta(days=1)) -> None:
        """Put a new certificate where the broker's is; a running broker shows it once it was told to look."""
        if self.authority is not None:
            self.authority.sign(self.folder / f"{node}.pem", lifetime)

    def start_node(self, node: int, *, wait: bool = True) -> None:
        log = (self.folder / f"{node}.log").open("wb")
        command = [*self._java("512m"), "kafka.Kafka", str(self.folder / f"{node}.properties")]
        self._processes[node] = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        log.close()
        if wait:
            self._wait_until_up(node)

    def kill(self, node: int) -> None:
        self._processes[node].kill()
        self._processes.pop(node).wait()

    def stop_node(self, node: int) -> None:
        """Shut one down in order; by force when it does not end, since its quorum may be gone."""
        process = self._processes.pop(node)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        for node in list(self._processes):
            self.kill(node)

    def _java(self, heap: str) -> list[str]:
        # one thread compiles, one collects: brokers share the machine with what is tested
        return [
            *("java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *(f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}", "-cp", str(self._libraries / "*")),
        ]

    def _format(self, node: int) -> None:
        command = [*self._java("128m"), "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", "SGVsaW90cm9wZSB0ZXN0cw", "--config", str(self.folder / f"{node}.properties")]
        for user, password in self.passwords.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password},iterations=4096]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"formatting broker {node} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _describe(self, node: int) -> dict[str, object]:
        copies = min(3, len(self.nodes))
        address, controller = self._ports[node]
        protocol = "SASL_SSL" if self.passwords else "PLAINTEXT"
        voters = ",".join(f"{each}@127.0.0.1:{self._ports[each][1]}" for each in self.nodes)
        described: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{protocol}://127.0.0.1:{address},CONTROLLER://127.0.0.1:{controller}",
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocol}:{protocol}",
            "inter.broker.listener.name": protocol,
            "log.dirs": self.folder / f"data-{node}",
            "num.partitions": 3,
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 5,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false" if self.passwords else "true",
            "log.retention.check.interval.ms": 1_000,
        }
        return described | (self._describe_security(node) if self.passwords else {}) | self._settings

    def _describe_security(self, node: int) -> dict[str, object]:
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        return {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                f'{login} username="{ADMIN}" password="{self.passwords[ADMIN]}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.folder / f"{node}.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.folder / "ca.pem",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:ANONYMOUS",  # controllers speak plain text among themselves
        }

    def _wait_until_up(self, node: int) -> None:
        log, deadline = self.folder / f"{node}.log", time.monotonic() + START_SECONDS
        while b"Kafka Server started" not in log.read_bytes():
            if self._processes[node].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"broker {node} does not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)


def _render(lines: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _find_ports(count: int) -> list[int]:
    """Below those that the system gives to clients, and those of the tests' stacks; each is found once."""
    free = (port for port in _PORTS if is_port_free(port))
    return [next(free) for _ in range(count)]


_PORTS = iter(range(10_000 + os.getpid() % 450 * 20, 20_000))
