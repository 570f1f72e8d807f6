"""Secrets in prose, in commands, in headers and in JSON that stands in a text, known by their names or their look."""

import json
import time

import pytest

from dmrc.secret_texts import secrets_in_text

S = "zorkmid-77"


@pytest.mark.parametrize(
    "text",
    [
        *(f"export API_TOKEN={S} && run", f"API_TOKEN='{S}'", f'password = "{S}"', f"password: {S}\nuser: bob"),
        *(f"--api-key={S} -x", f"mysql --password {S} db", f"mysql -uroot -p{S} db", f"curl -u bob:{S} https://h"),
        *(f"Authorization: Bearer {S}", f"-H 'Authorization: Basic {S}'", f"X-Api-Key: {S}", f"bearer {S}"),
        *(f"Cookie: sid={S}; theme=dark", f"GET /x?token={S} HTTP/1.1", f"a=1&client_secret={S}&b=2"),
        *(f"https://bob:{S}@h/x", f"https://h/#access_token={S}", f"AccountName=x;AccountKey={S};Suffix=y"),
        *(f"{{'password': '{S}'}}", f'{{"password": "{S}"}}', f'{{"password" : "{S}', f'{{"pin": 4815{S[-2:]}}}'),
        *(json.dumps({"credentials": {"a": [1], "b": {"c": S}}}), json.dumps({"headers": {"X-Any": [S]}})),
        *(json.dumps({"tokens": ["x"], "api_key": {"of": {"a": 1}, "value": S}}), f'"name": "API_KEY", "value": "{S}"'),
        *(f"spring.datasource.password={S}", f"[db]\npassword = {S}", f"DB_PASSWORD := {S}", f"PGPASSWORD={S} psql"),
        f'Content-Disposition: form-data; name="password"\r\n\r\n{S}\r\n--b--',
        f'Content-Disposition: form-data; name="token"\r\nContent-Type: text/plain\r\n\r\n{S}\r\n--b',
    ],
)
def test_a_name_tells_what_is_secret(text: str) -> None:
    found = "".join(text[start:end] for start, end in secrets_in_text(text))

    assert (S if S in text else "481577") in found
    assert len(found) <= len(S) + len("sid=; theme=dark")  # and no more than the secret


@pytest.mark.parametrize(
    "text",
    [
        *("ghp_0123456789abcdefghijABCDEFGHIJ", "sk-proj-0123456789abcdef", "AKIAIOSFODNN7EXAMPLE"),
        *(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
            "hf_abcdefghijklmnopqrstuv",
            "glpat-0123456789abcdef",
        ),
    ],
)
def test_a_look_tells_what_is_secret(text: str) -> None:
    whole = f"I use {text}, is it fine?"

    assert [whole[start:end] for start, end in secrets_in_text(whole)] == [text]


def test_a_private_key_is_secret_up_to_its_end() -> None:
    text = "see -----BEGIN RSA PRIVATE KEY-----\nMIIE\nAbC=\n-----END RSA PRIVATE KEY----- and thanks"

    (span,) = secrets_in_text(text)

    assert "MIIE" in text[slice(*span)]
    assert "thanks" not in text[slice(*span)]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "max_tokens=512",
            "tokens: 5→6",
            "EOS token = 151645 '<|im_end|>'",
            "tokenizer.ggml.eos_token_id u32 = 151645",
        ),
        *(
            "def f(token: str, password: str | None = None):",
            "api_key=api_key",
            "auth = login(user)",
            "token = tokens[0]",
        ),
        *(
            "api_key=os.getenv('X')",
            "api_key=$API_KEY",
            "token: ${TOKEN}",
            "password=None",
            "key: C major",
            "a risk-management-plan1",
        ),
        *(
            "The password must have 8 characters.",
            "password: required",
            "a basic understanding of cookies: none",
            "Session: Monday",
        ),
        *(
            '{"properties": {"a": 1}, "required": ["password", "username"]}',
            '{"max_tokens": 4096, "author": "Monkey 123456"}',
        ),
        *(
            "https://h/x?max_tokens=5000&q=auth1234",
            "keyboard: qwerty123",
            "turkey=delicious1",
            "see task-1234567890abcdefgh",
        ),
    ],
)
def test_what_only_looks_like_a_secret_stays_readable(text: str) -> None:
    assert secrets_in_text(text) == []


def test_a_long_text_takes_time_in_proportion() -> None:
    """The bound is generous: it tells linear from quadratic."""
    words = 'password: "' + "a = b: c, --x y=z&" * 60_000

    def seconds(size: int) -> float:
        started = time.process_time()
        secrets_in_text(words[:size])
        return time.process_time() - started

    seconds(1 << 17)
    assert seconds(1 << 20) < 40 * seconds(1 << 17)
