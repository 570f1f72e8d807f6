"""What the page's scripts send and get, and the filters of its addresses."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dmrc.gateway.routes.documents import AnswerDocument, DescribedResponses, Name

HTML: DescribedResponses = {200: {"content": {"text/html": {}}, "description": "A page, or a part of one"}}
"""What a person reads."""


PICTURE: DescribedResponses = {200: {"content": {"image/*": {}}, "description": "A PNG, JPEG, GIF or WebP"}}
"""What a request carried, where the record keeps it."""


class RequestFilters(BaseModel):
    """Which requests are wanted; an empty text is no condition. `dmrc requests` has the same."""

    project: str = ""
    service: str = ""
    model: str = ""
    node: str = ""
    operation: str = Field(default="", description="`chat`, `embedding`, …")
    status: str = Field(default="", description="`200`, `4xx` or `400-499`")
    errors: str = Field(default="", description="Any text: only those that failed")
    cancelled: str = Field(default="", description="Any text: only those that were cancelled")
    slow: str = Field(default="", description="Longer than this: `2s`")
    since: str = Field(default="", description="`1h`, or a date")
    before: str = Field(default="", description="`1h`, or a date")
    grep: str = Field(default="", description="Words of the question or the answer")
    conversation: str = Field(default="", description="Id of a conversation")
    session: str = Field(default="", description="What callers named as their conversation")
    trace: str = Field(default="", description="32 hex digits of callers' `traceparent`")

    def given(self) -> dict[str, str]:
        """Return those that say something."""
        fields = {name: str(getattr(self, name)).strip() for name in RequestFilters.model_fields}
        return {name: value for name, value in fields.items() if value}


class RequestFiltersSeen(RequestFilters):
    """Which requests are wanted, but for rows that the page has already."""

    seen: str = Field(default="", description="Of the rows of the page: `x-seen`")


class RequestFiltersAfter(RequestFilters):
    """Which requests are wanted, from one on."""

    after: str | None = Field(default=None, description="Id of the last one that is shown")


class ConversationFilters(BaseModel):
    """Which conversations are wanted: those with a request that all of this holds for."""

    project: str = ""
    service: str = ""
    model: str = ""
    errors: str = Field(default="", description="Any text: only with a request that failed")
    since: str = Field(default="", description="`1h`, or a date")
    before: str = Field(default="", description="`1h`, or a date")
    grep: str = Field(default="", description="Words of a question or an answer")
    singles: str = Field(default="", description="`hide`: only conversations of two requests or more")

    def given(self) -> dict[str, str]:
        """Return those that say something of a request."""
        names = ("project", "service", "model", "errors", "since", "before", "grep")
        fields = {name: str(getattr(self, name)).strip() for name in names}
        return {name: value for name, value in fields.items() if value}


class ConversationFiltersAfter(ConversationFilters):
    """Which conversations are wanted, from one on."""

    after: str | None = Field(default=None, description="What the header `x-before` said of the rows before")
    seen: str = Field(default="", description="What the header `x-seen` said; 204 where nothing was recorded since")


class PageBody(BaseModel):
    """A body; only the page's own scripts send one."""

    model_config = ConfigDict(extra="forbid")


class LoadModel(PageBody):
    """A model to load."""

    model: Name = Field(examples=["ai/smollm2"], description="Its reference")


class EndRunner(PageBody):
    """A runner to end."""

    id: Name = Field(examples=["3f1ab2c4d5e6"], description="As its row has it")


class EndedRunners(AnswerDocument):
    """How many runners ended."""

    unloaded: int


class CancelledRequest(AnswerDocument):
    """A request that was cancelled; its row follows when it has ended."""

    cancelled: str = Field(description="Id of its exchange")


class HealthDocument(AnswerDocument):
    """How the daemon is."""

    version: str = Field(description="Of the daemon")
    running: int = Field(description="Requests that are not answered yet")
    waiting: int = Field(description="How many of them wait for a slot of a model")


class HourDocument(AnswerDocument):
    """The last hour, in parts of a minute, the oldest first."""

    start: float = Field(description="Unix seconds")
    end: float = Field(description="Unix seconds")
    requests: list[int] = Field(description="Those that did not fail")
    failed: list[int]
    services: list[dict[str, Any]] = Field(description="Tokens in and out of each service, the busiest first")
    html: str = Field(description="What the page says of it")


class PullModel(PageBody):
    """A model to pull."""

    model: Name = Field(examples=["ai/smollm2", "hf.co/org/repository:Q4_K_M"], description="As `dmrc pull` takes it")


class PulledDocument(AnswerDocument):
    """A model that is here."""

    reference: str
    size_bytes: int
    was_present: bool


class CancelPull(PageBody):
    """A pull to cancel, or the message of one that failed to put away."""

    id: str | None = Field(default=None, description="Of the pull that runs")
    model: str | None = Field(default=None, description="Of the one that failed")


class CancelledPull(AnswerDocument):
    """What came of it."""

    cancelled: bool


class ModelsNow(AnswerDocument):
    """What changes by itself on the page of models: parts of a page, and what changes where other parts are old."""

    pulls: str
    spaces: str
    running: str
    store: str = Field(description="Which version of the store this is")
    runners: str = Field(description="Which runners there are")


class LogPart(AnswerDocument):
    """A part of a log."""

    text: str
    next: str = Field(description="The place to go on from; empty: it is all of the last lines, each time")
    runs: bool = Field(description="Whether the runner lives")


class ErasedRequests(AnswerDocument):
    """How many requests are deleted."""

    erased: int


class PercentilesDocument(AnswerDocument):
    """Of times in milliseconds."""

    p50: float | None
    p95: float | None


class FacetsDocument(AnswerDocument):
    """What the newest requests have in common."""

    looked_at: int = Field(description="How many were looked at")
    has_more: bool = Field(description="Whether there are older ones, which were not")
    oldest: float | None = Field(description="When the oldest of them came, in Unix seconds")
    values: dict[str, list[tuple[str | int, str, int]]] = Field(
        description="Values, what they are called, and counts, the most frequent first"
    )
    quick: dict[str, int] = Field(description="How many failed, were slow, or were cancelled")
    prompt_tokens: int
    completion_tokens: int
    total: PercentilesDocument
    first_token: PercentilesDocument


class TotalsDocument(AnswerDocument):
    """Sums over a time, and over each part of it."""

    start: float = Field(description="Unix seconds")
    end: float = Field(description="Unix seconds")
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    tokens_per_second: float | None
    first_token_ms: float | None
    total_ms: float | None
    parts: list[dict[str, Any]] = Field(description="The same sums of each part, the oldest first")
