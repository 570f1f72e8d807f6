"""A body is read once, by whoever asks first, and what was read is never changed."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.capture import bodies
from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.documents import Documents
from dmrc.capture.redaction import Redactor
from tests.capture.recorded import SSE, recorded, recording

SECRET = "tok_8f3kd92mmQ"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

# Of these come names, signs and values, at the ends of texts too, where the next text must not hide them.
PARTS = st.sampled_from(
    [
        *("password", "api_key", "X-Api-Key", "Cookie", "name", "--token", "mysql -uroot -p", "https://bob", "?token"),
        *(
            "=",
            ": ",
            ":",
            " ",
            "\n",
            "\n\n\n",
            "'",
            '"',
            '{"',
            '": "',
            "@",
            "\\",
            "\\n",
            "%3D",
            "&",
            "&quot;",
            ";",
            ",",
        ),
        *(
            "zorkmid-77",
            "h4",
            SECRET,
            SECRET[:6],
            SECRET[6:],
            "ghp_0123456789abcdefghijABCDEFGHIJ",
            "ghp_01",
            "bearer ",
        ),
        *("sk-dmrc-aB3_-aB3_-aB3_-", "sk-", "-----BEGIN RSA PRIVATE KEY-----", "-----END", "Content-Disposition: "),
        *('form-data; name="token"\r\n\r\n', "\r\n--b", '"name": "API_KEY", ', '"value": ', "curl -u bob", "7" * 6),
    ]
)
TEXTS = st.lists(st.lists(PARTS, max_size=6).map("".join), max_size=5)


@pytest.fixture
def reads(monkeypatch):
    """Which bodies were read."""
    seen: list[bytes] = []
    read = bodies.read_through
    monkeypatch.setattr(bodies, "read_through", lambda body: seen.append(body) or read(body))
    return seen


@pytest.mark.slow("600 sets of texts")
@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_no_secret_is_missed_where_many_texts_are_searched_at_once(texts):
    redactor = Redactor([SECRET])

    assert redactor.finds_in(texts) or not any(map(redactor.in_text, texts))


def test_most_texts_are_searched_together():
    texts = ["Tell me of the whale.", "It swam: slowly, and dreamt.", "You are a helpful assistant."]

    assert not Redactor([SECRET]).finds_in(texts)
    assert Redactor([SECRET]).finds_in([*texts, f"It is {SECRET}."])


@pytest.mark.process
@pytest.mark.parametrize("name", ["chat.json", "chat.sse"])
def test_each_body_is_read_once_on_its_way_to_the_disk(path, reads, name):
    exchange = recorded(name, request_body=json.dumps(REQUEST).encode())

    with recording(path) as recorder:
        recorder.needs_content = lambda _: True  # so that it is prepared here; in the process it is the same
        recorder.record(exchange, document=REQUEST)
        assert recorder.flush()

    assert reads == [exchange.response_body]
    assert recorder.counts().recorded == 1


@pytest.mark.parametrize("content", [f"It is {SECRET}.", "password=hunter2xyz", '{"pin": "4815162342"}'])
def test_what_the_gateway_read_stays_as_it_is_where_the_record_is_masked(path, content):
    document = {**REQUEST, "messages": [{"role": "user", "content": content}], "api_key": "abcdef"}
    before = copy.deepcopy(document)
    exchange = recorded("chat.json", request_body=json.dumps(document).encode())

    kept = Redactor([SECRET]).masked(exchange, ParsedBodies(exchange.request_body, document))

    assert document == before
    assert json.loads(kept.request_body)["messages"][0]["content"] != content
    assert json.loads(kept.request_body)["api_key"] == "[redacted]"


@pytest.mark.process
def test_a_filter_that_changes_a_body_changes_its_words(path):
    exchange = recorded("chat.json", request_body=json.dumps(REQUEST).encode())
    other = recorded("chat.json", request_body=b'{"messages": [{"role": "user", "content": "Other"}]}')

    with recording(path) as recorder:
        recorder.filters.append(lambda _: other)
        recorder.record(exchange, document=REQUEST)
        assert recorder.flush()

    database = ExchangeDatabase(path)
    assert database.excerpts([other]) == {other.id: "Other"}


def test_a_document_knows_its_bytes_where_letters_take_several():
    lines = [{"délta": "größe 🐋"}, {"a": 1}, {"b": "ü"}]
    texts = [json.dumps(line, ensure_ascii=False).encode() for line in lines]
    body = b"data: " + texts[0] + b"\n\n: \xff no UTF-8\r\ndata:" + texts[1] + b"  \r\n\r\n{wrong}\n" + texts[2]

    found = Documents.of(body).documents

    assert [one.value for one in found] == lines
    assert [body[one.start : one.end] for one in found] == texts


def test_an_event_of_several_lines_is_one():
    body = b'data: {"choices":\ndata: [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
    exchange = recorded("chat.json", response_body=body, response_headers=SSE)

    events = ParsedBodies().events(exchange) or ()

    assert [one.said for one in events if one.said] == [{"choices": [{"delta": {"content": "Hi"}}]}]
