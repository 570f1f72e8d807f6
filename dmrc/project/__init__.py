"""A compose project as dmrc sees it: its models, the services that use them, and what each service is given."""

from dmrc.project.access import Access
from dmrc.project.binding import Binding
from dmrc.project.choices import Auth, knows_addresses
from dmrc.project.directories import files_of_directory
from dmrc.project.fault_plan import FAULT_KINDS, Fault, FaultKind, FaultPlan
from dmrc.project.host import host_name, parse_host, ssh_destination
from dmrc.project.injection import Injection, inject
from dmrc.project.keep_alive import parse_keep_alive
from dmrc.project.local_plugin import LocalPlugin
from dmrc.project.model import (
    CONTAINER_ENGINE,
    RECORDED_ENGINE,
    SSH_ENGINE,
    UPSTREAM_ENGINE,
    ModelDeclaration,
    find_model,
    own_names,
)
from dmrc.project.option_fields import OptionField, is_path, overrides, share
from dmrc.project.project import KEY_PREFIX, Project
from dmrc.project.replay import Replay, ReplayMode
from dmrc.project.replica_range import ReplicaRange
from dmrc.project.service import Service
from dmrc.project.services import GATEWAY_HOST
from dmrc.project.serving_options import (
    DEFAULT_CONTEXT_SIZE,
    DEFAULT_ENGINE,
    DEFAULT_KEEP_ALIVE_SECONDS,
    OPTIONS,
    Merged,
    Mode,
    Origin,
    ServingOptions,
    merge,
)
from dmrc.project.upstream import Upstream, UpstreamPlace

__all__ = [
    "CONTAINER_ENGINE",
    "DEFAULT_CONTEXT_SIZE",
    "DEFAULT_ENGINE",
    "DEFAULT_KEEP_ALIVE_SECONDS",
    "FAULT_KINDS",
    "GATEWAY_HOST",
    "KEY_PREFIX",
    "OPTIONS",
    "RECORDED_ENGINE",
    "SSH_ENGINE",
    "UPSTREAM_ENGINE",
    "Access",
    "Auth",
    "Binding",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Injection",
    "LocalPlugin",
    "Merged",
    "Mode",
    "ModelDeclaration",
    "OptionField",
    "Origin",
    "Project",
    "Replay",
    "ReplayMode",
    "ReplicaRange",
    "Service",
    "ServingOptions",
    "Upstream",
    "UpstreamPlace",
    "files_of_directory",
    "find_model",
    "host_name",
    "inject",
    "is_path",
    "knows_addresses",
    "merge",
    "overrides",
    "own_names",
    "parse_host",
    "parse_keep_alive",
    "share",
    "ssh_destination",
]
