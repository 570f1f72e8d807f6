"""Embeddings and rankings from every engine, each from a model that is made for it."""

import http.client
import json
import math

import pytest

from tests.engines.conformance.conftest import Served


def rerank(served: Served, path: str, documents: list[str]) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", served.dmrc.port, timeout=served.variant.start_seconds)
    body = json.dumps({"model": "rank", "query": "a whale", "documents": documents})
    connection.request("POST", path, body, {"authorization": f"Bearer {served.key}"})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def test_texts_become_vectors_of_length_1_in_their_order(served: Served) -> None:
    together = served.client.embeddings.create(model="embed", input=["a whale", "ship"])
    alone = served.client.embeddings.create(model="embed", input="ship", encoding_format="float")

    assert [item.index for item in together.data] == [0, 1]
    assert together.data[1].embedding == pytest.approx(alone.data[0].embedding, abs=1e-3)
    assert all(math.hypot(*item.embedding) == pytest.approx(1, abs=1e-3) for item in together.data)
    assert together.usage.prompt_tokens > 0


def test_a_text_beyond_the_context_has_no_vector(served: Served) -> None:
    """llama.cpp calls this one a 500, in words that say what is wrong; the gateway passes on what engines say."""
    import openai

    with pytest.raises(openai.APIStatusError, match=r"too large|context|exceed") as caught:
        served.client.embeddings.create(model="embed", input="a b c d " * 1000)

    assert caught.value.status_code in (400, 500)


@pytest.mark.parametrize("path", ["/v1/rerank", "/engines/v1/rerank", "/rerank", "/engines/rerank"])
def test_documents_are_ranked_best_first(served: Served, path: str) -> None:
    status, answer = rerank(served, path, ["a ship", "b c d", "whale"])

    if "rerank" in served.variant.lacks:
        assert (status, answer["error"]["type"]) == (501, "not_supported_error")
        assert "does not rerank. Use engine llama.cpp" in answer["error"]["message"]
        return
    assert status == 200
    assert sorted(result["index"] for result in answer["results"]) == [0, 1, 2]
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["usage"]["total_tokens"] > 0


def test_a_ranking_is_recorded_as_one(served: Served) -> None:
    if "rerank" in served.variant.lacks:
        return
    rerank(served, f"/engines/{served.variant.engine}/v1/rerank", ["a ship"])

    (last, *_) = json.loads(served.dmrc.ok("requests", "--json", "-n", "1"))

    assert (last["operation"], last["engine"], last["status"]) == ("rerank", served.variant.engine, 200)
    assert last["model_key"] == "rank"


def test_a_model_is_not_asked_for_what_it_is_not_made_for(served: Served) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="writes no text"):
        served.client.completions.create(model="embed", prompt="a")
    with pytest.raises(openai.BadRequestError, match="is a reranker"):
        served.client.embeddings.create(model="rank", input="a")
