"""Certificates, by openssl."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

CONFIG = """
[ca]
default_ca = it
[it]
dir = {directory}
new_certs_dir = $dir
database = $dir/index.txt
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = {names}
"""


class Ca:
    """A CA in a directory of its own, with `ca.crt`."""

    def __init__(self, directory, name="CA of the fault suite"):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        (self.directory / "index.txt").touch()
        self.certificate = self._sign("ca", name, "root", timedelta(days=2), "-selfsign")

    def issue(self, name, subject, lifetime=timedelta(days=1), names="DNS:*.collector.test"):
        """Writes `{name}.crt` and `{name}.key`, of a server or a client, and returns the path of the certificate."""
        return self._sign(name, subject, "leaf", lifetime, names=names)

    def _sign(self, name, subject, extensions, lifetime, *options, names="DNS:unused"):
        at = self.directory
        config = at / "openssl.cnf"
        config.write_text(CONFIG.format(directory=at, names=names))
        key, request, certificate = (at / f"{name}{end}" for end in [".key", ".csr", ".crt"])
        new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
        run(*new, "-subj", f"/CN={subject}", "-keyout", str(key), "-out", str(request))
        now = datetime.now(UTC)
        # As UTCTime has it
        start, end = (f"{time:%y%m%d%H%M%SZ}" for time in (now - timedelta(hours=1), now + lifetime))
        sign = ["ca", "-config", str(config), "-batch", "-notext", "-extensions", extensions]
        signer = ["-cert", str(at / "ca.crt")] if not options else []
        signer += ["-keyfile", str(at / "ca.key"), "-startdate", start, "-enddate", end]
        run(*sign, *signer, *options, "-in", str(request), "-out", str(certificate))
        return certificate


def run(*arguments):
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {result.stderr}")
