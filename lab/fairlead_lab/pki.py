# SPDX-License-Identifier: Apache-2.0
"""The lab's own certificate authority, and the kubeconfig files made with it.

One authority signs the API server's certificate and every client's. Who a client is stands in
its certificate (common name = user, organisation = group), so RBAC and the node authorizer see
the same identities as on a cluster made by kubeadm. Keys are P-256: forging a whole cluster's
worth of them costs milliseconds, RSA costs seconds.

Nothing here outlives the lab: a certificate is good for a year and lies under the state folder.
"""

import base64
import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=365)
CLOCK_SKEW = dt.timedelta(hours=1)
"""Guests may boot with a clock that is behind the machine's."""


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that only root may read, in one move (a reader never sees half a key)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    temporary.replace(path)
    return path


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS#8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(common_name: str, groups: tuple[str, ...] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class KeyPair:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path

    def exists(self) -> bool:
        """Whether both files are there."""
        return self.certificate.exists() and self.key.exists()


class Authority:
    """The certificate authority of one lab, made on first use, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.pair = KeyPair(folder / "ca.crt", folder / "ca.key")
        if not self.pair.exists():
            self._create()
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.pair.key} is not an EC key; `lab down` removes it")
        self._key = key

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("fairlead-lab")
        now = dt.datetime.now(dt.UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.pair.key, private_key_pem(key))
        write_private(self.pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file_name: str,
        common_name: str,
        *,
        groups: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> KeyPair:
        """Return the pair ``file_name``.crt/.key, made when it is not there yet.

        Args:
            file_name: stem of both files in the authority's folder.
            common_name: the user, for the API server.
            groups: the user's groups.
            hosts: names and addresses that a server answers under; empty for a client.
        """
        pair = KeyPair(self.folder / f"{file_name}.crt", self.folder / f"{file_name}.key")
        if pair.exists():
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key.public_key(), _name(common_name, groups), hosts)
        write_private(pair.key, private_key_pem(key))
        write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return pair

    def _sign(
        self, key: ec.EllipticCurvePublicKey, subject: x509.Name, hosts: tuple[str, ...]
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        # Python's strict verification (3.13) refuses a chain without the authority's identifier.
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder(
                self._certificate.subject, subject, key, x509.random_serial_number()
            )
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(identifier, critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def signing_key(self, file_name: str) -> KeyPair:
        """A bare key for ServiceAccount tokens: public part in ``certificate``."""
        pair = KeyPair(self.folder / f"{file_name}.pub", self.folder / f"{file_name}.key")
        if not pair.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_private(pair.key, private_key_pem(key))
            write_private(pair.certificate, public)
        return pair

    def kubeconfig(self, path: Path, server: str, client: KeyPair) -> Path:
        """Write a kubeconfig with everything inside, so that it can be carried elsewhere."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _inline(self.pair.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": "lab",
                    "user": {
                        "client-certificate-data": _inline(client.certificate),
                        "client-key-data": _inline(client.key),
                    },
                }
            ],
        }
        return write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
