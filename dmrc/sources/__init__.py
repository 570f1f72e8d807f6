"""Where models come from, and may go to."""

from dmrc.sources.connections import Connections
from dmrc.sources.destination import Destination, Outgoing
from dmrc.sources.looking import Looking
from dmrc.sources.search import Searchable
from dmrc.sources.source import (
    BlobSink,
    BlobWriter,
    PartialBlob,
    Progress,
    ProgressEvent,
    Source,
    Transfer,
)

__all__ = [
    "BlobSink",
    "BlobWriter",
    "Connections",
    "Destination",
    "Looking",
    "Outgoing",
    "PartialBlob",
    "Progress",
    "ProgressEvent",
    "Searchable",
    "Source",
    "Transfer",
]
