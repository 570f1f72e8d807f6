"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from dmrc.project.access import Access
from dmrc.project.binding import Binding
from dmrc.project.choices import Auth, knows_addresses
from dmrc.project.injection import Injection, inject
from dmrc.project.model import (
    DEFAULT_ENGINE,
    UPSTREAM_ENGINE,
    ModelDeclaration,
    find_model,
    is_path,
    own_names,
    parse_keep_alive,
)
from dmrc.project.project import GATEWAY_HOST, KEY_PREFIX, Project, Service
from dmrc.project.upstream import Upstream

__all__ = [
    "DEFAULT_ENGINE",
    "GATEWAY_HOST",
    "KEY_PREFIX",
    "UPSTREAM_ENGINE",
    "Access",
    "Auth",
    "Binding",
    "Injection",
    "ModelDeclaration",
    "Project",
    "Service",
    "Upstream",
    "find_model",
    "inject",
    "is_path",
    "knows_addresses",
    "own_names",
    "parse_keep_alive",
]
