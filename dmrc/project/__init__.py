"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from dmrc.project.injection import Injection, inject
from dmrc.project.project import (
    DEFAULT_ENGINE,
    GATEWAY_HOST,
    KEY_PREFIX,
    Binding,
    ModelDeclaration,
    Project,
    Service,
    parse_keep_alive,
)

__all__ = [
    "DEFAULT_ENGINE",
    "GATEWAY_HOST",
    "KEY_PREFIX",
    "Binding",
    "Injection",
    "ModelDeclaration",
    "Project",
    "Service",
    "inject",
    "parse_keep_alive",
]
