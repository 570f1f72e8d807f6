"""An answer whose beginning the caller gave goes on from there, and does not repeat it: in every dialect, both ways."""

from __future__ import annotations

import ollama

from tests.gateway.conftest import MODEL, Gateway

BEGUN = "Once upon a time, there was a whale who"
SAID = [{"role": "user", "content": "Tell me a story."}, {"role": "assistant", "content": BEGUN}]


def test_a_beginning_is_not_repeated(gateway: Gateway) -> None:
    import anthropic

    claude = anthropic.Anthropic(base_url=f"{gateway.url}/anthropic", api_key=gateway.keys["web"], max_retries=0)
    llama = ollama.Client(gateway.url, headers={"authorization": f"Bearer {gateway.keys['web']}"})
    wish = {"model": MODEL, "max_tokens": 10, "messages": SAID}
    asked = {"model": MODEL, "input": SAID, "max_output_tokens": 10}
    options = {"num_predict": 10}

    with claude.messages.stream(**wish) as stream:
        message = stream.get_final_message()
    pieces = llama.chat(MODEL, SAID, options=options, stream=True)
    *_, last = gateway.client().responses.create(**asked, stream=True)
    found = {
        "message": claude.messages.create(**wish).content[0].text,
        "message, streamed": message.content[0].text,
        "response": gateway.client().responses.create(**asked).output_text,
        "response, streamed": last.response.output_text,
        "chat": llama.chat(MODEL, SAID, options=options).message.content,
        "chat, streamed": "".join(one.message.content or "" for one in pieces),
    }

    assert len({text.strip() for text in found.values()}) == 1, found
    assert all(text.strip() and "Once upon" not in text for text in found.values()), found
