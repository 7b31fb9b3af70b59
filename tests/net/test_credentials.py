"""Where names and passwords are found, and that nobody sees them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from frazil.errors import CredentialsError, FrazilError, OptionError
from frazil.net.credentials import Secret, keys, login, service, setting


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for word in [w for w in os.environ if w.startswith("FRAZIL_") or w in ("NETRC", "XDG_CONFIG_HOME")]:
        monkeypatch.delenv(word)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def netrc(home: Path, text: str, mode: int = 0o600) -> None:
    (home / ".netrc").write_text(text)
    (home / ".netrc").chmod(mode)


def config(home: Path, text: str, mode: int = 0o600) -> None:
    path = home / ".config" / "frazil" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def me() -> tuple[str, str]:
    found = login("cdse", host_of="identity", how="")
    return found.user, found.password.reveal()


def test_environment_before_file_before_netrc(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialsError, match="FRAZIL_CDSE_USER.*machine identity.dataspace.copernicus.eu"):
        me()
    netrc(home, "machine identity.dataspace.copernicus.eu login n password np\nmachine other login x password y\n")
    assert me() == ("n", "np")
    config(home, "[cdse]\nuser = 'c'\npassword = 'cp'\n")
    assert me() == ("c", "cp")
    monkeypatch.setenv("FRAZIL_CDSE_USER", "e")
    monkeypatch.setenv("FRAZIL_CDSE_PASSWORD", "ep")
    assert me() == ("e", "ep")


def test_default_of_netrc_is_not_meant(home: Path) -> None:
    netrc(home, "default login anonymous password guest\n")
    with pytest.raises(CredentialsError):
        me()


def test_keys_of_buckets(home: Path) -> None:
    assert keys("cdse", host="eodata.dataspace.copernicus.eu") is None
    config(home, "[cdse]\ns3_key = 'K'\ns3_secret = 'S'\n")
    found = keys("cdse", host="eodata.dataspace.copernicus.eu")
    assert found is not None
    assert (found.user, found.password.reveal()) == ("K", "S")


def test_secrets_are_not_shown(home: Path) -> None:
    netrc(home, "machine identity.dataspace.copernicus.eu login n password hunter2\n")
    found = login("cdse", host_of="identity", how="")
    assert "hunter2" not in f"{found!r} {found} {found.password!s} {[found]} {Secret('hunter2')!r}"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_files_that_others_may_read_are_refused(mode: int, home: Path) -> None:
    config(home, "[cdse]\nuser = 'c'\npassword = 'hunter2'\n", mode)
    with pytest.raises(CredentialsError, match="chmod 600") as caught:
        me()
    assert "hunter2" not in str(caught.value)
    config(home, "[cdse]\ncatalogue = 'https://example.invalid/odata'\n", mode)  # nothing secret in it
    assert service("cdse", "catalogue") == "https://example.invalid/odata"
    netrc(home, "machine identity.dataspace.copernicus.eu login n password hunter2\n", mode)
    if stat.S_IMODE((home / ".netrc").stat().st_mode) & 0o077:
        with pytest.raises(CredentialsError) as caught:
            me()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["machine x login hunter2 pass", "hunter2 hunter2", "\xff\xfe hunter2"])
def test_broken_netrc_is_told_without_its_words(text: str, home: Path) -> None:
    (home / ".netrc").write_bytes(text.encode("latin-1"))
    (home / ".netrc").chmod(0o600)
    with pytest.raises(CredentialsError) as caught:
        me()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["[cdse\npassword = 'hunter2'", "password hunter2", "\xff"])
def test_broken_config_is_told_without_its_words(text: str, home: Path) -> None:
    config(home, "")
    (home / ".config" / "frazil" / "config.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(OptionError) as caught:
        setting("cdse", "user")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://example.invalid", "ftp://x", "https://u:p@x", "example.org", "https://x y"]
)
def test_services_are_https(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAZIL_CDSE_DOWNLOAD", address)
    with pytest.raises(FrazilError):
        service("cdse", "download")
    monkeypatch.setenv("FRAZIL_CDSE_DOWNLOAD", "https://datahub.creodias.eu/odata/v1/")
    assert service("cdse", "download") == "https://datahub.creodias.eu/odata/v1"
