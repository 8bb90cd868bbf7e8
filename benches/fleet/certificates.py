"""Certificates by key type and length of the chain, by OpenSSL."""

import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    words: str
    key: tuple[str, ...]
    # Of the certificates that each side sends: its own, and those of intermediate CAs
    length: int

    @property
    def name(self):
        return self.words.replace(" ", "-").replace(",", "")


P256 = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
KEYS = {
    "P-256": P256,
    "Ed25519": ("ED25519",),
    "RSA-2048": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "RSA-4096": ("RSA", "-pkeyopt", "rsa_keygen_bits:4096"),
}
KINDS = [
    *(Kind(f"{name}, chain of 1", key, 1) for name, key in KEYS.items()),
    *(Kind(f"P-256, chain of {length}", P256, length) for length in [2, 3, 5]),
    *(Kind(f"{name}, chain of 3", KEYS[name], 3) for name in ["RSA-2048", "RSA-4096"]),
]

CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF = "keyUsage=critical,digitalSignature\nextendedKeyUsage={}\nsubjectAltName=DNS:localhost\n"


def issue(directory, key, length):
    """Writes `ca.crt`, and the chains and keys of `server` and `client`."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    def sign(name, issuer, extensions):
        (directory / "extensions").write_text(extensions)
        openssl("genpkey", "-algorithm", *key, "-out", f"{name}.key")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", "request")
        by = ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"] if issuer else ["-key", f"{name}.key"]
        validity = ["-days", "2", "-extfile", "extensions", "-out", f"{name}.crt"]
        openssl("x509", "-req", "-in", "request", *by, *validity)

    sign("ca", None, CA)
    issuer, intermediates = "ca", []
    for number in range(1, length):
        sign(f"intermediate-{number}", issuer, CA)
        issuer = f"intermediate-{number}"
        intermediates.insert(0, (directory / f"{issuer}.crt").read_text())
    for name, usage in [("server", "serverAuth"), ("client", "clientAuth")]:
        sign(name, issuer, LEAF.format(usage))
        leaf = directory / f"{name}.crt"
        leaf.write_text(leaf.read_text() + "".join(intermediates))
