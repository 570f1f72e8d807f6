"""Which image fits a machine, by its device files and by Docker's runtimes."""

from pathlib import Path

import pytest

from dmrc.engines.container.cards import CardAccess, card_access
from dmrc.engines.container.docker_api import access
from dmrc.errors import DockerError

IMAGE = "ghcr.io/ggml-org/llama.cpp:server"


def machine(root: Path, *files: str, pci: str | None = None) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if pci is not None:
        place = root / "sys/class/drm/renderD128/device"
        place.mkdir(parents=True)
        (place / "uevent").write_text(f"DRIVER=x\nPCI_ID={pci}\n")
    return root


def test_a_machine_without_a_card_gets_the_image_for_the_processor(tmp_path: Path) -> None:
    assert card_access(["runc"], root=machine(tmp_path)) == CardAccess(IMAGE)


def test_nvidias_card_gets_cuda_where_its_toolkit_is(tmp_path: Path) -> None:
    root = machine(tmp_path, "dev/nvidia0", "proc/driver/nvidia/version")

    assert card_access(["runc", "nvidia"], root=root) == CardAccess(f"{IMAGE}-cuda", is_nvidia=True)
    assert card_access(["runc"], root=root) == CardAccess(IMAGE)
    assert card_access(["runc", "nvidia"], root=root, uses_card=False) == CardAccess(IMAGE)


def test_the_runtime_alone_makes_no_card(tmp_path: Path) -> None:
    assert card_access(["nvidia"], root=machine(tmp_path)) == CardAccess(IMAGE)


def test_amds_card_gets_rocm_with_its_devices(tmp_path: Path) -> None:
    root = machine(tmp_path, "dev/kfd", "dev/dri/renderD128", pci="1002:73BF")

    found = card_access([], root=root)

    assert (found.image, found.is_nvidia) == (f"{IMAGE}-rocm", False)
    assert found.devices == (str(root / "dev/kfd"), str(root / "dev/dri"))
    assert found.groups == [str((root / "dev/kfd").stat().st_gid)]


def test_another_card_gets_vulkan(tmp_path: Path) -> None:
    root = machine(tmp_path, "dev/dri/renderD128", pci="8086:56A0")

    assert card_access([], root=root) == CardAccess(f"{IMAGE}-vulkan", devices=(str(root / "dev/dri"),))


def test_a_card_that_the_image_has_no_driver_for_is_left_out(tmp_path: Path) -> None:
    """NVIDIA's without its toolkit, and those of virtual machines."""
    assert card_access([], root=machine(tmp_path, "dev/dri/renderD128", pci="1AF4:1050")) == CardAccess(IMAGE)


def test_docker_desktop_is_refused_by_name() -> None:
    with pytest.raises(DockerError, match="Docker Desktop runs it in a virtual one"):
        access({"OperatingSystem": "Docker Desktop", "Runtimes": {}}, uses_card=True)
