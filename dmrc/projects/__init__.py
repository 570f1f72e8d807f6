"""Which compose projects are up, which models they declare, and whose key is whose."""

from dmrc.projects.caller import Caller
from dmrc.projects.processes import process_of
from dmrc.projects.registration import WHOLE_PROJECT, Registration, key_hash
from dmrc.projects.table import Projects

__all__ = ["WHOLE_PROJECT", "Caller", "Projects", "Registration", "key_hash", "process_of"]
