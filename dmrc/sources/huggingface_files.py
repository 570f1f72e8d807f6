"""Brings files of one repository on Hugging Face, each checked against the digest that is known of it there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmrc.artifact import Role
from dmrc.errors import DigestMismatchError
from dmrc.sources.assembly import File
from dmrc.sources.download import download
from dmrc.sources.http import HttpClient
from dmrc.sources.source import Transfer
from dmrc.sources.url_origin import RefusalCheck, UrlOrigin

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RepositoryFiles:
    """The files of one revision. Threads may share it."""

    client: HttpClient
    """Talks to Hugging Face."""
    endpoint: str
    """Where that is."""
    repository: str
    """`org/repository`."""
    revision: str | None
    """The commit."""
    token: str | None
    """Of the user, where one is set; it is sent to Hugging Face only, not to where files lie."""
    refused: RefusalCheck
    """Explains the statuses that mean something there."""
    transfer: Transfer
    """Takes the files."""

    def fetch(self, role: Role, sibling: RepoSibling, name: str) -> File:
        """Bring one file, which is called `name` in the model.

        Raises:
            DigestMismatchError: Other bytes came than those of the repository.
        """
        url = self._url(sibling)
        origin = self.origin(sibling)
        size = sibling.size if sibling.size is not None else origin.probe()[0]
        digest = f"sha256:{sibling.lfs.sha256}" if sibling.lfs is not None else None
        found = download(origin, digest, size, self.transfer, name=f"{url} {sibling.blob_id}")
        file = File(role, name, found, size)
        if sibling.lfs is None and sibling.blob_id is not None:
            self._check_git(file, sibling.blob_id)
        return file

    def origin(self, sibling: RepoSibling) -> UrlOrigin:
        """Return where the bytes of a file come from."""
        authorization = f"Bearer {self.token}" if self.token else None
        return UrlOrigin(self.client, self._url(sibling), authorization, self.refused)

    def _url(self, sibling: RepoSibling) -> str:
        import huggingface_hub

        return huggingface_hub.hf_hub_url(
            self.repository, sibling.rfilename, revision=self.revision, endpoint=self.endpoint
        )

    def _check_git(self, file: File, blob_id: str) -> None:
        """Check a small file against Git's name for it.

        Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        """
        hashed = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
        with self.transfer.sink.open_blob(file.digest, file.size_bytes) as stream:
            while data := stream.read(_READ_BYTES):
                hashed.update(data)
        if hashed.hexdigest() != blob_id:
            raise DigestMismatchError(
                f"'{file.name}' came with other bytes: Git calls them {hashed.hexdigest()}, and {blob_id} was promised"
            )
