"""What the script of Compare sends and gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dmrc.comparison.changes import Changes
from dmrc.gateway.routes.documents import AnswerDocument, Name
from dmrc.ui.documents import PageBody


class TargetBody(PageBody):
    """What is to answer in one column."""

    model: Name | None = Field(default=None, description="Its reference, or its key in `project`; null: the same")
    project: Name | None = Field(default=None, description="Project that declares it at an upstream or elsewhere")
    context_size: Annotated[int, Field(strict=True, gt=0)] | None = Field(default=None, description="Tokens")
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(default=None)
    flags: str = Field(default="", max_length=2000, examples=["--top-k 1"], description="As in a shell")

    def changes(self) -> Changes:
        """Return it as a value."""
        flags = (self.flags.strip(),) if self.flags.strip() else ()
        return Changes(model=self.model, context_size=self.context_size, flags=flags, temperature=self.temperature)


class ComparisonBody(PageBody):
    """Requests, and what they are sent to."""

    ids: list[Name] = Field(min_length=1, description="Recorded requests")
    masked: bool = Field(default=False, description="Whether those with masked secrets are sent, with the mask")
    targets: list[TargetBody] = Field(min_length=1)


class BegunComparison(AnswerDocument):
    """Where it is shown."""

    id: str
    url: str = Field(examples=["/ui/compare/5f1ab2c4d5e6f708"])


class ComparisonProgress(AnswerDocument):
    """How far it is."""

    state: str = Field(description="`waiting`, `running`, `done` or `cancelled`")
    is_over: bool = Field(description="Whether nothing changes any more")
