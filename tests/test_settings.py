from pathlib import Path

import pytest

from dmrc.errors import SettingError, StoreError
from dmrc.paths import Paths
from dmrc.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({})

    assert settings.port == 12434
    assert settings.default_registry == "docker.io"
    assert settings.plugins is None


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("6GiB", 6 << 30), ("512m", 512 << 20), ("1.5g", 3 << 29), ("1000", 1000)]
)
def test_a_memory_limit_is_a_size(text: str, size_bytes: int) -> None:
    assert Settings.from_environment({"DMRC_MEMORY": text}).memory_bytes == size_bytes


@pytest.mark.parametrize(
    "environ",
    [
        {"DMRC_PORT": "http"},
        {"DMRC_PORT": "70000"},
        {"DMRC_REQUIRE_KEY": "perhaps"},
        {"DMRC_CAPTURE": "some"},
        {"DMRC_CAPTURE_MEDIA": "perhaps"},
        {"DMRC_MEMORY": "much"},
        {"DMRC_HOME": "~nosuchuser/models"},
        {"DMRC_PLUGINS": "~nosuchuser/x.py"},
        {"DMRC_ALLOW_PATHS": "/tmp:~nosuchuser"},
        {"DMRC_HOSTS": "http://models.example"},
        {"DMRC_MIRROR": "http://127.0.0.1:5000"},
        {"DMRC_MIRROR": "docker.io=ftp://127.0.0.1"},
    ],
)
def test_a_setting_that_means_nothing_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=next(iter(environ))):
        Settings.from_environment(environ)


def test_hosts_are_names_with_commas() -> None:
    assert Settings.from_environment({"DMRC_HOSTS": "a.example, b"}).hosts == ("a.example", "b")


def test_an_empty_list_of_plugins_means_none() -> None:
    assert Settings.from_environment({"DMRC_PLUGINS": ""}).plugins == ()
    assert Settings.from_environment({"DMRC_PLUGINS": "a, b"}).plugins == ("a", "b")


def test_a_socket_name_is_never_too_long_for_the_system(tmp_path: Path) -> None:
    deep = Paths(tmp_path / ("long" * 30))

    assert len(str(deep.admin_socket)) < 104
    assert deep.run != Paths(tmp_path / ("long" * 31)).run


def test_the_state_directory_is_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home").create()

    assert paths.home.stat().st_mode & 0o777 == 0o700
    assert paths.run.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="set DMRC_HOME to another directory"):
        Paths(tmp_path / "file" / "home").create()


@pytest.mark.parametrize(
    ("text", "plugins"),
    [
        ("limits, otel", ("limits", "otel")),
        ("./x.py,y.py,/z/z.py", (str(Path.cwd() / "x.py"), str(Path.cwd() / "y.py"), "/z/z.py")),
        ("", ()),
        ("none", ()),
    ],
)
def test_plugins_are_names_or_absolute_paths_or_none(text: str, plugins: tuple[str, ...]) -> None:
    """The daemon runs in another directory than the command that started it."""
    settings = Settings.from_environment({"DMRC_HOME": "/h", "DMRC_PLUGINS": text})

    assert settings.plugins == plugins
    assert settings.absolute() == {"DMRC_HOME": "/h", "DMRC_PLUGINS": ",".join(plugins)}


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.7", "192.0.2.7", 12435),
        ("192.0.2.7:443", "192.0.2.7", 443),
        ("::", "::", 12435),
        ("2001:db8::7", "2001:db8::7", 12435),
        ("[2001:db8::7]", "2001:db8::7", 12435),
        ("[2001:db8::7]:443", "2001:db8::7", 443),
    ],
)
def test_an_address_to_listen_on_may_have_a_port(text: str, address: str, port: int) -> None:
    listening = Settings.from_environment({"DMRC_HOME": "/h", "DMRC_LISTEN": text}).listening

    assert listening is not None
    assert (listening.address, listening.port, listening.tls_cert) == (address, port, None)


@pytest.mark.parametrize("text", ["box.lan", "192.0.2.7:", "192.0.2.7:0", "192.0.2.7:70000", "[::", "::1]:4", "1.2.3"])
def test_what_is_no_address_to_listen_on_is_told(text: str) -> None:
    with pytest.raises(SettingError, match=r"DMRC_LISTEN \(--listen\) must be an address"):
        Settings.from_environment({"DMRC_HOME": "/h", "DMRC_LISTEN": text})


def test_the_url_of_other_machines_is_by_a_name_that_the_certificate_is_for() -> None:
    environ = {"DMRC_HOME": "/h", "DMRC_LISTEN": "192.0.2.7", "DMRC_TLS_CERT": "/c", "DMRC_TLS_KEY": "/k"}
    listening = Settings.from_environment(environ).listening

    assert listening is not None
    assert listening.url_by(["*.test", "box.test", "b"]) == "https://box.test:12435/engines/v1"
    assert listening.url_by(["box.test", "192.0.2.7"]) == "https://192.0.2.7:12435/engines/v1"
    assert listening.url_by(["*.test"]) == listening.url == "https://192.0.2.7:12435/engines/v1"
    assert Settings.from_environment(environ).absolute() == {
        "DMRC_HOME": "/h",
        "DMRC_TLS_CERT": "/c",
        "DMRC_TLS_KEY": "/k",
    }
