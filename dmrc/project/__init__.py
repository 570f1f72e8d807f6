"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from dmrc.project.binding import Binding
from dmrc.project.injection import Injection, inject
from dmrc.project.model import DEFAULT_ENGINE, UPSTREAM_ENGINE, ModelDeclaration, is_path, parse_keep_alive
from dmrc.project.project import GATEWAY_HOST, KEY_PREFIX, Auth, Project, Service
from dmrc.project.upstream import Upstream

__all__ = [
    "DEFAULT_ENGINE",
    "GATEWAY_HOST",
    "KEY_PREFIX",
    "UPSTREAM_ENGINE",
    "Auth",
    "Binding",
    "Injection",
    "ModelDeclaration",
    "Project",
    "Service",
    "Upstream",
    "inject",
    "is_path",
    "parse_keep_alive",
]
