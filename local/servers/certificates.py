"""A certificate authority made on the spot, and certificates for brokers that it signed."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class CertificateAuthority:
    """Signs brokers' certificates; `ca_file` is what clients trust."""

    ca_file: Path
    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    def sign(self, store: Path, lifetime: timedelta = timedelta(days=1)) -> None:
        """Write a broker's key, certificate and chain to `store`, one PEM file as Kafka reads it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _begin("localhost", self._certificate.subject, key, lifetime)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        chain = certificate.public_bytes(PEM) + self._certificate.public_bytes(PEM)
        partial = store.with_suffix(".partial")
        partial.write_bytes(private + chain)
        partial.replace(store)


def _begin(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + lifetime)


def make_authority(folder: Path) -> CertificateAuthority:
    """Make an authority whose certificate is `folder/ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Heliotrope brokers")
    certificate = (
        _begin("Heliotrope brokers", name, key, timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(certificate.public_bytes(PEM))
    return CertificateAuthority(ca_file, key, certificate)
