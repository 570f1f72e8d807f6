"""The search of the page of models, against servers that answer as Docker Hub and Hugging Face document it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dmrc.errors import RegistryError
from dmrc.sources.docker_hub import hub_variants
from dmrc.sources.search import find
from tests.dmrc_command import temporary_dmrc
from tests.sources.misbehaving import Misbehaving, respond
from tests.tiny_gguf import write_tiny_llama
from tests.ui.conftest import Site

_REPOSITORY = "someone/Tiny-<GGUF>"


class HuggingFace:
    """A repository with two quantisations of one tiny model, and one that no machine has room for."""

    def __init__(self, gguf: bytes) -> None:
        self.gguf = gguf
        self.server = Misbehaving(self._answer)
        self.status = 200

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if path == "/api/models":
            found = {"_id": "1", "id": _REPOSITORY, "downloads": 61_000, "likes": 12, "private": False}
            respond(handler, self.status, json.dumps([found]).encode())
        elif path.startswith("/api/models/"):
            sizes = {"Q4_K_M": len(self.gguf), "Q8_0": 2 * len(self.gguf), "F16": 10**15}
            siblings = [{"rfilename": f"tiny-{name}.gguf", "size": size} for name, size in sizes.items()]
            document = {"_id": "1", "id": _REPOSITORY, "sha": "a" * 40, "siblings": siblings, "private": False}
            respond(handler, 200, json.dumps(document).encode())
        elif path.endswith("tiny-Q4_K_M.gguf"):
            respond(handler, 200, self.gguf)
        else:
            respond(handler, 404)


@pytest.fixture
def hugging_face(tmp_path: Path) -> Iterator[HuggingFace]:
    place = HuggingFace(write_tiny_llama(tmp_path / "tiny.gguf").read_bytes())
    with place.server:
        yield place


@pytest.mark.process
def test_a_search_shows_what_was_found_and_names_who_does_not_answer(hugging_face: HuggingFace, tmp_path: Path) -> None:
    with temporary_dmrc() as dmrc:
        # There is no Docker Hub here.
        dmrc.environment |= {
            "HF_ENDPOINT": f"http://{hugging_face.server.address}",
            "HTTPS_PROXY": "http://127.0.0.1:1",
        }
        site = Site(dmrc, tmp_path, "")
        cookie = site.cookie()

        def ask(path: str) -> str:
            import urllib.request

            request = urllib.request.Request(f"{site.url}/ui/models/{path}", headers={"cookie": cookie})
            with urllib.request.urlopen(request) as answer:
                return str(answer.read().decode())

        found = ask("search?term=tiny")
        assert "hf.co/someone/Tiny-&lt;GGUF&gt;" in found
        assert "61.0k" in found
        assert re.search(r'<p class="error">Docker Hub [^<]*</p>', found)
        assert found.count('class="error"') == 1

        rows = ask("variants?name=hf.co/someone/Tiny-GGUF")
        names = re.findall(r'data-pull-name="([^"]*)"', rows)
        assert sorted(names) == [f"hf.co/someone/Tiny-GGUF:{name}" for name in ("F16", "Q4_K_M", "Q8_0")]
        by_name = {name: next(row for row in rows.split("<tr>") if f'"{name}"' in row) for name in names}
        assert ">Fits<" in by_name["hf.co/someone/Tiny-GGUF:Q4_K_M"]
        assert ">Does not fit<" in by_name["hf.co/someone/Tiny-GGUF:F16"]

        hugging_face.status = 500
        nothing = ask("search?term=tiny")
        assert nothing.count('class="error"') == 2
        assert "No models found" not in nothing


def test_tags_of_one_model_on_docker_hub_are_one_line_by_the_name_that_says_most() -> None:
    tags = [
        {"name": "latest", "full_size": 100, "digest": "sha256:a"},
        {"name": "360M-Q4_K_M", "full_size": 100, "digest": "sha256:a"},
        {"name": "135M-Q4_0", "full_size": 50, "digest": "sha256:b"},
        {"name": "135M-F16", "full_size": 90, "digest": "sha256:c"},
        {"name": 7},
    ]

    with Misbehaving(lambda handler: respond(handler, 200, json.dumps({"results": tags}).encode())) as server:
        found = hub_variants("ai/smollm2", f"http://{server.address}")

    assert [(one.name, one.quantization, one.size_bytes, one.family) for one in found] == [
        ("ai/smollm2:135M-Q4_0", "Q4_0", 50, "135M"),
        ("ai/smollm2:135M-F16", "F16", 90, "135M"),
        ("ai/smollm2:360M-Q4_K_M", "Q4_K_M", 100, "360M"),
    ]


def test_a_place_that_does_not_answer_blocks_nobody_for_longer_than_the_search_may_take() -> None:
    def refuses(_term: str, _limit: int) -> list[object]:
        raise RegistryError("Nowhere cannot be reached")

    began = time.monotonic()
    found = find("x", 3, {"Nowhere": refuses})

    assert (found.results, found.failures) == ([], ["Nowhere cannot be reached"])
    assert time.monotonic() - began < 10
