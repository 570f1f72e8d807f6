"""Models and what is done with them: pulled, pushed, packaged, described."""

from dmrc.models.description import (
    capabilities,
    describe,
    describe_for_openai,
    openai_model,
    stored_capabilities,
)
from dmrc.models.images import model_image
from dmrc.models.loose_files import LooseFiles, link_files, loose_files
from dmrc.models.models import Models, Pulled
from dmrc.models.packaging import Parts, with_facts
from dmrc.models.pushing import Pushed, PushForm

__all__ = [
    "LooseFiles",
    "Models",
    "Parts",
    "Pulled",
    "PushForm",
    "Pushed",
    "capabilities",
    "describe",
    "describe_for_openai",
    "link_files",
    "loose_files",
    "model_image",
    "openai_model",
    "stored_capabilities",
    "with_facts",
]
