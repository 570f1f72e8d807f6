"""The certificate for other machines: proved before it is used, and read again when its files change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmrc.errors import SettingError

_log = logging.getLogger(__name__)

_NO_FILE = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate with its key, ready to serve."""

    context: ssl.SSLContext
    """What serves it: TLS 1.2 or newer, HTTP/1.1."""
    names: tuple[str, ...]
    """Names and addresses that it is for."""
    expires_at: float
    """Unix seconds."""


def read_certificate(certificate: Path, key: Path) -> Certificate:
    """Read and prove a certificate (with its chain) and its key, both PEM.

    Raises:
        SettingError: A file is missing or is something else, they do not belong together, or no client would take the
            certificate today.
    """
    for path, mark, what in ((certificate, "BEGIN CERTIFICATE-----", "certificate"), (key, "PRIVATE KEY-----", "key")):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise SettingError(
                f"the TLS {what} '{path}' cannot be read: {error.strerror}",
                remedy="Name PEM files: --tls-cert FILE --tls-key FILE",
            ) from error
        if mark.encode() not in text:
            raise SettingError(f"'{path}' holds no {what} in PEM", remedy="Name it by --tls-cert or --tls-key")
    context = _context()
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
        facts = _proved(context, certificate)
    except ssl.SSLCertVerificationError as error:
        raise SettingError(
            f"the TLS certificate '{certificate}' cannot be used: {error.verify_message}", remedy="Renew it"
        ) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingError(
                f"the TLS key '{key}' is not that of the certificate '{certificate}'",
                remedy="Name the key that the certificate was made with",
            ) from error
        said = (error.reason or str(error)).replace("_", " ").lower()
        raise SettingError(f"TLS cannot use '{certificate}' with '{key}': {said}") from error
    except OSError as error:  # it was there a moment ago
        raise SettingError(f"TLS cannot read '{certificate}' and '{key}': {error.strerror}") from error
    names = tuple(str(value) for kind, value in facts.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    return Certificate(context, names, float(ssl.cert_time_to_seconds(facts["notAfter"])))


class CertificateFiles:
    """The certificate in use, and the files that it came from."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read them.

        Raises:
            SettingError: As `read_certificate` does.
        """
        self._paths = (certificate, key)
        self._seen = self._complained = self._signature()
        self.current = read_certificate(certificate, key)
        """What is served to whoever connects now."""

    def look(self) -> None:
        """Take a renewed certificate where the files have changed; one that cannot be used is told, and not taken.

        Blocks for the disk. Those who renew write one file after the other, so until both fit the former stays.
        """
        signature = self._signature()
        if signature == self._seen:
            return
        try:
            self.current = read_certificate(*self._paths)
        except SettingError as error:
            if signature != self._complained:
                self._complained = signature
                _log.warning("the former TLS certificate stays in use: %s", error)
            return
        self._seen = signature
        _log.info("the TLS certificate was renewed: '%s'", self._paths[0])

    def _signature(self) -> list[tuple[int, int, int]]:
        return [_identity(path) for path in self._paths]


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return _NO_FILE
    return found.st_ino, found.st_mtime_ns, found.st_size


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    raise SettingError("the TLS key is encrypted, and nobody is there to type its password", remedy="Decrypt the file")


def _proved(server: ssl.SSLContext, certificate: Path) -> dict[str, Any]:
    """Shake hands in memory with a client that trusts just this certificate, and return what the client is told of it.

    So all is checked that a client checks but who has signed it: dates, purpose, and that the key fits.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [asking, answering]
    while waiting:
        for side in [*waiting]:
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    return asking.getpeercert() or {}
