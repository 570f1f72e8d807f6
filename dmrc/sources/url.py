"""A GGUF file at a URL, or on this machine: `https://…/model.gguf`, `file:///…/model.gguf`, with `#sha256=…`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit, urlunsplit

import urllib3

from dmrc import hookimpl
from dmrc.errors import (
    DigestMismatchError,
    FormatError,
    InputError,
    InvalidReferenceError,
    ModelNotFoundError,
    RegistryAuthError,
    RegistryError,
)
from dmrc.reference import Reference
from dmrc.settings import Settings
from dmrc.sources.assembly import File, assemble
from dmrc.sources.download import download
from dmrc.sources.http import HttpClient, is_loopback
from dmrc.sources.local_files import read_model, reading
from dmrc.sources.source import ProgressEvent, Source, Transfer
from dmrc.sources.threads import together
from dmrc.sources.url_origin import UrlOrigin

_FRAGMENT = re.compile(r"sha256[=:]([0-9a-fA-F]{64})")
_MAGIC = b"GGUF"


class HttpSource:
    """One GGUF file from a web server."""

    name = "http"

    def __init__(self, *, insecure: bool = False) -> None:
        """Use https; `insecure` allows plain http beyond loopback."""
        self._insecure = insecure

    def recognize(self, text: str) -> Reference | None:
        """Return the name of the file's model, unless `text` is no URL of the web.

        Raises:
            InvalidReferenceError: It is a URL that cannot be used.
        """
        if not text.strip().lower().startswith(("http://", "https://")):
            return None
        _checksum(text)
        return Reference.parse(text)

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Download the file; see `Source.fetch`."""
        _check_wish(text, transfer)
        url, digest, authorization = _split(text)
        parts = urlsplit(url)
        if parts.scheme == "http" and not (self._insecure or is_loopback(parts.netloc)):
            raise RegistryError(f"'{url}' is not https", remedy="Use https, or set INSECURE_REGISTRY=true")
        client = HttpClient(url, f"server '{parts.netloc}'")
        origin = UrlOrigin(client, url, authorization, lambda status: _refusal(url, status))

        def fetch() -> File:
            size_bytes, mark = origin.probe()
            _check_magic(origin, url)
            found = download(origin, digest, size_bytes, transfer, name=f"{url} {mark}")
            return File("gguf", parts.path.rpartition("/")[2], found, size_bytes)

        try:
            [file] = together([fetch], most=1, check=transfer.check, stop=client.abort)
        finally:
            client.close()
        return assemble([file], transfer.sink)


class FileSource:
    """A GGUF file on this machine, copied; of a split one all files."""

    name = "file"

    def recognize(self, text: str) -> Reference | None:
        """Return the name of the file's model, unless `text` is no `file:` URL.

        Raises:
            InvalidReferenceError: It is a URL that cannot be used.
        """
        if not text.strip().lower().startswith("file://"):
            return None
        _checksum(text)
        if urlsplit(text.strip()).netloc not in ("", "localhost"):
            raise InvalidReferenceError(f"'{text}' is on another machine", remedy="Write file:///path/to/model.gguf")
        return Reference.parse(text)

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Copy the file; see `Source.fetch`."""
        _check_wish(text, transfer)
        url, digest, _ = _split(text)
        paths, _ = read_model(Path(unquote(urlsplit(url).path)))
        if digest is not None and len(paths) > 1:
            raise InputError(f"'{text}' has one checksum for {len(paths)} files", remedy="Leave it out")
        return assemble([_copy(path, digest, transfer) for path in paths], transfer.sink)


def _check_wish(text: str, transfer: Transfer) -> None:
    """Refuse before a byte has come where no GGUF file is wanted."""
    if transfer.formats is not None and "gguf" not in transfer.formats:
        raise FormatError(_split(text)[0], "gguf")


def _copy(path: Path, digest: str | None, transfer: Transfer) -> File:
    with reading(path):
        size = path.stat().st_size

    def progress(written: int) -> None:
        transfer.check()
        transfer.report(ProgressEvent("Copying", path.name, written, size))

    with reading(path), transfer.sink.write_blob(digest, size) as writer:
        writer.copy(path, progress)
    return File("gguf", path.name, str(writer.digest), size)


def _split(text: str) -> tuple[str, str | None, str | None]:
    """Return the URL without its secrets, the digest that its fragment promises, and the Authorization."""
    digest = _checksum(text)
    parts = urlsplit(urldefrag(text.strip()).url)
    authorization = None
    if parts.username or parts.password:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        authorization = urllib3.make_headers(basic_auth=login)["authorization"]
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme.lower(), netloc, parts.path, parts.query, "")), digest, authorization


def _checksum(text: str) -> str | None:
    fragment = urldefrag(text.strip()).fragment
    if not fragment:
        return None
    match = _FRAGMENT.fullmatch(fragment)
    if match is None:
        raise InvalidReferenceError(f"'#{fragment}' is not a checksum", remedy="Write #sha256= and 64 hex digits")
    return f"sha256:{match[1].lower()}"


def _check_magic(origin: UrlOrigin, url: str) -> None:
    """Refuse what is no GGUF file before a large byte has come: a page that asks for a login, for example."""
    with origin.open(0, len(_MAGIC)) as part:
        begin = part.read(len(_MAGIC))
    if begin != _MAGIC:
        raise DigestMismatchError(f"'{url}' is not a GGUF file: it begins with {begin!r}")


def _refusal(url: str, status: int) -> Exception | None:
    if status in (404, 410):
        return ModelNotFoundError(f"there is no file at '{url}'", remedy="Check the URL")
    if status in (401, 403):
        return RegistryAuthError(f"'{url}' wants a login", remedy="Write it into the URL: https://user:password@host/…")
    return None


@hookimpl
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:
    """Register both."""
    return [HttpSource(insecure=settings.insecure_registry), FileSource()]
