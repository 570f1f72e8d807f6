"""What `dmrc doctor` says of a host whose ssh does not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.engine import Finding
from dmrc.engines.ssh import look as looking


@pytest.mark.process
def test_an_ssh_that_hangs_or_is_missing_is_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(looking, "_SECONDS", 0.5)

    assert looking.look("ssh://box", "dmrc") == Finding(
        "problem", "host 'ssh://box' does not answer in 0.5 s", "Does ssh work by hand?"
    )
    ssh.unlink()
    assert looking.look("ssh://box", "dmrc") == Finding(
        "problem", "'ssh' cannot be run: No such file or directory", "Install OpenSSH's client"
    )
