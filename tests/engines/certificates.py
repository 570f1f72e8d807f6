"""A certificate authority of a company's own, and a certificate that it has signed."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Authority:
    """What `openssl` made in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.pem"
        """What `SSL_CERT_FILE` names for those who trust it."""
        key = directory / "ca.key"
        new = ["req", "-newkey", "rsa:2048", "-nodes"]
        self._openssl(*new, "-x509", "-keyout", key, "-out", self.certificate, "-subj", "/CN=A company", "-days", "2")
        self._key, self._new = key, new
        self.issue("leaf")

    def issue(
        self,
        name: str,
        names: str = "DNS:localhost,DNS:far.test,IP:127.0.0.1,IP:::1",
        *,
        days: int = 2,
        usage: str = "",
    ) -> tuple[Path, Path]:
        """Sign a certificate for these names, and return its file and that of its key; -1 days are over."""
        leaf = self._directory / name
        self._openssl(*self._new, "-keyout", f"{leaf}.key", "-out", f"{leaf}.csr", "-subj", "/CN=far")
        extensions = f"subjectAltName={names}\n" + (f"extendedKeyUsage={usage}\n" if usage else "")
        Path(f"{leaf}.names").write_text(extensions)
        signed_by = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-extfile", f"{leaf}.names"]
        self._openssl("x509", "-req", "-in", f"{leaf}.csr", "-out", f"{leaf}.pem", "-days", days, *signed_by)
        return Path(f"{leaf}.pem"), Path(f"{leaf}.key")

    def server_context(self) -> ssl.SSLContext:
        """Return what a server with the certificate uses: it is for `localhost`, `far.test` and loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._directory / "leaf.pem", self._directory / "leaf.key")
        return context

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self._directory)
