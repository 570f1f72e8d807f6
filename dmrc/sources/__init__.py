"""Where models come from."""

from dmrc.sources.source import BlobSink, BlobWriter, Progress, ProgressEvent, Source, Transfer

__all__ = ["BlobSink", "BlobWriter", "Progress", "ProgressEvent", "Source", "Transfer"]
