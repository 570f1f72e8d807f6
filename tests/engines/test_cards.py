"""Graphics cards that a machine shows by its files: each tree here is laid out as a kernel does it."""

from pathlib import Path

import pytest

from dmrc.engines.cards import Card, cards, may_have_card

_OPEN = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@U22)
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""
_CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
_INFORMATION = "Model: \t\t {}\nIRQ:   \t\t 95\nBus Location: \t 0000:c1:00.0\nDevice Minor: \t {}\n"


def _file(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _render(root: Path, name: str, uevent: str) -> None:
    _file(root / "dev/dri" / name)
    _file(root / "sys/class/drm" / name / "device/uevent", uevent)


def test_a_machine_without_a_card_shows_none(tmp_path: Path) -> None:
    _file(tmp_path / "dev/dri/card0")  # a console only

    assert cards(tmp_path) == ()
    assert not may_have_card(tmp_path, {})


@pytest.mark.parametrize(("version", "number"), [(_OPEN, "570.124.06"), (_CLOSED, "535.183.01")])
def test_each_card_of_nvidia_has_its_name_and_the_drivers_version(tmp_path: Path, version: str, number: str) -> None:
    _file(tmp_path / "proc/driver/nvidia/version", version)
    for minor, model in (("0", "NVIDIA H100 80GB HBM3"), ("1", "GeForce GTX 1080")):
        _file(tmp_path / "dev" / f"nvidia{minor}")
        _file(tmp_path / f"proc/driver/nvidia/gpus/0000:0{minor}/information", _INFORMATION.format(model, minor))
    _file(tmp_path / "dev/nvidiactl")
    _render(tmp_path, "renderD128", "DRIVER=nvidia\nPCI_ID=10DE:2330\nPCI_SLOT_NAME=0000:c1:00.0\n")

    found = cards(tmp_path)

    assert list(map(str, found)) == [
        f"NVIDIA H100 80GB HBM3, driver {number}",
        f"NVIDIA GeForce GTX 1080, driver {number}",
    ]
    assert may_have_card(tmp_path, {})


def test_a_container_has_the_cards_that_it_was_given(tmp_path: Path) -> None:
    """`/proc/driver` shows all of the machine there."""
    _file(tmp_path / "proc/driver/nvidia/version", _OPEN)
    for minor in "01":
        _file(tmp_path / f"proc/driver/nvidia/gpus/0000:0{minor}/information", _INFORMATION.format(f"A{minor}", minor))
    _file(tmp_path / "dev/nvidia1")

    assert [card.name for card in cards(tmp_path)] == ["NVIDIA A1"]


def test_a_device_file_alone_is_a_card_without_a_name(tmp_path: Path) -> None:
    _file(tmp_path / "dev/nvidia0")

    assert list(map(str, cards(tmp_path))) == ["a graphics card of NVIDIA"]


def test_those_of_other_makers_are_told_by_what_renders(tmp_path: Path) -> None:
    _render(tmp_path, "renderD128", "DRIVER=i915\nPCI_ID=8086:9A49\nPCI_SLOT_NAME=0000:00:02.0\n")
    _render(tmp_path, "renderD129", "DRIVER=amdgpu\nPCI_ID=1002:744C\nPCI_SLOT_NAME=0000:03:00.0\n")
    _file(tmp_path / "sys/class/drm/renderD129/device/product_name", "AMD Radeon PRO W7900\n")
    _render(tmp_path, "renderD130", "DRIVER=xe\nPCI_ID=8086:E20B\nPCI_SLOT_NAME=0000:04:00.0\n")
    _render(tmp_path, "renderD131", "DRIVER=nouveau\nPCI_ID=10DE:1B80\nPCI_SLOT_NAME=0000:05:00.0\n")
    _render(tmp_path, "renderD132", "DRIVER=virtio_gpu\n")
    _file(tmp_path / "dev/kfd")

    assert cards(tmp_path) == (
        Card("Intel", None, "i915", is_part_of_processor=True),
        Card("AMD", "AMD Radeon PRO W7900", "amdgpu"),
        Card("Intel", None, "xe"),
        Card("NVIDIA", None, "nouveau"),
        Card("other", None, "virtio_gpu"),
    )


def test_amds_compute_file_alone_is_a_card(tmp_path: Path) -> None:
    _file(tmp_path / "dev/kfd")
    _file(tmp_path / "sys/module/amdgpu/version", "6.12.12\n")

    assert list(map(str, cards(tmp_path))) == ["a graphics card of AMD, driver 6.12.12"]


def test_windows_lends_its_nvidia_card_by_one_file(tmp_path: Path) -> None:
    _file(tmp_path / "dev/dxg")
    assert cards(tmp_path) == ()

    _file(tmp_path / "usr/lib/wsl/lib/libcuda.so.1")

    assert list(map(str, cards(tmp_path))) == ["a graphics card of NVIDIA, driver of Windows"]


def test_a_device_that_the_user_names_may_be_one_without_a_driver(tmp_path: Path) -> None:
    assert may_have_card(tmp_path, {"GGML_VK_VISIBLE_DEVICES": "0"})


def test_another_system_may_have_one_that_no_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    assert may_have_card(tmp_path, {})
