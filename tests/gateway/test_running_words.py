"""What is shown of a request that runs: the beginning of its prompt, without secrets, and read once."""

from __future__ import annotations

from typing import Any

import pytest

from dmrc.dialects.openai.routes import OpenAIRoute
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.lifecycle import Lifecycle

SCOPE = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "client": ("127.0.0.1", 1)}
NOBODY: Any = None


def running(prompt: str) -> ExchangeBuilder:
    builder = ExchangeBuilder(SCOPE, OpenAIRoute("chat/completions", "chat"), NOBODY)
    builder.saw_document({"model": "llm", "messages": [{"role": "user", "content": prompt}]})
    return builder


def lifecycle(secrets: list[str], *, may_be_kept: bool = True) -> Lifecycle:
    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[redacted]")
        return text

    return Lifecycle(NOBODY, NOBODY, NOBODY, mask, lambda _caller, _address: may_be_kept, {})


def test_a_prompt_is_read_once_however_often_the_page_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    builder, watched = running("How large is a whale?"), lifecycle([])
    dialect, read = type(builder.route.dialect), []
    messages = dialect.messages

    def counted(self: Any, request: Any) -> Any:
        read.append(request)
        return messages(self, request)

    monkeypatch.setattr(dialect, "messages", counted)

    assert [watched.beginning(builder).prompt for _ in range(4)] == ["How large is a whale?"] * 4
    assert len(read) == 1


def test_a_secret_that_becomes_known_later_is_masked_from_then_on() -> None:
    secrets: list[str] = []
    builder, watched = running("The password is swordfish."), lifecycle(secrets)
    watched.beginning(builder)

    secrets.append("swordfish")

    assert watched.beginning(builder).prompt == "The password is [redacted]."


def test_a_secret_that_the_end_of_what_is_searched_cuts_is_not_shown() -> None:
    secret = "s" * 8000

    assert lifecycle([secret]).beginning(running(secret * 3)).prompt == ""


def test_where_not_all_may_be_on_record_no_word_is_shown() -> None:
    assert lifecycle([], may_be_kept=False).beginning(running("Hello")).prompt == ""
