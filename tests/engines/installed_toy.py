"""The toy engine, as somebody has it who has installed its package, and a model in its format."""

from tests.dmrc_command import Dmrc
from tests.installed_plugins import install_plugins
from tests.tiny_safetensors import write_least_directory


def install_toy(dmrc: Dmrc, module: str = "tests.engines.toy") -> None:
    """Register the toy by `dmrc_register_engines`, and put `local/toy` into the store."""
    install_plugins(dmrc, toy=module)
    dmrc.ok("package", "--safetensors-dir", write_least_directory(dmrc.home / "files"), "local/toy")
