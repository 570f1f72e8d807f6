"""Models and what is done with them: pulled, pushed, packaged, described."""

from dmrc.models.description import (
    capabilities,
    describe,
    describe_for_openai,
    openai_model,
    stored_capabilities,
)
from dmrc.models.models import Models, Pulled
from dmrc.models.packaging import Parts, with_facts
from dmrc.models.pulls import Pulls, RunningPull

__all__ = [
    "Models",
    "Parts",
    "Pulled",
    "Pulls",
    "RunningPull",
    "capabilities",
    "describe",
    "describe_for_openai",
    "openai_model",
    "stored_capabilities",
    "with_facts",
]
