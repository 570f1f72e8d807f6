"""One blob on its way into a registry: what is there is not sent, and what broke off goes on.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import urlencode, urljoin

import urllib3

from dmrc.artifact import Descriptor
from dmrc.errors import DigestMismatchError, RegistryError
from dmrc.sources.registry import Registry
from dmrc.sources.request import FileRange, ReadsAt, RegistryRequest
from dmrc.sources.retry import TransientError, retry
from dmrc.sources.source import ProgressEvent, Transfer

_UPLOADS = "blobs/uploads/"
_ANY = range(200, 600)
_PROGRESS_BYTES = 1 << 20
_REPORT_SECONDS = 0.1
_MOST_MOUNTS = 4
_LONGEST_ANSWER = 4096
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)


class Upload:
    """One blob, pushed once."""

    def __init__(self, registry: Registry, blob: Descriptor, transfer: Transfer, mounts: Sequence[str] = ()) -> None:
        """Push `blob` out of the transfer's store; `mounts` are repositories there that may have it."""
        self._registry = registry
        self._blob = blob
        self._transfer = transfer
        self._mounts = mounts
        self._location: str | None = None
        self._offset = 0
        self._reported = 0.0
        self._confirmed = 0

    def run(self) -> None:
        """Bring the blob there, unless it is.

        Raises:
            RegistryError: The registry, or the network, failed too often.
            StoreError: The blob is not in the store any more.
            CancelledError: The transfer was cancelled.
        """
        with self._transfer.sink.open_blob(self._blob.digest, self._blob.size_bytes) as stream:
            event = retry(lambda: self._try(stream), self._transfer, progressed=self._has_come_further)
        self._transfer.report(event)

    def _try(self, stream: BinaryIO) -> ProgressEvent:
        with self._transfer.connections.one(self._transfer.check):
            return self._attempt(stream)

    def _attempt(self, stream: BinaryIO) -> ProgressEvent:
        """Go on from where the last attempt ended, and return what to tell of the layer."""
        size = self._blob.size_bytes
        done = ProgressEvent("Push complete", self._blob.digest, size, size)
        if self._location is not None:
            self._resume(self._location)
        if self._location is None:
            if self._is_there():
                return replace(done, status="Already exists", was_there=True)
            if (repository := self._begin()) is not None:
                return replace(done, status=f"Mounted from {repository}", was_there=True)
        if self._offset < size:
            self._send(stream)
        self._commit()
        return done

    def _is_there(self) -> bool:
        # A registry redirects, to where the bytes are, only for a blob that it has.
        accepted = (200, 302, 307, 404)
        with self._registry.send(RegistryRequest("HEAD", f"blobs/{self._blob.digest}"), accepted) as response:
            return response.status != 404

    def _begin(self) -> str | None:
        """Begin an upload, or return the repository that the registry took the blob from."""
        for repository in self._mounts[:_MOST_MOUNTS]:
            query = urlencode({"mount": self._blob.digest, "from": repository})
            # Whatever else is answered, a plain upload says what is wrong.
            with self._registry.send(RegistryRequest("POST", f"{_UPLOADS}?{query}"), _ANY) as response:
                if response.status == 201:
                    return repository
                if response.status == 202:
                    self._took(response)
        if self._location is None:
            with self._registry.send(RegistryRequest("POST", _UPLOADS), (202,)) as response:
                self._took(response)
        self._offset = 0
        self._report(0)
        return None

    def _resume(self, location: str) -> None:
        """Ask how far the upload has come; forget it where the registry has forgotten it."""
        self._location = None
        with self._registry.send(RegistryRequest("GET", location), _ANY) as response:
            match = _RANGE.fullmatch(response.headers.get("Range", ""))
            # `0-0` is also what registries say of an upload with no byte.
            if response.status in (202, 204) and match is not None and 0 < int(match[1]) < self._blob.size_bytes:
                self._location = urljoin(location, response.headers.get("Location", ""))
                self._offset = int(match[1]) + 1

    def _has_come_further(self) -> bool:
        """Return whether the registry said, since the last failure, that it has more than ever before."""
        before, self._confirmed = self._confirmed, max(self._confirmed, self._offset)
        return self._confirmed - before >= _PROGRESS_BYTES

    def _send(self, stream: BinaryIO) -> None:
        first, end = self._offset, self._blob.size_bytes
        headers = {"Content-Type": "application/octet-stream"}
        if first:
            headers["Content-Range"] = f"{first}-{end - 1}"
        source = stream if isinstance(stream, ReadsAt) else stream.fileno()
        body = FileRange(source, first, end, self._on_sent)
        with self._registry.send(
            RegistryRequest("PATCH", str(self._location), headers, body), (202, 204, 404, 416)
        ) as response:
            if response.status in (404, 416):
                self._location = None
                raise TransientError(f"the registry has forgotten the upload of {self._blob.digest}")
            self._took(response)
        self._offset = end

    def _commit(self) -> None:
        """Tell the registry that this was all, and under which digest it should keep it."""
        location = str(self._location)
        target = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': self._blob.digest})}"
        with self._registry.send(RegistryRequest("PUT", target), (200, 201, 202, 204, 400, 404, 416)) as response:
            if response.status in (404, 416):
                self._location = None
                raise TransientError(f"the registry has forgotten the upload of {self._blob.digest}")
            if response.status == 400:
                text = response.read(_LONGEST_ANSWER).decode(errors="replace")
                if "DIGEST_INVALID" not in text:
                    raise RegistryError(f"the registry does not take {self._blob.digest}: {text.strip()[:200]}")
                raise DigestMismatchError(
                    f"the registry says that {self._blob.digest} came with other bytes",
                    remedy="See whether the file in the store is damaged: dmrc verify",
                )

    def _took(self, response: urllib3.BaseHTTPResponse) -> None:
        """Keep where the upload goes on."""
        location = response.headers.get("Location")
        if location is not None:
            self._location = urljoin(self._location or "", location)
        if self._location is None:
            raise RegistryError("the registry begins an upload, and does not say where")

    def _on_sent(self, offset: int) -> None:
        self._transfer.check()
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._report(offset)

    def _report(self, offset: int) -> None:
        self._reported = time.monotonic()
        self._transfer.report(ProgressEvent("Pushing", self._blob.digest, offset, self._blob.size_bytes))
