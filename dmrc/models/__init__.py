"""Models and what is done with them: pulled, pushed, packaged, described."""

from dmrc.models.description import describe, describe_for_openai
from dmrc.models.models import Models, Pulled
from dmrc.models.packaging import Parts, with_facts
from dmrc.models.pushing import Pushed

__all__ = ["Models", "Parts", "Pulled", "Pushed", "describe", "describe_for_openai", "with_facts"]
