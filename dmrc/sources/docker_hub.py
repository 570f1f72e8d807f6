"""Docker Hub's catalogue of models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote, urlencode

from dmrc.errors import RegistryError
from dmrc.sources.http import HttpClient, origin_of
from dmrc.sources.quantisations import quantisation_of
from dmrc.sources.search import SearchResult, count, shortened
from dmrc.sources.variants import ModelVariant

HUB_URL = "https://hub.docker.com"
"""Docker Hub's own API, which is not that of its registry."""

_NAMESPACE = "ai"
_PAGE = 100
_MOST_PAGES = 20
_MOST_BYTES = 16 << 20


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


def hub_variants(repository: str, hub_url: str = HUB_URL) -> list[ModelVariant]:
    """Return the tags of a repository, `ai/smollm2`; of several tags of one model the one that says most.

    Raises:
        RegistryError: Docker Hub cannot be reached, or answers nonsense.
    """
    url = f"{hub_url}/v2/repositories/{quote(repository)}/tags?{urlencode({'page_size': _PAGE})}"
    tags = _page(HttpClient(hub_url, "Docker Hub"), url).get("results")
    found: dict[str, ModelVariant] = {}
    for tag in tags if isinstance(tags, list) else []:
        if not isinstance(tag, dict) or not isinstance(tag.get("name"), str):
            continue
        name = tag["name"]
        quantization = quantisation_of(f"{name}.gguf")
        family = name[: len(name) - len(quantization)].rstrip("-_.") if quantization else ""
        variant = ModelVariant(f"{repository}:{name}", quantization, count(tag.get("full_size")), family)
        same = str(tag.get("digest") or name)
        if same not in found or len(variant.quantization) > len(found[same].quantization):
            found[same] = variant
    return sorted(found.values(), key=lambda one: (one.family, one.size_bytes))


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
        raise RegistryError("Docker Hub cannot be searched: its answer is not a JSON object")
    return cast(Mapping[str, object], document)


def _of_hub(repository: Mapping[str, object]) -> SearchResult:
    namespace = str(repository.get("namespace") or _NAMESPACE)
    return SearchResult(
        name=f"{namespace}/{repository.get('name')}",
        description=shortened(str(repository.get("description") or "")),
        downloads=count(repository.get("pull_count")),
        stars=count(repository.get("star_count")),
        source="Docker Hub",
        updated_at=str(repository.get("last_updated") or ""),
        size_bytes=count(repository.get("storage_size")),
        official=namespace == _NAMESPACE,
    )
