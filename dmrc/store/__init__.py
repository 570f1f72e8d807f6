"""The model store: an OCI image layout that many processes may use at once."""

from dmrc.store.blobs import BlobWriter
from dmrc.store.layout import Named
from dmrc.store.lookup import find, search
from dmrc.store.model import BlobMissingError, ModelFiles, Removed, StoredModel
from dmrc.store.partials import PartialBlob
from dmrc.store.store import Store

__all__ = [
    "BlobMissingError",
    "BlobWriter",
    "ModelFiles",
    "Named",
    "PartialBlob",
    "Removed",
    "Store",
    "StoredModel",
    "find",
    "search",
]
