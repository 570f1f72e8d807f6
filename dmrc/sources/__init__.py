"""Where models come from."""

from dmrc.sources.connections import Connections
from dmrc.sources.source import (
    BlobSink,
    BlobWriter,
    PartialBlob,
    Progress,
    ProgressEvent,
    Source,
    Transfer,
)

__all__ = ["BlobSink", "BlobWriter", "Connections", "PartialBlob", "Progress", "ProgressEvent", "Source", "Transfer"]
