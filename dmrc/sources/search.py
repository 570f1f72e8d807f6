"""Finding models by a word, where their sources have a catalog of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from dmrc.errors import RegistryError
from dmrc.threads import start_thread

_log = logging.getLogger(__name__)

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


ModelFinder = Callable[[str, int], list[SearchResult]]
"""Takes a word, which may be empty, and how many to return: the most popular models that it fits. Blocks.

Raises RegistryError where the catalog cannot be reached, or refuses.
"""


@runtime_checkable
class Searchable(Protocol):
    """A source with a catalog of its models, too."""

    catalog: str
    """What `dmrc search --source` calls it: `hub`."""
    catalog_title: str
    """For messages: `Docker Hub`."""

    def finder(self) -> ModelFinder:
        """Return what searches it, in a thread. Imports belong here, in the thread of the command.

        The thread is left alone when the process ends, and an import that is cut off by that prints a line of its own.

        Raises:
            SettingError: The environment names a proxy that is none.
        """


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search came to."""

    results: list[SearchResult]
    """The most popular models."""
    failures: list[str]
    """What each catalog that did not answer says, in a line."""


def catalogs(sources: Iterable[object]) -> dict[str, Searchable]:
    """Return the sources that can be searched, by what `dmrc search --source` calls them."""
    return {source.catalog: source for source in sources if isinstance(source, Searchable)}


def search(term: str, limit: int, finders: Mapping[str, ModelFinder]) -> list[SearchResult]:
    """Return what `find` found; a catalog that fails is named in the log while another answers.

    Raises:
        RegistryError: All of them failed.
    """
    found = find(term, limit, finders)
    if len(found.failures) == len(finders):
        raise RegistryError("; ".join(found.failures), remedy="Check the network, or try again later")
    for failure in found.failures:
        _log.warning("%s", failure)
    return found.results


def find(term: str, limit: int, finders: Mapping[str, ModelFinder]) -> SearchAnswer:
    """Ask catalogs, by their titles, side by side, and return the most popular models. It takes 15 seconds at most."""
    asked = {title: start_thread(partial(find, term, limit), "search") for title, find in finders.items()}
    found: list[SearchResult] = []
    failures: list[str] = []
    for title, future in asked.items():
        try:
            found += _answer(title, future)
        except RegistryError as error:
            failures.append(error.message)
    return SearchAnswer(sorted(found, key=lambda result: -result.downloads)[:limit], failures)


def _answer(title: str, future: Future[list[SearchResult]]) -> list[SearchResult]:
    try:
        return future.result(_WAIT_SECONDS)
    except TimeoutError as error:
        raise RegistryError(f"{title} has not answered for {_WAIT_SECONDS:.0f} seconds") from error


def shortened(text: str) -> str:
    """Return a description as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DESCRIPTION else f"{line[: _LONGEST_DESCRIPTION - 1]}…"


def count(value: object) -> int:
    """Return a number of a document, 0 where it is none."""
    return value if isinstance(value, int) and value > 0 else 0
