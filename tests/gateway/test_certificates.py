"""The certificate for other machines: what is refused, and in which words; and a renewed one."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from dmrc.errors import SettingError
from dmrc.gateway.server.certificates import CertificateFiles, read_certificate
from tests.engines.certificates import Authority

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_certificate_tells_its_names_and_its_end(authority: Authority) -> None:
    found = read_certificate(*authority.issue("box", "DNS:box.test,DNS:*.box.test,IP:192.0.2.7"))

    assert found.names == ("box.test", "*.box.test", "192.0.2.7")
    assert 0 < found.expires_at - time.time() - 86400 < 86400 + 10
    assert found.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_each_mistake_with_the_files_is_one_line_that_names_the_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("mine")
    other_certificate, _ = authority.issue("other")
    old, old_key = authority.issue("old", days=-1)
    client, client_key = authority.issue("client", usage="clientAuth")
    locked, garbage = tmp_path / "locked.key", tmp_path / "garbage.pem"
    subprocess.run(["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", key, "-out", locked], check=True)
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    mistakes = {
        (tmp_path / "none.pem", key): "none.pem' cannot be read: No such file or directory",
        (certificate, tmp_path / "none.key"): "key '.*none.key' cannot be read: No such file or directory",
        (tmp_path, key): "cannot be read: Is a directory",
        (key, certificate): "mine.key' holds no certificate in PEM",
        (certificate, certificate): "mine.pem' holds no key in PEM",
        (other_certificate, key): "mine.key' is not that of the certificate '.*other.pem'",
        (old, old_key): "old.pem' cannot be used: certificate has expired. Renew it",
        (client, client_key): "client.pem' cannot be used: unsuitable certificate purpose",
        (certificate, locked): "is encrypted",
        (garbage, key): "TLS cannot use '.*garbage.pem'",
    }

    for files, words in mistakes.items():
        with pytest.raises(SettingError, match=words) as caught:
            read_certificate(*files)
        assert "\n" not in str(caught.value)


def test_a_renewed_certificate_is_taken_when_both_files_fit(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dmrc")
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"
    for source, to in zip(authority.issue("first", "DNS:first.test"), (certificate, key), strict=True):
        shutil.copy(source, to)
    files = CertificateFiles(certificate, key)
    new_certificate, new_key = authority.issue("second", "DNS:second.test")

    files.look()
    assert not caplog.messages
    shutil.copy(new_certificate, tmp_path / "new")
    (tmp_path / "new").rename(certificate)
    for _ in range(3):
        files.look()
    assert files.current.names == ("first.test",)
    assert len(caplog.messages) == 1
    assert "the former TLS certificate stays in use" in caplog.messages[0]
    shutil.copy(new_key, key)
    files.look()

    assert files.current.names == ("second.test",)
    assert "was renewed" in caplog.messages[-1]
    key.unlink()
    files.look()
    assert files.current.names == ("second.test",)


def test_a_file_that_goes_while_it_is_read_leaves_the_former_in_use(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = (tmp_path / name for name in ("live.pem", "live.key"))
    for source, to in zip(authority.issue("box"), (certificate, key), strict=True):
        shutil.copy(source, to)
    files = CertificateFiles(certificate, key)
    former = files.current
    os.utime(key, (0, 0))  # a time that it did not have, however coarse the clock of the files is

    def gone(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", gone)
    files.look()

    assert files.current is former
    (said,) = caplog.messages
    assert said.endswith(f"TLS cannot read '{certificate}' and '{key}': No such file or directory")
