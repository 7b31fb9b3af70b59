"""Products read where they lie, over http from this machine and from a bucket of moto, against the same on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import frazil
from frazil.errors import ArchiveError, CredentialsError, FrazilError, ProductError, ProductNotFoundError
from frazil.net.folder import remote_folder
from tests.local_server import Asked, LocalServer, Reply, folder_of, part_of, serving


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    remote_folder.cache_clear()


@pytest.fixture
def served(small_safe: Path) -> Iterator[LocalServer]:
    with serving(folder_of(small_safe.parent)) as server:
        yield server


def test_a_scene_over_http_is_that_of_the_disk(small_safe: Path, served: LocalServer) -> None:
    local = frazil.open_scene(small_safe)
    remote = frazil.open_scene(f"{served.address}/{small_safe.name}")
    np.testing.assert_array_equal(remote["sigma0"].values, local["sigma0"].values)
    assert remote.attrs["product"] == local.attrs["product"]
    assert "headers and MD5" in remote.attrs["checks"]
    described = frazil.open_product(f"{served.address}/{small_safe.name}/manifest.safe").describe()
    assert described["path"] == f"{served.address}/{small_safe.name}"


def test_metadata_alone_reads_no_pixels(small_safe: Path, served: LocalServer) -> None:
    frazil.open_product(f"{served.address}/{small_safe.name}/").describe()
    assert not [path for path in served.paths() if "measurement" in path]


def test_a_signature_goes_along_and_is_never_shown(small_safe: Path) -> None:
    inner = folder_of(small_safe.parent)

    def answer(asked: Asked) -> Reply:
        if asked.query != "sig=SECRET/1=":
            return Reply(403, b"not signed")
        return Reply(404, b"") if asked.path.endswith(".tiff") and broken else inner(asked)

    broken = False
    with serving(answer) as server:
        address = f"{server.address}/{small_safe.name}?sig=SECRET%2F1="
        product = frazil.open_product(address)
        assert "SECRET" not in f"{product} {product.describe()}"
        frazil.open_scene(product)["sigma0"][:, :2].values  # noqa: B018
        broken = True
        with pytest.raises(FrazilError) as caught:
            frazil.open_scene(product)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, CredentialsError, r"refuses \(403\): no right"),
        (401, CredentialsError, "does not take the credentials"),
        (404, ProductNotFoundError, "no manifest.safe in"),
        (418, ArchiveError, "answers 418"),
    ],
)
def test_a_refusal_is_one_line(status: int, kind: type[FrazilError], words: str) -> None:
    with serving(lambda asked: Reply(status, b'{"detail": "no right"}')) as server, pytest.raises(kind, match=words):
        frazil.open_product(f"{server.address}/X.SAFE")


def test_a_server_without_ranges_is_told_of(small_safe: Path) -> None:
    inner = folder_of(small_safe.parent)

    def answer(asked: Asked) -> Reply:
        return Reply(200, inner(Asked("GET", asked.path, "", {}, b"")).body)

    with serving(answer) as server, pytest.raises(ArchiveError, match="does not give parts of files"):
        frazil.open_scene(f"{server.address}/{small_safe.name}")


def test_another_size_than_the_manifest_says(small_safe: Path) -> None:
    inner = folder_of(small_safe.parent)

    def answer(asked: Asked) -> Reply:
        return part_of(asked, b"II*\0" * 100) if asked.path.endswith(".tiff") else inner(asked)

    with serving(answer) as server, pytest.raises(ProductError, match="400 bytes on the server"):
        frazil.open_scene(f"{server.address}/{small_safe.name}")


@pytest.mark.parametrize("text", [b"<html>login</html>", b"not xml", b"", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"])
def test_a_page_in_place_of_a_manifest(text: bytes) -> None:
    with serving(lambda asked: Reply(200, text)) as server, pytest.raises(ProductError):
        frazil.open_product(f"{server.address}/X.SAFE")


def test_names_that_climb_are_no_files_of_the_product(small_safe: Path, tmp_path: Path) -> None:
    shutil.copytree(small_safe, tmp_path / "X.SAFE")
    manifest = tmp_path / "X.SAFE" / "manifest.safe"
    text = manifest.read_text()
    evil = '<byteStream size="5"><fileLocation href="./annotation/../../secret.xml"/></byteStream>'
    manifest.write_text(text.replace("</dataObjectSection>", f"<dataObject>{evil}</dataObject></dataObjectSection>"))
    assert "secret" in manifest.read_text()
    with serving(folder_of(tmp_path)) as server:
        folder = remote_folder(f"{server.address}/X.SAFE")
    assert not [name for name in folder.sizes if "secret" in name]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://example.invalid/X.SAFE", "only https:// is"),
        ("https://me:word@example.invalid/X.SAFE", "holds a name or password"),
        ("https://example.invalid/X.zip", "is an archive"),
        ("s3://b", "no address in a bucket"),
        ("s3://UPPER/x", "no name of a bucket"),
        ("https://", "no address"),
    ],
)
def test_addresses_that_are_not_asked(address: str, words: str) -> None:
    with pytest.raises(FrazilError, match=words) as caught:
        frazil.open_product(address)
    assert "word@" not in str(caught.value)


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize("name", ["eodata", "ours"])
def test_a_scene_in_a_bucket(
    name: str, small_safe: Path, moto_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setenv("HOME", str(tmp_path))
    client = boto3.client("s3", endpoint_url=moto_server, region_name="us-east-1", aws_access_key_id="k",
                          aws_secret_access_key="s")  # fmt: skip
    client.create_bucket(Bucket=name)
    for path in small_safe.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"Sentinel-1/{small_safe.name}/{path.relative_to(small_safe)}")
    address = f"s3://{name}/Sentinel-1/{small_safe.name}"
    if name == "eodata":
        monkeypatch.setenv("FRAZIL_CDSE_S3", moto_server)
        with pytest.raises(CredentialsError, match="FRAZIL_CDSE_S3_KEY"):
            frazil.open_product(address)
        monkeypatch.setenv("FRAZIL_CDSE_S3_KEY", "k")
        monkeypatch.setenv("FRAZIL_CDSE_S3_SECRET", "s")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    local, remote = frazil.open_scene(small_safe), frazil.open_scene(address)
    np.testing.assert_array_equal(remote["sigma0"].values, local["sigma0"].values)
    assert frazil.open_product(address).describe()["path"] == address
    with pytest.raises(ProductNotFoundError, match="nothing at"):
        frazil.open_product(f"s3://{name}/Sentinel-1/NOTHING.SAFE")
