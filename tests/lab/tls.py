"""The instance's own certificate authority, its servers' certificates and the SSH key. Made once, then kept."""
from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .instance import write

_PRIVATE = serialization.PrivateFormat
_DAY = datetime.timedelta(days=1)


def ensure_ca(certificate: Path, key: Path) -> None:
    """A self-signed authority that is valid for ten years."""
    if certificate.exists() and key.exists():
        return
    private = ec.generate_private_key(ec.SECP256R1())
    name = _name("localai-lab CA")
    builder = _builder(name, name, private.public_key(), 3650)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    write(key, _pem(private), 0o600)
    write(certificate, _text(builder.sign(private, hashes.SHA256())))


def ensure_certificate(directory: Path, name: str, address: str, ca: Path, ca_key: Path) -> tuple[bytes, bytes]:
    """Certificate chain and key (PEM) of the server `name` at the IP address `address`, signed by the authority."""
    certificate, key = directory / f"{name}-{address}.crt", directory / f"{name}-{address}.key"
    if not (certificate.exists() and key.exists()):
        issuer = x509.load_pem_x509_certificate(ca.read_bytes())
        signer = serialization.load_pem_private_key(ca_key.read_bytes(), None)
        private = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(f"{name}.lab.test"), issuer.subject, private.public_key(), 820)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(sign=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        names = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName(f"{name}.lab.test")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # type: ignore[arg-type]
        builder = builder.add_extension(authority, critical=False)
        write(key, _pem(private), 0o600)
        write(certificate, _text(builder.sign(signer, hashes.SHA256())))  # type: ignore[arg-type]
    return certificate.read_bytes(), key.read_bytes()


def ensure_ssh_key(path: Path) -> str:
    """An SSH key pair at `path` and `path`.pub; returns the public line."""
    public = path.with_name(f"{path.name}.pub")
    if not (path.exists() and public.exists()):
        private = ed25519.Ed25519PrivateKey.generate()
        encoded = private.private_bytes(serialization.Encoding.PEM, _PRIVATE.OpenSSH, serialization.NoEncryption())
        line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write(path, encoded.decode(), 0o600)
        write(public, f"{line.decode()} localai-lab\n")
    return public.read_text()


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), now - _DAY, now + days * _DAY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    return private.private_bytes(serialization.Encoding.PEM, _PRIVATE.PKCS8, serialization.NoEncryption()).decode()


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
