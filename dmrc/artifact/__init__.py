"""Models as OCI artifacts: what manifests and configs say, and how ours are written."""

from dmrc.artifact.reading import (
    CHAT_TEMPLATE,
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    GGUF,
    INDEX,
    LICENSE,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    MMPROJ,
    Descriptor,
    Manifest,
    ModelConfig,
    Role,
    select_manifest,
)
from dmrc.artifact.writing import Form, build_manifest, config_media_type, describe_layer, write_config

__all__ = [
    "CHAT_TEMPLATE",
    "CONFIG",
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "GGUF",
    "INDEX",
    "LICENSE",
    "MANIFEST",
    "MAX_DOCUMENT_BYTES",
    "MMPROJ",
    "Descriptor",
    "Form",
    "Manifest",
    "ModelConfig",
    "Role",
    "build_manifest",
    "config_media_type",
    "describe_layer",
    "select_manifest",
    "write_config",
]
