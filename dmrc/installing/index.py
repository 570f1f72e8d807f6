"""A wheel of an index as pip knows it: found for this machine, and fetched only with a SHA-256 to check it by.

Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

from dmrc.errors import BuildError, DigestMismatchError, InputError, RegistryError
from dmrc.installing.archives import unpack
from dmrc.installing.install import Brought
from dmrc.sources import Transfer
from dmrc.sources.download import download
from dmrc.sources.http import HttpClient, is_loopback
from dmrc.sources.retry import retry
from dmrc.sources.url_origin import UrlOrigin

PROJECT = "xllamacpp"

_PAGE_BYTES = 8 << 20
_SHA256 = re.compile(r"sha256=([0-9a-f]{64})")
_RELEASE = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/releases/download/([^/?#]+)/([^/?#]+)")
_GITHUB = "https://api.github.com"
_OTHER_WAY = "Or name a mirror by --index-url or DMRC_ENGINE_INDEX, or a file by --from"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of an index that this machine can use."""

    file: str
    """Its name."""
    url: str
    """Where it is, without a fragment."""
    sha256: str | None
    """As the index says; None where it does not."""


class Index:
    """One index of wheels. Methods block."""

    def __init__(
        self, url: str, fetched: Path, transfer: Transfer, *, insecure: bool = False, github: str = _GITHUB
    ) -> None:
        """Ask the index at `url`, which has a page for each project below it; `insecure` allows plain http.

        Files lie in the store `fetched` until they are unpacked, which `transfer` brings them to.

        Raises:
            InputError: That is no URL of an index.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"an index must be a URL, not '{url}'", remedy="Write https://HOST/PATH")
        if parts.scheme == "http" and not insecure and not is_loopback(parts.netloc.rpartition("@")[2]):
            raise InputError(f"'{url}' is not https", remedy="Use https, or set INSECURE_REGISTRY=true")
        self._authorization = _authorization(parts.username, parts.password)
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        """Without a user, a password and the last slash."""
        self._github = github
        self._fetched = fetched
        self._transfer = transfer

    def wheel(self, version: str) -> Wheel:
        """Return the wheel of a version that is for this machine.

        Raises:
            BuildError: The index has none, or is none.
            RegistryError: It cannot be asked, or answers nonsense.
        """
        page = f"{self.url}/{PROJECT}/"
        links = _links(self._read(page), page)
        found = best(links, version)
        if found is None:
            versions = ", ".join(sorted({text for link in links if (text := _version(link.file))})[-5:])
            raise BuildError(
                f"index '{self.url}' has no {PROJECT} {version} for this machine"
                + (f"; it has {versions}" if versions else ""),
                remedy="Choose another kind, or name a file: --from PATH",
            )
        return found

    def sha256_of(self, wheel: Wheel) -> str:
        """Return what a wheel must have: as the index says, else as GitHub computed when a file of a release came.

        Source: https://docs.github.com/en/rest/releases/releases#get-a-release-by-tag-name

        Raises:
            RegistryError: Neither says it.
        """
        if wheel.sha256 is not None:
            return wheel.sha256
        if (release := _RELEASE.fullmatch(wheel.url)) is not None:
            repository, tag, name = release.groups()
            with contextlib.suppress(BuildError):
                text = self._read(f"{self._github}/repos/{repository}/releases/tags/{tag}")
                if (digest := _digest(text, unquote(name))) is not None:
                    return digest
        raise RegistryError(
            f"index '{self.url}' does not say which SHA-256 '{wheel.file}' has",
            remedy="Look it up where you trust it, and add: --sha256 HEX",
        )

    def bring(self, wheel: Wheel, sha256: str, place: Path) -> Brought:
        """Fetch a wheel and unpack it into `place`. What came before an interruption is not fetched again.

        Raises:
            DigestMismatchError: Other bytes came; nothing is kept of them.
            RegistryError: It cannot be fetched.
            InputError: It is damaged.
            StoreError: The disk has no room.
        """
        digest = f"sha256:{sha256}"
        client, origin = self._origin(wheel.url)
        try:
            size_bytes, _ = retry(origin.probe, self._transfer)
            download(origin, digest, size_bytes, self._transfer)
        except DigestMismatchError as error:
            raise DigestMismatchError(
                f"'{wheel.url}' is not the file with the SHA-256 {sha256}, and is not installed",
                remedy="Look where the SHA-256 comes from, and ask who runs the index",
            ) from error
        except RegistryError as error:
            raise _explained(error) from error
        finally:
            client.close()
        try:
            with self._transfer.sink.open_blob(digest, size_bytes) as blob:
                unpack(Path(blob.name), place)
        finally:
            shutil.rmtree(self._fetched, ignore_errors=True)
        return Brought(wheel.url, sha256)

    def _read(self, url: str) -> str:
        client, origin = self._origin(url)

        def read() -> bytes:
            with origin.open(0, _PAGE_BYTES) as part:
                pieces: list[bytes] = []
                while (piece := part.read(1 << 16)) and sum(map(len, pieces)) < _PAGE_BYTES:
                    pieces.append(piece)
                return b"".join(pieces)

        try:
            return retry(read, self._transfer).decode(errors="replace")
        except RegistryError as error:
            raise _explained(error) from error
        finally:
            client.close()

    def _origin(self, url: str) -> tuple[HttpClient, UrlOrigin]:
        if not url.startswith("https://") and self.url.startswith("https://"):
            raise RegistryError(f"index '{self.url}' leads to '{url}', which is not https")
        client = HttpClient(url, f"index '{self.url}'")
        is_own = urlsplit(url).netloc == urlsplit(self.url).netloc
        return client, UrlOrigin(client, url, self._authorization if is_own else None, partial(_missing, url))


def best(links: Sequence[Wheel], version: str) -> Wheel | None:
    """Return the wheel of a version whose tag this Python on this machine likes most; None where it takes none."""
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    fitting = []
    for link in links:
        try:
            name, found, build, tags = parse_wheel_filename(link.file)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if name == PROJECT and found.public == version and rank is not None:
            fitting.append((-rank, build, link.sha256 is not None, link))
    return max(fitting, key=lambda row: row[:3])[3] if fitting else None


class _Page(HTMLParser):
    """Collects the links of a project's page that are not withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of a link; PEP 592 marks by `data-yanked` what nobody should install."""
        values = dict(attrs)
        if tag == "a" and (target := values.get("href")) and "data-yanked" not in values:
            self.targets.append(target)


def _links(text: str, page: str) -> list[Wheel]:
    parser = _Page()
    parser.feed(text)
    found = []
    for target in parser.targets:
        try:
            url, fragment = urldefrag(urljoin(page, target))
            file = unquote(urlsplit(url).path.rpartition("/")[2])
        except ValueError:
            continue  # not a URL
        match = _SHA256.search(fragment)
        found.append(Wheel(file, url, match[1] if match else None))
    return found


def _version(file: str) -> str | None:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        return str(parse_wheel_filename(file)[1])
    except InvalidWheelFilename:
        return None


def _digest(text: str, name: str) -> str | None:
    """Return the SHA-256 of a file of a release, out of what GitHub's API says of the release."""
    try:
        assets: list[dict[str, object]] = json.loads(text)["assets"]
        digest = next((str(asset.get("digest")) for asset in assets if asset["name"] == name), "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", digest)
    return match[1] if match else None


def _authorization(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    login = f"{unquote(user or '')}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _missing(url: str, status: int) -> BuildError | None:
    """Return what it means that nothing is there: a mirror need not have all kinds, and another kind may do."""
    return BuildError(f"there is nothing at '{url}'", remedy=_OTHER_WAY) if status == 404 else None


def _explained(error: RegistryError) -> RegistryError:
    """Return an error of the network with what to do about it here."""
    error.remedy = _OTHER_WAY
    return error
