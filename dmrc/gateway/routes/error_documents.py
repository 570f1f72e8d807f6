"""Errors as each API words them, for the OpenAPI document; `Dialect.error` makes them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class OpenAIErrorDetails(BaseModel):
    """What failed."""

    message: str = Field(description="What failed, why, and what to do next")
    type: str = Field(description="Kind of error, as `invalid_request_error`")
    param: str | None = None
    code: str | None = Field(description="OpenAI's name of what happened")


class OpenAIError(BaseModel):
    """An error of Docker Model Runner's and OpenAI's routes."""

    error: OpenAIErrorDetails


class OllamaError(BaseModel):
    """An error of Ollama's routes."""

    error: str = Field(description="What failed, why, and what to do next")


class AnthropicErrorDetails(BaseModel):
    """What failed."""

    type: str = Field(description="Kind of error, as `not_found_error`")
    message: str = Field(description="What failed, why, and what to do next")


class AnthropicError(BaseModel):
    """An error of Anthropic's routes."""

    type: str = Field(description="`error`")
    error: AnthropicErrorDetails


class PageErrorDetails(BaseModel):
    """What failed."""

    message: str = Field(description="What failed, why, and what to do next")
    type: str = Field(description="Kind of error, as `not_found_error`")


class PageError(BaseModel):
    """An error of the web page's routes, for its scripts; a person gets a page."""

    error: PageErrorDetails


ERRORS: list[type[BaseModel]] = [OpenAIError, OllamaError, AnthropicError, PageError]
"""All of them."""
