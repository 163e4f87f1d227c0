"""How a Kafka client proves who it is and whom it trusts, said once for both client libraries."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KafkaSecurity:
    """`protocol` is Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. Files are PEM."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __repr__(self) -> str:
        return f"KafkaSecurity({self.protocol})"

    @property
    def _uses_sasl(self) -> bool:
        return self.protocol.startswith("SASL_")

    @property
    def _files(self) -> dict[str, str]:
        files = {"ca": self.ca_file, "certificate": self.certificate_file, "key": self.key_file}
        return {name: str(path) for name, path in files.items() if path and self.protocol.endswith("SSL")}

    def find_problem(self) -> str:
        """Return what is wrong with the files, by the name of the setting; nothing where all can be read."""
        for name, path in self._files.items():
            if not os.access(path, os.R_OK) or not Path(path).is_file():
                return f"HELIOTROPE_KAFKA_{name.upper()}_FILE: {path} is no file that can be read"
        if ("certificate" in self._files) != ("key" in self._files):
            return "HELIOTROPE_KAFKA_CERTIFICATE_FILE and HELIOTROPE_KAFKA_KEY_FILE go together: one of them is missing"
        return ""

    def for_kafka_python(self) -> dict[str, Any]:
        names = {"ca": "ssl_cafile", "certificate": "ssl_certfile", "key": "ssl_keyfile"}
        config: dict[str, Any] = {"security_protocol": self.protocol}
        config |= {names[name]: path for name, path in self._files.items()}
        if self._uses_sasl:
            config |= {"sasl_mechanism": self.mechanism}
            config |= {"sasl_plain_username": self.username, "sasl_plain_password": self.password}
        return config

    def for_librdkafka(self) -> dict[str, Any]:
        names = {"ca": "ssl.ca.location", "certificate": "ssl.certificate.location", "key": "ssl.key.location"}
        config: dict[str, Any] = {"security.protocol": self.protocol}
        config |= {names[name]: path for name, path in self._files.items()}
        if self._uses_sasl:
            config |= {"sasl.mechanism": self.mechanism}
            config |= {"sasl.username": self.username, "sasl.password": self.password}
        return config


PLAINTEXT = KafkaSecurity()
