"""Plugins as a package brings them: entry points of a distribution that only one test's dmrc finds."""

from __future__ import annotations

from tests.dmrc_command import Dmrc


def install_plugins(dmrc: Dmrc, **modules: str) -> None:
    """Let the commands and the daemon of `dmrc` find these modules, by the names of their plugins."""
    metadata = dmrc.home / "plugin" / "plugins_of_a_test-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins-of-a-test\nVersion: 1\n")
    entries = "".join(f"{name} = {module}\n" for name, module in modules.items())
    (metadata / "entry_points.txt").write_text(f"[dmrc]\n{entries}")
    dmrc.environment["PYTHONPATH"] = f"{metadata.parent}:{dmrc.checkout}"
