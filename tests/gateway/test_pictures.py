"""Pictures, in every dialect and on the command line, by the real engine: its words are noise, its counts are not."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ollama
import pytest
import urllib3

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_projector import IMAGE_TOKENS, png, write_tiny_projector

if TYPE_CHECKING:
    import openai

PICTURE, NOTHING = png(), b"no picture at all" * 9
_TEXT = "What is it?"
_BY_ADDRESS = {"type": "image", "source": {"type": "url", "url": "URL"}}
_HASH = hashlib.sha256(PICTURE).hexdigest()

Tokens = int
Ask = Callable[["Seeing", str, bytes | None], Tokens]


@dataclass(frozen=True)
class Seeing:
    """A dmrc with a model that sees, `local/eyes`, and one that does not, `local/blind`."""

    dmrc: Dmrc
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    @property
    def openai(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def latest(self) -> dict[str, object]:
        """Return the last request on record, whole."""
        (last,) = json.loads(self.dmrc.ok("requests", "--limit", "1", "--json"))
        found: dict[str, object] = json.loads(self.dmrc.ok("requests", "show", last["id"], "--json"))
        return found


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Seeing]:
    directory = tmp_path_factory.mktemp("pictures")
    gguf, projector = write_tiny_llama(directory / "tiny.gguf"), write_tiny_projector(directory / "mmproj.gguf")
    (directory / "red.png").write_bytes(PICTURE)
    (directory / "none.png").write_bytes(NOTHING)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, "--mmproj", projector, "local/eyes")
        dmrc.ok("package", "--gguf", gguf, "local/blind")
        dmrc.ok("run", "--detach", "local/eyes")
        yield Seeing(dmrc, directory)


def _encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _url(picture: bytes) -> str:
    return f"data:image/png;base64,{_encoded(picture)}"


def _chat(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    seen = [{"type": "image_url", "image_url": {"url": _url(picture)}}] if picture else []
    content = [{"type": "text", "text": _TEXT}, *seen]
    messages = [{"role": "user", "content": content}]
    answer = seeing.openai.chat.completions.create(model=model, max_tokens=2, messages=messages)  # type: ignore[arg-type]
    return answer.usage.prompt_tokens


def _response(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    seen = [{"type": "input_image", "image_url": _url(picture)}] if picture else []
    said = [{"role": "user", "content": [{"type": "input_text", "text": _TEXT}, *seen]}]
    answer = seeing.openai.responses.create(model=model, max_output_tokens=2, input=said)  # type: ignore[arg-type]
    return answer.usage.input_tokens


def _message(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    import anthropic

    source = {"type": "base64", "media_type": "image/png", "data": _encoded(picture or b"")}
    seen = [{"type": "image", "source": source}] if picture else []
    client = anthropic.Anthropic(base_url=f"{seeing.url}/anthropic", api_key="none", max_retries=0)
    messages = [{"role": "user", "content": [{"type": "text", "text": _TEXT}, *seen]}]
    answer = client.messages.create(model=model, max_tokens=2, messages=messages)  # type: ignore[arg-type]
    return answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)


def _ollama_chat(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    message = {"role": "user", "content": _TEXT, "images": [_encoded(picture)] if picture else []}
    return ollama.Client(seeing.url).chat(model, [message], options={"num_predict": 2}).prompt_eval_count


def _ollama_generate(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    images = [_encoded(picture)] if picture else []
    answer = ollama.Client(seeing.url).generate(model, _TEXT, images=images, options={"num_predict": 2})
    return answer.prompt_eval_count


def _command(seeing: Seeing, model: str, picture: bytes | None) -> Tokens:
    name = {PICTURE: "red.png", NOTHING: "none.png"}.get(picture or b"", "")
    path = f" {seeing.directory}/{name}" if name else ""
    done = seeing.dmrc.run("run", "--json", model, f"What is it?{path}")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(json.loads(done.stdout)["usage"]["prompt_tokens"])


_WAYS = [_chat, _response, _message, _ollama_chat, _ollama_generate]


@pytest.mark.parametrize("ask", _WAYS)
def test_a_picture_reaches_the_model_and_is_recorded_by_its_hash(seeing: Seeing, ask: Ask) -> None:
    words = ask(seeing, "local/eyes", None)

    both = ask(seeing, "local/eyes", PICTURE)

    # The words around a picture may have a token more: a line break before it.
    assert both - words in (IMAGE_TOKENS, IMAGE_TOKENS + 1)
    record = eventually(lambda: next(iter([one] if _HASH in str(one := seeing.latest()) else []), None), "the record")
    assert record["prompt_tokens"] == both
    assert _encoded(PICTURE) not in json.dumps(record)
    shown = seeing.dmrc.ok("requests", "show", str(record["id"]))
    assert f"[media image/png, {len(PICTURE)} bytes, sha256:{_HASH}]" in shown.split("assistant")[0]


@pytest.mark.parametrize("ask", _WAYS)
def test_what_is_no_picture_is_the_callers_mistake(seeing: Seeing, ask: Ask) -> None:
    import anthropic
    import openai

    with pytest.raises(
        (openai.BadRequestError, anthropic.BadRequestError, ollama.ResponseError), match="Failed to load image"
    ):
        ask(seeing, "local/eyes", NOTHING)


@pytest.mark.parametrize("ask", _WAYS)
def test_a_model_without_eyes_says_so_and_is_not_loaded(seeing: Seeing, ask: Ask) -> None:
    import anthropic
    import openai

    with pytest.raises(
        (openai.BadRequestError, anthropic.BadRequestError, ollama.ResponseError),
        match="local/blind:latest' takes no pictures and no sounds: it has no projector",
    ):
        ask(seeing, "local/blind", PICTURE)

    assert "local/blind" not in seeing.dmrc.ok("ps")


@pytest.mark.parametrize(
    ("route", "part"),
    [
        ("/v1/chat/completions", {"type": "image_url", "image_url": {"url": "URL"}}),
        ("/v1/chat/completions", {"type": "input_video", "input_video": {"data": "URL"}}),
        ("/v1/responses", {"type": "input_image", "image_url": "URL"}),
        ("/v1/embeddings", {"type": "image_url", "image_url": {"url": "URL"}}),
        ("/v1/messages", {"type": "image", "source": {"type": "url", "url": "URL"}}),
        (
            "/v1/messages",
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "URL"}}]},
        ),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_nothing_is_fetched_for_a_caller(seeing: Seeing, route: str, part: dict[str, object], escaped: bool) -> None:
    """The engine would: a container could ask whatever listens on loopback of this machine."""
    messages = [{"role": "user", "content": [part]}]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/secret"
        asked = {"/v1/embeddings": {"input": messages[0]}, "/v1/responses": {"input": messages}}
        said = json.dumps({"model": "local/eyes", **asked.get(route, {"messages": messages, "max_tokens": 2})})
        body = said.replace("URL", address).replace("image", "\\u0069mage" if escaped else "image")

        answer = urllib3.request("POST", f"{seeing.url}{route}", body=body, retries=False, timeout=30)

        with pytest.raises(TimeoutError):
            listener.accept()
    assert answer.status == 400
    assert "dmrc does not fetch images by URL" in answer.json()["error"]["message"]


def test_the_command_line_sends_the_picture_whose_path_is_in_the_prompt(seeing: Seeing) -> None:
    words = _command(seeing, "local/eyes", None)

    both = _command(seeing, "local/eyes", PICTURE)

    assert both >= words + IMAGE_TOKENS
    with pytest.raises(RuntimeError, match=r"none\.png' is not an image, whatever its name says"):
        _command(seeing, "local/eyes", NOTHING)
    with pytest.raises(RuntimeError, match="it has no projector"):
        _command(seeing, "local/blind", PICTURE)


def test_what_a_model_can_do_is_shown(seeing: Seeing) -> None:
    assert "Capabilities:  completion, vision\n" in seeing.dmrc.ok("show", "local/eyes")
    assert json.loads(seeing.dmrc.ok("show", "--json", "local/blind"))["capabilities"] == ["completion"]
    assert ollama.Client(seeing.url).show("local/eyes").capabilities == ["completion", "vision"]


def test_a_projector_of_the_compose_file_is_used_by_its_project_alone(seeing: Seeing) -> None:
    import openai

    (seeing.directory / "compose.yaml").write_text(
        "name: gallery\nservices: {web: {image: none, models: [eyes]}}\n"
        "models: {eyes: {model: local/blind, x-dmrc: {mmproj: ./mmproj.gguf}}}\n"
    )
    given = json.loads(seeing.dmrc.ok("env", "web", "--format", "json", cwd=seeing.directory))
    service = openai.OpenAI(base_url=given["OPENAI_BASE_URL"], api_key=given["OPENAI_API_KEY"], max_retries=0)
    content = [{"type": "image_url", "image_url": {"url": _url(PICTURE)}}]

    answer = service.chat.completions.create(
        model=given["OPENAI_MODEL"],
        max_tokens=2,
        messages=[{"role": "user", "content": content}],  # type: ignore[typeddict-item]
    )

    assert answer.usage.prompt_tokens > IMAGE_TOKENS


def test_a_projector_of_another_model_is_a_failed_start_that_says_so(seeing: Seeing) -> None:
    wrong = write_tiny_projector(seeing.directory / "wrong.gguf", embedding_length=32)
    seeing.dmrc.ok("package", "--gguf", seeing.directory / "tiny.gguf", "--mmproj", wrong, "local/squinting")

    done = seeing.dmrc.run("run", "local/squinting", "hello")

    assert done.returncode == 5
    assert "Use the mmproj file that was made for this model" in done.stderr
