"""Names of models: `registry/repository:tag@digest`, read as Docker Model Runner reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from dmrc.errors import InvalidReferenceError

DEFAULT_REGISTRY = "docker.io"
"""Registry of references that name none."""

_DEFAULT_ORGANISATION = "ai"
_DEFAULT_TAG = "latest"
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io")
_LONGEST_REPOSITORY = 255
_LARGEST_PORT = 65535

# Source: https://github.com/distribution/reference/blob/main/regexp.go
_REGISTRY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# What a name on Hugging Face may have beyond that: `a_-b`, `a_`. Source:
# https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_validators.py
_HUGGING_FACE_COMPONENT = re.compile(r"(?!.*(?:--|\.\.))[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HUGGING_FACE = "huggingface.co"
_REVISION = "-at-"
_URL = re.compile(r"(https?|file)://", re.IGNORECASE)
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")
_LONG_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_MODEL_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})|([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Reference:
    """The full name of a model. At least one of `tag` and `digest` is set."""

    registry: str
    """Host, with its port where one is given: `docker.io`, `localhost:5000`."""
    repository: str
    """Path in the registry: `ai/smollm2`."""
    tag: str | None
    """`latest`, `135M-Q4_K_M`; None when only a digest names the model."""
    digest: str | None
    """`sha256:<64 hex>` of the manifest; None when the tag alone names the model."""

    @classmethod
    def parse(cls, text: str, *, default_registry: str = DEFAULT_REGISTRY) -> Self:
        """Read a reference: `gemma3` is `docker.io/ai/gemma3:latest`, `hf.co/…` is `huggingface.co/…`.

        The name is lower-cased, the tag keeps its case. A name without a slash is in `ai/`, even one of 12 hex digits:
        whoever looks for a model asks `model_id` first. Where a model comes from elsewhere, this is its name in the
        store: `hf.co/org/model:Q4_0@v1` has the tag `Q4_0-at-v1`, and `https://example.com/a/model.gguf` is
        `example.com/a/model:latest`; a file's registry is `localhost`.

        Raises:
            InvalidReferenceError: `text` is no reference, or is the whole ID of a model.
        """
        if _URL.match(text.strip()):
            registry, repository = _of_url(text)
            _check(text, registry, repository, _DEFAULT_TAG, None)
            return cls(registry, repository, _DEFAULT_TAG, None)
        name, tag, digest = _split(text)
        first, slash, rest = name.partition("/")
        if slash and _is_registry(first):
            registry, repository = first, rest
        else:
            registry = default_registry.strip().lower()
            repository = name if slash else f"{_DEFAULT_ORGANISATION}/{name}"
        if registry in _HUB_ALIASES:
            registry = DEFAULT_REGISTRY
        if registry in ("hf.co", _HUGGING_FACE):
            registry = _HUGGING_FACE
            if digest and not is_digest(digest):
                revision = re.sub(r"[^A-Za-z0-9_.-]", "-", digest)
                tag, digest = f"{tag or _DEFAULT_TAG}{_REVISION}{revision}", None
        _check(text, registry, repository, tag, digest)
        return cls(registry, repository, tag, digest)

    def __str__(self) -> str:
        """Return the full form, which parses to the same reference: `docker.io/ai/smollm2:latest`."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    def display(self, *, default_registry: str = DEFAULT_REGISTRY) -> str:
        """Return the shortest form that still parses to the same reference, as Docker Model Runner prints it.

        A name that alone would be taken for the ID of a model keeps its organisation.
        """
        text = self.repository
        organisation, slash, name = text.partition("/")
        if self.registry == _HUGGING_FACE:
            text = f"hf.co/{text}"
        elif self.registry != default_registry or not slash or _is_registry(organisation):
            text = f"{self.registry}/{text}"
        elif organisation == _DEFAULT_ORGANISATION and "/" not in name:
            text = name
        if self.tag is not None and (self.tag != _DEFAULT_TAG or self.digest is not None):
            text += f":{self.tag}"
        if model_id(text) is not None:
            text = f"{_DEFAULT_ORGANISATION}/{text}"
        return text if self.digest is None else f"{text}@{self.digest}"


def model_id(text: str) -> str | None:
    """Return the 12 or 64 hex digits when `text` has the form of a model's ID (`sha256:` may precede 64), or None."""
    match = _MODEL_ID.fullmatch(text.strip())
    return None if match is None else match[1] or match[2]


def is_digest(text: str) -> bool:
    """Return whether `text` is `sha256:<64 hex>`. Other algorithms are not used for models."""
    return _DIGEST.fullmatch(text) is not None


def _split(text: str) -> tuple[str, str | None, str | None]:
    """Split into the name in lower case, the tag, and the digest."""
    stripped = text.strip()
    if not stripped:
        raise InvalidReferenceError("the name of the model is empty", remedy="Write one, like ai/smollm2")
    if _LONG_ID.fullmatch(stripped):
        raise _invalid(text, "it is the ID of a model, not a name")
    name, at, digest = stripped.partition("@")
    path, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    name = f"{path}{slash}{last}".lower()
    if at:
        return name, (tag or _DEFAULT_TAG) if colon else None, digest
    return name, tag or _DEFAULT_TAG, None


def _of_url(text: str) -> tuple[str, str]:
    """Return host and path by which a model that comes from a URL is known here."""
    try:
        parts = urlsplit(text.strip())
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise _invalid(text, f"it is not a URL: {error}") from error
    host = parts.hostname or ""
    registry = f"[{host}]{port}" if ":" in host else f"{host}{port}"
    if parts.scheme.lower() == "file":
        registry = "localhost"
    elif not _is_registry(registry):
        registry = f"{registry}:{443 if parts.scheme.lower() == 'https' else 80}"
    path = _SHARD.sub("", unquote(parts.path).lower().removesuffix(".gguf"))
    # What no name may have becomes a dash.
    cleaned = (re.sub(r"[^a-z0-9._]+|[._]{2,}", "-", part).strip("-._") for part in path.split("/"))
    return registry, "/".join(re.sub(r"[-._]{2,}", "-", part) for part in cleaned if part)


def _is_registry(text: str) -> bool:
    """Return whether the first part of a name is a host, by Docker's rule."""
    return "." in text or ":" in text or text == "localhost"


def _check(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    host = _REGISTRY.fullmatch(registry)
    if not _is_registry(registry) or host is None or int(host["port"] or 1) > _LARGEST_PORT:
        raise _invalid(
            text, f"'{registry}' is not a registry; write a host like registry.example.com or localhost:5000"
        )
    component = _HUGGING_FACE_COMPONENT if registry == _HUGGING_FACE else _COMPONENT
    if len(repository) > _LONGEST_REPOSITORY or not all(map(component.fullmatch, repository.split("/"))):
        raise _invalid(text, "a name has letters, digits and single '.', '_', '-' between them, parted by '/'")
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(text, f"'{tag}' is not a tag; a tag has at most 128 letters, digits, '.', '_' and '-'")
    if digest is not None and not is_digest(digest):
        raise _invalid(text, "after '@' a digest is wanted, sha256: and 64 lower-case hex digits")


def _invalid(text: str, reason: str) -> InvalidReferenceError:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return InvalidReferenceError(f"{shown!r} is not a model reference: {reason}")
