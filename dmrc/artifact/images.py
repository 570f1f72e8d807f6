"""A model as a runnable container image: one layer with its files, which a container engine mounts.

containerd mounts images only, and no artifacts: https://github.com/containerd/containerd/issues/11381
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.artifact.media_types import IMAGE_LAYER, MANIFEST
from dmrc.artifact.reading import IMAGE_CONFIGS, MAX_DOCUMENT_BYTES, Descriptor, Manifest, load
from dmrc.errors import ArtifactError

_LABEL = "dev.dmrc.model"
"""Label of the image: the model that it was made of, so that it can be pulled as one."""


@dataclass(frozen=True, slots=True)
class ImagedModel:
    """The model in an image: its own manifest and config, and where its files are in the layer."""

    manifest: bytes
    """The model's manifest."""
    config: bytes
    """The model's config."""
    places: Mapping[str, int]
    """Offset of each file in the layer, by its digest."""

    def image_config(self, layer: str) -> bytes:
        """Return the config of the image; the same model is always the same bytes, on every machine."""
        told = {"manifest": self.manifest.decode(), "config": self.config.decode(), "places": dict(self.places)}
        document = {
            "architecture": "amd64",  # files are for every processor, and an image must name one
            "os": "linux",
            "config": {"Labels": {_LABEL: json.dumps(told, sort_keys=True, separators=(",", ":"))}},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, image: bytes, config: bytes, *, name: str) -> tuple[ImagedModel, Descriptor]:
        """Read what `image_config` wrote, and return it with the layer; `image` is the manifest of the image.

        Raises:
            ArtifactError: The image is none of a model, or it is not to be trusted.
        """
        layers = load(image, name).get("layers")
        labels = _object(_object(load(config, name).get("config")).get("Labels"))
        told = load(str(labels.get(_LABEL, "{}")).encode(), name)
        manifest, own_config = told.get("manifest"), told.get("config")
        if not isinstance(manifest, str) or not isinstance(own_config, str):
            raise ArtifactError(f"'{name}' is a container image, not a model", remedy="Name a model, like ai/smollm2")
        if not isinstance(layers, list) or len(layers) != 1:
            raise ArtifactError(f"'{name}' is not a model to be trusted: its image must have one layer")
        layer = Descriptor.parse(layers[0], name=name)
        if layer.media_type != IMAGE_LAYER:
            raise ArtifactError(f"'{name}' is a model in an image whose layer is compressed", remedy="Push it by dmrc")
        places = {digest: at for digest, at in _object(told.get("places")).items() if isinstance(at, int)}
        parsed = Manifest.parse(manifest.encode(), name=name)
        for blob in parsed.layers:
            at = places.get(blob.digest, -1)
            if not 0 <= at <= layer.size_bytes - blob.size_bytes:
                raise ArtifactError(f"'{name}' is not a model to be trusted: its image does not hold {blob.digest}")
        return cls(manifest.encode(), own_config.encode(), places), layer


def image_manifest(config: Descriptor, layer: Descriptor) -> bytes:
    """Return the JSON of an image with these two blobs; a model goes out under it, and none of its own types."""
    entries = [
        {"mediaType": each.media_type, "digest": each.digest, "size": each.size_bytes} for each in (config, layer)
    ]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": entries[0], "layers": entries[1:]}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def config_of_image(manifest: bytes, *, name: str) -> Descriptor | None:
    """Return the config of an image; None where the manifest is of something else.

    Raises:
        ArtifactError: It is not to be trusted.
    """
    config = _object(load(manifest, name).get("config"))
    if config.get("mediaType") not in IMAGE_CONFIGS:
        return None
    return Descriptor.parse(config, name=name, largest_bytes=MAX_DOCUMENT_BYTES)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
