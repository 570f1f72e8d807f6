import os
import stat

import pytest

from dmrc.capture.secrets import KnownSecrets, memory_directory


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "memory"


def knows(secrets: KnownSecrets, project: str | None, value: str) -> bool:
    redactor = secrets.redactor(project)
    return redactor is not None and bool(redactor.in_text(value))


def test_secrets_outlive_the_one_who_knew_them_in_a_file_of_their_own(directory):
    KnownSecrets(directory).remember("shop", ["one-secret"])
    again = KnownSecrets(directory)

    assert knows(again, "shop", "one-secret")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_former_secrets_stay_until_the_project_is_forgotten(directory):
    secrets = KnownSecrets(directory)
    secrets.remember("shop", ["one-secret"])
    secrets.remember("shop", ["two-secret"])
    secrets.remember("other", [])

    assert knows(secrets, "shop", "one-secret")
    assert knows(secrets, None, "two-secret")
    assert not knows(secrets, "other", "one-secret")
    assert secrets.redactor("other") is not None
    assert secrets.redactor("nobody") is None

    secrets.forget("shop")
    secrets.forget("other")
    secrets.forget("nobody")

    assert secrets.redactor("shop") is None
    assert not directory.exists()


@pytest.mark.parametrize("how", ["wide open", "a link", "a file", "nonsense"])
def test_a_directory_that_others_could_have_made_is_not_used(directory, how, caplog):
    KnownSecrets(directory).remember("shop", ["one-secret"])
    if how == "wide open":
        directory.chmod(0o755)
    elif how == "a link":
        directory.rename(directory.with_name("elsewhere"))
        directory.symlink_to("elsewhere")
    elif how == "a file":
        directory.rename(directory.with_name("elsewhere"))
        directory.write_text("x")
    else:
        (directory / "secrets.json").write_text("{")

    secrets = KnownSecrets(directory)
    assert secrets.redactor("shop") is None
    secrets.remember("shop", ["two-secret"])

    assert knows(secrets, "shop", "two-secret")
    assert ("will not know" in caplog.text) == (how != "nonsense")


def test_without_a_place_secrets_are_known_for_as_long_as_the_object_lives():
    secrets = KnownSecrets(None)
    secrets.remember("shop", ["one-secret"])

    assert knows(secrets, "shop", "one-secret")
    secrets.forget("shop")


def test_a_place_is_memory_and_differs_by_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = memory_directory(tmp_path / "a")

    assert found != memory_directory(tmp_path / "b")
    assert found is None or (str(os.getuid()) in found.name and not found.is_relative_to(tmp_path))


def test_the_secrets_of_a_home_that_was_deleted_go_with_the_next_daemon_of_any_home(tmp_path):
    """Issue 16, D2: they lay in memory until the machine was started again."""
    gone, here = tmp_path / "gone", tmp_path / "here"
    for home in (gone, here):
        home.mkdir()
        KnownSecrets(tmp_path / f"dmrc-secrets-{os.getuid()}-{home.name}", home).remember("shop", ["one-secret"])
    gone.rmdir()

    KnownSecrets(tmp_path / f"dmrc-secrets-{os.getuid()}-third", tmp_path)

    assert [path.name for path in tmp_path.glob("dmrc-secrets-*")] == [f"dmrc-secrets-{os.getuid()}-here"]
