"""What the bodies and answers of all routes share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"\S")]
"""A text that is not blank."""
Number = Annotated[int, Field(strict=True, ge=0)]
"""A whole number, 0 among them."""


class RequestDocument(BaseModel):
    """A body that programs in Go send: they write null for what is not set, and more than is heeded here."""

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, body: object) -> object:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body


class AnswerDocument(BaseModel):
    """An answer; what its model does not list is sent all the same."""

    model_config = ConfigDict(extra="allow")


DescribedResponses = dict[int | str, dict[str, Any]]
"""Answers by status, for the OpenAPI document: those that a handler writes itself."""

TEXT: DescribedResponses = {200: {"content": {"text/plain": {}}, "description": "Plain text"}}
"""What is no JSON."""

EVENTS: DescribedResponses = {200: {"content": {"text/event-stream": {}}, "description": "Server-Sent Events"}}
"""A stream that goes on."""
