"""What of the record the playground goes on with."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace

import pytest

from dmrc.capture.media import without_media
from dmrc.errors import InputError
from dmrc.exchange import Exchange, Operation, new_exchange_id
from dmrc.json_values import object_of
from dmrc.ui.playground_source import read_source
from tests.tiny_projector import png

HELLO = {"model": "llm", "messages": [{"role": "user", "content": "Hello"}], "top_k": 3}


def exchange(document: object, operation: Operation = "chat", dialect: str = "openai", **more: object) -> Exchange:
    return Exchange(
        id=new_exchange_id(),
        method="POST",
        path=str(more.pop("path", "/engines/v1/chat/completions")),
        operation=operation,
        dialect=dialect,
        received_at=1.0,
        request_body=json.dumps(document).encode() if document else b"",
        **more,  # type: ignore[arg-type]
    )


def test_a_chat_is_taken_as_it_was_sent() -> None:
    found = read_source(exchange(HELLO), None)

    assert (found.document, found.notes) == (HELLO, ())


def test_what_no_utf_8_has_is_told_all_the_same() -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}], "top_p": %b}'

    found = read_source(replace(exchange(HELLO), request_body=body % b"1"), None)
    assert '"\\ud800"' in found.written()
    assert found.written().isascii()
    with pytest.raises(InputError, match="out of range"):
        read_source(replace(exchange(HELLO), request_body=body % b"1e999"), None).written()


def test_a_request_of_another_dialect_becomes_a_chat_and_that_is_said() -> None:
    wish = {"model": "llm", "system": "Be brief.", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}

    found = read_source(exchange(wish, dialect="anthropic", path="/anthropic/v1/messages"), None)

    assert [one["role"] for one in found.to_json()["document"]["messages"]] == ["system", "user"]  # type: ignore[index, call-overload]
    assert found.document["max_tokens"] == 9
    assert "sent in the form of anthropic" in found.notes[0]


def test_what_is_masked_and_a_project_that_is_gone_are_said() -> None:
    picture = {"type": "image_url", "image_url": {"url": "[media image/png, 70 bytes, sha256:6b7f]"}}
    asked = exchange({"model": "llm", "messages": [{"role": "user", "content": [picture]}]}, project="shop")

    found = read_source(asked, None)

    assert "masked in the record" in found.notes[0]
    assert "Project shop is not up" in found.notes[1]


@pytest.mark.parametrize(
    ("dialect", "path", "part", "address"),
    [
        ("openai", "/engines/v1/chat/completions", {"type": "image_url", "image_url": {"url": "MARK"}}, "image_url"),
        (
            "anthropic",
            "/anthropic/v1/messages",
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "MARK"}},
            "image_url",
        ),
    ],
)
def test_a_picture_that_the_record_keeps_is_put_in_again(dialect: str, path: str, part: object, address: str) -> None:
    body = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [part]}]}).encode()
    original = body.replace(b"MARK", (b"data:image/png;base64," if dialect == "openai" else b"") + b64encode(png()))
    taken = without_media(original, keeps=True)
    assert b"[media " in taken.body

    asked = exchange({}, dialect=dialect, path=path)
    found = read_source(replace(asked, request_body=taken.body, request_media=taken.notes), None)

    (message,) = object_of(found.to_json()["document"])["messages"]  # type: ignore[misc]
    assert message["content"][0][address]["url"] == f"data:image/png;base64,{b64encode(png()).decode()}"  # type: ignore[call-overload, index]
    assert not any("masked" in note for note in found.notes)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (exchange({"model": "m", "input": "x"}, "embedding"), "an embedding cannot be opened"),
        (exchange({"model": "m", "prompt": "x"}, "completion"), "a completion without messages cannot be opened"),
        (exchange(None), "no content is on record"),
        (exchange(HELLO, request_truncated=True), "only its beginning is on record"),
    ],
)
def test_what_is_no_whole_chat_is_refused(asked: Exchange, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_source(asked, None)
