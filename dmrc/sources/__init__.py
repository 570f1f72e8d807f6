"""Where models come from, and may go to."""

from dmrc.sources.connections import Connections
from dmrc.sources.destination import Destination, Outgoing
from dmrc.sources.inspectable import Inspectable
from dmrc.sources.search import Searchable
from dmrc.sources.source import (
    BlobSink,
    Progress,
    ProgressEvent,
    ResumableBlob,
    Source,
    Transfer,
    WritableBlob,
)
from dmrc.sources.transfer_count import TransferCount

__all__ = [
    "BlobSink",
    "Connections",
    "Destination",
    "Inspectable",
    "Outgoing",
    "Progress",
    "ProgressEvent",
    "ResumableBlob",
    "Searchable",
    "Source",
    "Transfer",
    "TransferCount",
    "WritableBlob",
]
