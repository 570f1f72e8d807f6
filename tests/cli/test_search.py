"""`search` against a server that answers as Docker Hub and Hugging Face document it; the clients are the real ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.dmrc_command import Dmrc
from tests.sources.misbehaving import Misbehaving, respond

_HUB = [
    ("smollm2", "Tiny LLM built for speed, edge devices, and local development.", 512_345, 44),
    ("qwen3", "Qwen3 is the latest generation.", 2_500_000, 210),
    ("secret", "Tiny too.", 9_000_000, 1),
    ("embeddinggemma", "State of the art embeddings\nfor search.", 900, 3),
]
# Source: https://huggingface.co/docs/hub/api#get-apimodels
_HUGGING_FACE = [
    {
        "_id": "66",
        "id": "bartowski/SmolLM2-135M-Instruct-GGUF",
        "downloads": 61_000,
        "likes": 12,
        "lastModified": "2025-02-06T17:00:00.000Z",
        "pipeline_tag": "text-generation",
        "private": False,
        "usedStorage": 2_500_000_000,
        "gguf": {"total": 134_515_008, "architecture": "llama", "context_length": 8192},
    },
    {"_id": "67", "id": "someone/Other-GGUF", "downloads": 5, "likes": 0, "private": False},
    {"_id": "68", "id": "someone/Private-GGUF", "downloads": 4, "likes": 0, "private": True},
]


class Places:
    """Docker Hub and Hugging Face at one address."""

    def __init__(self) -> None:
        self.server = Misbehaving(self._answer)
        self.hub_status = self.hugging_face_status = 200

    @property
    def url(self) -> str:
        return f"http://{self.server.address}"

    def asked(self, path: str) -> list[dict[str, list[str]]]:
        urls = [urlsplit(asked) for asked, _ in self.server.requests]
        return [parse_qs(url.query) for url in urls if url.path == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/v2/repositories/ai/"):
            page = int(parse_qs(urlsplit(handler.path).query).get("page", ["1"])[0])
            respond(handler, self.hub_status, json.dumps(self._hub_page(page)).encode())
        elif handler.path.startswith("/api/models"):
            respond(handler, self.hugging_face_status, json.dumps(_HUGGING_FACE).encode())
        else:
            respond(handler, 404)

    def _hub_page(self, page: int) -> dict[str, object]:
        """Two repositories a page; the last page points to another server."""
        last = page * 2 >= len(_HUB)
        following = "http://127.0.0.1:1/v2/repositories/ai/" if last else f"{self.url}/v2/repositories/ai/?page=2"
        results = [
            {
                "name": name,
                "namespace": "ai",
                "description": description,
                "pull_count": pulls,
                "star_count": stars,
                "is_private": name == "secret",
                "last_updated": "2025-11-03T10:00:00Z",
            }
            for name, description, pulls, stars in _HUB[page * 2 - 2 : page * 2]
        ]
        return {"count": len(_HUB), "next": following, "previous": None, "results": results}


@pytest.fixture
def places(dmrc: Dmrc) -> Iterator[Places]:
    places = Places()
    with places.server:
        dmrc.environment["HF_ENDPOINT"] = places.url
        yield places


def test_all_that_is_found_is_a_table_the_most_downloaded_first(dmrc: Dmrc, places: Places) -> None:
    header, *rows = dmrc.ok("search", "--hub-url", places.url).splitlines()

    assert header.split() == ["NAME", "DESCRIPTION", "BACKEND", "SIZE", "DOWNLOADS", "STARS", "SOURCE"]
    assert [row.split()[0] for row in rows] == [
        "ai/qwen3",
        "ai/smollm2",
        "hf.co/bartowski/SmolLM2-135M-Instruct-GGUF",
        "ai/embeddinggemma",
        "hf.co/someone/Other-GGUF",
    ]
    assert re.search(r"local…  llama\.cpp +- +512\.3K +44 +Docker Hub$", rows[1])
    assert "text-generation, llama, 0.13 B" in rows[2]
    assert "2.50 GB" in rows[2]
    assert "61.0K" in rows[2]
    assert rows[2].endswith("HuggingFace")
    assert "State of the art embeddings for search." in rows[3]


def test_the_term_is_looked_for_in_names_and_descriptions(dmrc: Dmrc, places: Places) -> None:
    found = json.loads(dmrc.ok("search", "TINY", "--json", "--source", "hub", "--hub-url", places.url))

    assert found == [
        {
            "Name": "ai/smollm2",
            "Description": "Tiny LLM built for speed, edge devices, and local…",
            "Downloads": 512_345,
            "Stars": 44,
            "Source": "Docker Hub",
            "Official": True,
            "UpdatedAt": "2025-11-03T10:00:00Z",
            "Backend": "llama.cpp",
            "Size": 0,
        }
    ]
    assert len(places.asked("/v2/repositories/ai/")) == 2


def test_hugging_face_is_asked_for_gguf_by_its_own_client(dmrc: Dmrc, places: Places) -> None:
    found = json.loads(dmrc.ok("search", "smol", "--json", "--source", "huggingface", "-n", "7"))

    assert [row["Name"] for row in found] == ["bartowski/SmolLM2-135M-Instruct-GGUF", "someone/Other-GGUF"]
    assert found[0]["Size"] == 2_500_000_000
    assert found[0]["UpdatedAt"].startswith("2025-02-06T17:00:00")
    assert {row["Official"] for row in found} == {False}
    (query,) = places.asked("/api/models")
    wanted = {"search": ["smol"], "filter": ["gguf"], "sort": ["downloads"], "limit": ["7"]}
    assert wanted.items() <= query.items()
    assert places.asked("/v2/repositories/ai/") == []


def test_the_limit_is_of_all_together(dmrc: Dmrc, places: Places) -> None:
    assert len(json.loads(dmrc.ok("search", "--json", "-n", "2", "--hub-url", places.url))) == 2


def test_nothing_found_is_said_and_no_failure(dmrc: Dmrc, places: Places) -> None:
    table = dmrc.run("search", "nothing", "--source", "dockerhub", "--hub-url", places.url)
    document = dmrc.run("search", "nothing", "--source", "dockerhub", "--hub-url", places.url, "--json")

    assert (table.returncode, table.stdout) == (0, "")
    assert table.stderr.removeprefix("Searching …\n") == "no models found matching 'nothing'\n"
    assert json.loads(document.stdout) == []


def test_one_that_fails_is_named_while_the_other_answers(dmrc: Dmrc, places: Places) -> None:
    places.hub_status = 429

    done = dmrc.run("search", "--json", "--hub-url", places.url)

    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.removeprefix("Searching …\n") == "Docker Hub cannot be searched: it answers 429\n"


def test_a_search_that_nobody_answers_fails_soon_and_in_one_line(dmrc: Dmrc, places: Places) -> None:
    places.hub_status = 200
    places.hugging_face_status = 401

    refused = dmrc.run("search", "--source", "huggingface")
    gone = dmrc.run("search", "--source", "hub", "--hub-url", "http://127.0.0.1:1")
    silent = dmrc.run("search", "--source", "huggingface", env={"HF_ENDPOINT": "http://127.0.0.1:1"})

    assert (refused.returncode, gone.returncode, silent.returncode) == (4, 4, 4)
    assert refused.stderr.startswith("dmrc: Hugging Face cannot be searched: ")
    assert gone.stderr.startswith("dmrc: Docker Hub cannot be reached: ")
    assert "Connection refused" in gone.stderr
    for done in (refused, gone, silent):
        assert done.stderr.endswith(". Check the network, or try again later\n")
        assert done.stderr.removeprefix("Searching …\n").count("\n") == 1


@pytest.mark.process
def test_search_imports_nothing_while_the_process_ends() -> None:
    """An import that the end of the process cuts off prints "can't register atexit after shutdown"."""
    code = """if True:
        import sys
        from dmrc.sources import search
        from dmrc.sources.huggingface import HuggingFaceSource

        def first_thread(work, name):
            sys.exit(0 if "huggingface_hub.hf_api" in sys.modules else 1)

        search.start_thread = first_thread
        search.search("x", 1, {"Hugging Face": HuggingFaceSource().finder()})
    """

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


_SHELF = """
from dmrc import hookimpl
from dmrc.sources.search import SearchResult


class Shelf:
    name, catalog, catalog_title = "shelf", "shelf", "The shelf"

    def recognize(self, text):
        return None

    def finder(self):
        return lambda term, limit: [SearchResult(f"shelf/{term}", "", 7, 0, "Shelf", "")]


@hookimpl
def dmrc_register_sources(settings):
    return [Shelf()]
"""


def test_a_source_of_a_plugin_is_searched_beside_the_others(dmrc: Dmrc, places: Places, tmp_path: Path) -> None:
    (tmp_path / "shelf.py").write_text(_SHELF)
    plugged = {"DMRC_PLUGINS": str(tmp_path / "shelf.py")}

    alone = dmrc.ok("search", "oak", "--source", "shelf", env=plugged)
    among = dmrc.ok("search", "tiny", "--hub-url", places.url, env=plugged)
    unknown = dmrc.run("search", "oak", "--source", "shelf")

    assert alone.splitlines()[1].startswith("shelf/oak")
    assert {line.split()[0] for line in among.splitlines()} >= {"ai/smollm2", "shelf/tiny"}
    assert unknown.returncode == 2
    assert "'shelf' is not one of 'hub', 'huggingface'" in unknown.stderr
