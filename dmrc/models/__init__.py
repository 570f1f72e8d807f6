"""Models and what is done with them: pulled, packaged, described."""

from dmrc.models.description import describe, describe_for_openai
from dmrc.models.models import Models, Pulled
from dmrc.models.packaging import Parts

__all__ = ["Models", "Parts", "Pulled", "describe", "describe_for_openai"]
