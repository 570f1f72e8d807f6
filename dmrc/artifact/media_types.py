"""The media types and annotations of a model's parts, in Docker Model Runner's form and in CNCF ModelPack's.

Source: https://github.com/docker/model-runner/blob/main/pkg/distribution/types/config.go and
https://github.com/modelpack/model-spec/blob/main/docs/spec.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

FORMATS = ("gguf", "safetensors")
"""Formats of models that are stored and handed to engines, the usual one first."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
"""Media type of a manifest."""
INDEX = "application/vnd.oci.image.index.v1+json"
"""Media type of an index, a list of manifests."""
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
"""Docker's older name of a manifest."""
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
"""Docker's older name of an index."""
CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
"""Media type of the config that we write for a GGUF."""
CONFIG_OF_FILES = "application/vnd.docker.ai.model.config.v0.2+json"
"""Media type of the config that we write for a model of several files, each a layer with its path."""
GGUF = "application/vnd.docker.ai.gguf.v3"
"""Media type of a GGUF file."""
MMPROJ = "application/vnd.docker.ai.mmproj"
"""Media type of a multimodal projector, a GGUF file too."""
CHAT_TEMPLATE = "application/vnd.docker.ai.chat.template.jinja"
"""Media type of a Jinja chat template."""
LICENSE = "application/vnd.docker.ai.license"
"""Media type of a licence, plain text."""
SAFETENSORS = "application/vnd.docker.ai.safetensors"
"""Media type of a file of weights in the format safetensors."""
MODEL_FILE = "application/vnd.docker.ai.model.file"
"""Media type of any other file of a model: its tokenizer, its `config.json`."""
VLLM_CONFIG_TAR = "application/vnd.docker.ai.vllm.config.tar"
"""Media type of a tar archive of all files beside the weights, in Docker Model Runner's older form."""
DIRECTORY_TAR = "application/vnd.docker.ai.dir.tar"
"""Media type of a tar archive of a directory of the model, in that form."""
CNCF_CONFIG = "application/vnd.cncf.model.config.v1+json"
"""Media type of a config in ModelPack's form."""
CNCF_WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
"""Media type of a file of weights in ModelPack's form; its name says what it is."""
CNCF_FORMATS: Mapping[str, str] = {f"application/vnd.cncf.model.weight.v1.{each}": each for each in FORMATS}
"""Format of a file of weights, by the media types that older versions of Docker Model Runner gave it in that form."""
CNCF_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
"""Media type of a file that belongs to the weights: a chat template."""
CNCF_DOC = "application/vnd.cncf.model.doc.v1.raw"
"""Media type of a text in ModelPack's form: a licence."""
FILE_PATH = "org.cncf.model.filepath"
"""Annotation of a layer: the path of its file."""
CONTEXT_LENGTH = "max_position_embeddings"
"""Key of what the config of an artifact says of safetensors: the tokens that the model was trained with."""
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
"""Media type of the config of a container image."""
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar"
"""Media type of a layer that is not compressed: weights do not get smaller, and each file is a range of its bytes."""
CHAT_TEMPLATE_FILE = "chat_template.jinja"
"""What transformers calls the chat template of a model that is a directory."""
CONTEXT_SIZE = "dev.dmrc.context-size"
"""Annotation of a manifest in ModelPack's form, whose config has no field for it: tokens to serve the model with."""

Role = Literal["gguf", "safetensors", "file", "archive", "mmproj", "lora", "chat_template", "license", "other"]
"""What a layer is for."""

_LORA = "application/vnd.docker.ai.gguf.v3.lora"  # of docker/model-spec, which Docker Model Runner does not read
ROLES: Mapping[str, Role]
ROLES = {
    GGUF: "gguf",
    SAFETENSORS: "safetensors",
    MODEL_FILE: "file",
    VLLM_CONFIG_TAR: "archive",
    DIRECTORY_TAR: "archive",
    MMPROJ: "mmproj",
    _LORA: "lora",
    CHAT_TEMPLATE: "chat_template",
    LICENSE: "license",
}
"""Role of a layer, by its media type."""


def role_of(media_type: str, file_path: str) -> Role:
    """Return what a layer is for, by its media type and, in ModelPack's form, its file's name."""
    file_name = file_path.lower()
    if media_type == CNCF_WEIGHTS or media_type in CNCF_FORMATS:
        weights = CNCF_FORMATS.get(media_type, file_name.rpartition(".")[2])
        if weights == "gguf":
            return "mmproj" if "mmproj" in file_name else "gguf"
        return "safetensors" if weights == "safetensors" else "other"
    if media_type == CNCF_WEIGHT_CONFIG:
        return "chat_template" if file_name.endswith(".jinja") else "file"
    if media_type == CNCF_DOC and "license" in file_name:
        return "license"
    return ROLES.get(media_type, "other")


def role_in_directory(path: str) -> Role:
    """Return what a file of a model that is a directory is for."""
    if path.endswith(".safetensors"):
        return "safetensors"
    return "chat_template" if path == CHAT_TEMPLATE_FILE else "file"
