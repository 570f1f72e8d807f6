"""Finding models by a word: in Docker Hub's catalogue of models, and among the GGUF repositories on Hugging Face."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from dmrc.errors import RegistryError
from dmrc.sources import huggingface_client
from dmrc.sources.http import HttpClient, origin_of
from dmrc.sources.threads import start

if TYPE_CHECKING:
    import huggingface_hub
    from huggingface_hub.hf_api import ExpandModelProperty_T

_log = logging.getLogger(__name__)

HUB_URL = "https://hub.docker.com"
"""Docker Hub's own API, which is not that of its registry."""

_NAMESPACE = "ai"
_TITLES = {"hub": "Docker Hub", "huggingface": "Hugging Face"}
_PAGE = 100
_MOST_PAGES = 20
_MOST_BYTES = 16 << 20
_LONGEST_DESCRIPTION = 50
# huggingface_hub itself would try for half a minute to reach a server that is not there.
_WAIT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One model that was found."""

    name: str
    """As `dmrc pull` takes it: `ai/smollm2`, `hf.co/bartowski/SmolLM2-135M-Instruct-GGUF`."""
    description: str
    """A line, of at most 50 characters."""
    downloads: int
    """How often it was pulled."""
    stars: int
    """How many like it."""
    source: str
    """`Docker Hub`, `HuggingFace`."""
    updated_at: str
    """When it last changed, as its source writes it; empty when it does not say."""
    size_bytes: int = 0
    """Size of the repository with all its quantisations; 0 when the source does not say."""
    official: bool = False
    """Whether Docker itself packaged it."""

    def to_json(self) -> dict[str, str | int | bool]:
        """Return it with the keys of `docker model search --json`; all that is found is for llama.cpp."""
        return {
            "Name": self.name.removeprefix("hf.co/"),
            "Description": self.description,
            "Downloads": self.downloads,
            "Stars": self.stars,
            "Source": self.source,
            "Official": self.official,
            "UpdatedAt": self.updated_at,
            "Backend": "llama.cpp",
            "Size": self.size_bytes,
        }


def search(term: str, limit: int, *, sources: Sequence[str], hub_url: str = HUB_URL) -> list[SearchResult]:
    """Ask `sources` (`hub`, `huggingface`) side by side, and return the most popular models.

    One that fails is named in the log while another answers.

    Raises:
        RegistryError: All of them failed.
        SettingError: The environment names a proxy that is none.
    """
    searches: Mapping[str, Callable[[], list[SearchResult]]] = {
        "hub": partial(search_hub, term, limit, hub_url),
        "huggingface": partial(search_hugging_face, term, limit),
    }
    if "huggingface" in sources:
        # Here and not in the thread, which is left alone when the process ends: an import that is cut off by that
        # prints a line of its own.
        huggingface_client.api()
    asked = {name: start(searches[name]) for name in sources}
    found: list[SearchResult] = []
    failures: list[str] = []
    for name, future in asked.items():
        try:
            found += _answer(name, future)
        except RegistryError as error:
            failures.append(error.message)
    if len(failures) == len(asked):
        raise RegistryError("; ".join(failures), remedy="Check the network, or try again later")
    for failure in failures:
        _log.warning("%s", failure)
    return sorted(found, key=lambda result: -result.downloads)[:limit]


def search_hub(term: str, limit: int, hub_url: str = HUB_URL) -> list[SearchResult]:
    """Return models of Docker's catalogue whose name or description holds the term.

    Docker Hub has no search within a namespace, so its pages are read, the most pulled models first.

    Raises:
        RegistryError: Docker Hub cannot be reached, or answers nonsense.
    """
    found: list[SearchResult] = []
    client = HttpClient(hub_url, "Docker Hub")
    url = f"{hub_url}/v2/repositories/{_NAMESPACE}/?{urlencode({'page_size': _PAGE, 'ordering': '-pull_count'})}"
    for _ in range(_MOST_PAGES):
        page = _page(client, url)
        repositories = page.get("results")
        for repository in repositories if isinstance(repositories, list) else []:
            if isinstance(repository, dict) and not repository.get("is_private"):
                result = _of_hub(repository)
                if term.lower() in f"{result.name}\n{repository.get('description')}".lower():
                    found.append(result)
        following = page.get("next")
        if len(found) >= limit or not isinstance(following, str) or origin_of(following) != origin_of(hub_url):
            break
        url = following
    return found[:limit]


def search_hugging_face(term: str, limit: int) -> list[SearchResult]:
    """Return GGUF repositories that Hugging Face finds for the term, the most downloaded first.

    `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to huggingface_hub, which does the work.

    Raises:
        RegistryError: Hugging Face cannot be reached, or refuses.
    """
    facts: list[ExpandModelProperty_T] = ["downloads", "likes", "lastModified", "pipeline_tag", "usedStorage", "gguf"]
    api = huggingface_client.api()
    query = partial(api.list_models, search=term or None, filter="gguf", sort="downloads")
    try:
        models = list(query(limit=limit, expand=[*facts, "private"]))
    # Its HTTP library, whose errors come through, is another one from version to version.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        way = huggingface_client.way_to(api.endpoint)
        raise RegistryError(f"Hugging Face cannot be searched{way}: {reason[0]}") from error
    return [_of_hugging_face(model) for model in models if not model.private]


def _answer(name: str, future: Future[list[SearchResult]]) -> list[SearchResult]:
    try:
        return future.result(_WAIT_SECONDS)
    except TimeoutError as error:
        raise RegistryError(f"{_TITLES[name]} has not answered for {_WAIT_SECONDS:.0f} seconds") from error


def _page(client: HttpClient, url: str) -> Mapping[str, object]:
    with client.errors():
        response = client.request("GET", url, {"Accept": "application/json"})
        with client.reading(response):
            data = response.read(_MOST_BYTES)
    if response.status != 200:
        raise RegistryError(f"Docker Hub cannot be searched: it answers {response.status}")
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError("Docker Hub cannot be searched: its answer is no JSON object")
    return cast(Mapping[str, object], document)


def _of_hub(repository: Mapping[str, object]) -> SearchResult:
    namespace = str(repository.get("namespace") or _NAMESPACE)
    return SearchResult(
        name=f"{namespace}/{repository.get('name')}",
        description=_shortened(str(repository.get("description") or "")),
        downloads=_count(repository.get("pull_count")),
        stars=_count(repository.get("star_count")),
        source="Docker Hub",
        updated_at=str(repository.get("last_updated") or ""),
        size_bytes=_count(repository.get("storage_size")),
        official=namespace == _NAMESPACE,
    )


def _of_hugging_face(model: huggingface_hub.ModelInfo) -> SearchResult:
    gguf = model.gguf or {}
    parameters = _count(gguf.get("total"))
    facts = (model.pipeline_tag, gguf.get("architecture"), f"{parameters / 1e9:.2f} B" if parameters else None)
    return SearchResult(
        name=f"hf.co/{model.id}",
        description=_shortened(", ".join(str(fact) for fact in facts if fact)),
        downloads=_count(model.downloads),
        stars=_count(model.likes),
        source="HuggingFace",
        updated_at=model.last_modified.isoformat() if model.last_modified else "",
        size_bytes=_count(model.used_storage),
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DESCRIPTION else f"{line[: _LONGEST_DESCRIPTION - 1]}…"


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
