"""The other ways by which products come: zips of ASF, files of the Planetary Computer, the bucket of CDSE."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import frazil
from frazil.errors import ArchiveError, CredentialsError, MissingDependencyError, OptionError, OutputError
from frazil.net.http import Client
from frazil.providers.found import Found, checked
from frazil.providers.get import get
from frazil.providers.receipts import NAME as RECEIPTS
from frazil.providers.receipts import Receipts
from frazil.providers.shipments import Archive
from tests.local_server import Asked, Reply, part_of, serving
from tests.providers.conftest import NAME, FakeArchive, contents
from tests.providers.test_get import needed


def found(source: str, **more: Any) -> Found:
    return checked({"source": source, "id": NAME, "name": NAME, "start": "2025-02-01T06:00:00Z",
                    "stop": "2025-02-01T06:01:00Z", **more})  # fmt: skip


def test_a_zip_of_asf(small_zip: Path, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for the house, a redirect to storage elsewhere, cuts, and the checksum of the catalogue."""
    data = small_zip.read_bytes()
    name = small_zip.name.removesuffix(".zip")
    with serving(lambda asked: part_of(asked, data, cut=2_000_000), host="127.0.0.4") as storage:

        def answer(asked: Asked) -> Reply:
            if asked.path == "/login":
                return Reply(200, b'{"access_token": "nasa"}')
            right = asked.headers.get("Authorization") == "Bearer nasa"
            return Reply(302, b"", {"Location": f"{storage.address}/s?X-Amz-Signature=SIGNED"}) if right else Reply(401)

        with serving(answer) as server:
            monkeypatch.setenv("FRAZIL_ASF_LOGIN", f"{server.address}/login")
            monkeypatch.setenv("FRAZIL_ASF_USER", "me")
            monkeypatch.setenv("FRAZIL_ASF_PASSWORD", "p")
            one = found("asf", name=name, size=len(data), md5=hashlib.md5(data).hexdigest(),
                        href=f"{server.address}/{name}.zip")  # fmt: skip
            done = get(one, tmp_path, client=client)[0]
            assert done.path == tmp_path / f"{name}.zip"
            assert done.path.read_bytes() == data
            assert storage.sent.total() == len(data)
            assert not [a for a in storage.asked if "Authorization" in a.headers]
            assert get(one, tmp_path, client=client)[0].fetched == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [RECEIPTS, f"{name}.zip"]
    assert "SIGNED" not in (tmp_path / RECEIPTS).read_text()
    assert frazil.open_product(done.path).name == name


def test_files_of_the_planetary_computer(
    product: dict[str, bytes], tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = needed(product)

    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/sas/"):
            return Reply(200, b'{"token": "sig=SECRET&se=2030", "msft:expiry": "2030-01-01T00:00:00Z"}')
        inside = asked.path.partition(f"{NAME}/")[2]
        return (
            part_of(asked, files[inside], cut=400_000) if asked.query == "sig=SECRET&se=2030" else Reply(409, b"public")
        )

    with serving(answer) as server:
        monkeypatch.setenv("FRAZIL_PLANETARY_SAS", f"{server.address}/sas")
        one = found("planetary", files={n: f"{server.address}/s1-grd/GRD/{NAME}/{n}" for n in files})
        done = get(one, tmp_path, client=client)[0]
        assert contents(done.path) == files
        assert done.verified == "size"
        assert [p for p in server.paths() if p.startswith("/sas/")] == ["/sas/127.0.0.1/s1-grd"]
    assert "SECRET" not in (tmp_path / RECEIPTS).read_text() + json.dumps(one.to_json())
    with pytest.raises(ArchiveError, match="has no measurement"):
        get(found("planetary", files={"manifest.safe": "https://example.invalid/x"}), tmp_path / "b", client=client)
    with pytest.raises(OptionError, match="only https:// is"):
        get(found("planetary", files={"measurement/a.tiff": "http://example.invalid/x"}), tmp_path / "c", client=client)


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_server: str, product: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The product in a bucket of moto, with keys that are set; gives the client that put it there."""
    boto3 = pytest.importorskip("boto3")
    s3 = boto3.client("s3", endpoint_url=moto_server, region_name="us-east-1", aws_access_key_id="k",
                      aws_secret_access_key="s")  # fmt: skip
    s3.create_bucket(Bucket="eodata")
    for inside, data in product.items():
        s3.put_object(Bucket="eodata", Key=f"Sentinel-1/{NAME}.SAFE/{inside}", Body=data)
    monkeypatch.setenv("FRAZIL_CDSE_S3", moto_server)
    monkeypatch.setenv("FRAZIL_CDSE_S3_KEY", "k")
    monkeypatch.setenv("FRAZIL_CDSE_S3_SECRET", "s")
    return s3


S3 = f"/eodata/Sentinel-1/{NAME}.SAFE"


def test_out_of_a_bucket_and_gone_on_with(
    bucket: Any, product: dict[str, bytes], tmp_path: Path, client: Client
) -> None:
    one, files = found("cdse", s3=S3), needed(product)
    part = tmp_path / f"{NAME}.SAFE.part" / "measurement"
    part.mkdir(parents=True)
    (part / "s1a-ew-grd-hh.tiff.partial").write_bytes(product["measurement/s1a-ew-grd-hh.tiff"][:300_000])
    done = get(one, tmp_path, client=client)[0]
    assert contents(done.path) == files
    assert done.fetched == done.bytes - 300_000 == Receipts(tmp_path).fetched(NAME)


def test_a_file_replaced_in_the_bucket_is_begun_anew(
    bucket: Any, product: dict[str, bytes], tmp_path: Path, client: Client
) -> None:
    hh = "measurement/s1a-ew-grd-hh.tiff"
    part = tmp_path / f"{NAME}.SAFE.part"
    (part / "measurement").mkdir(parents=True)
    (part / f"{hh}.partial").write_bytes(b"x" * 300_000)
    Receipts(tmp_path).add(product=NAME, file=hh, event="came", bytes=300_000, etag='"before"')
    done = get(found("cdse", s3=S3), tmp_path, client=client)[0]
    assert contents(done.path) == needed(product)
    assert "replaced on the server" in (tmp_path / RECEIPTS).read_text()


def test_refusals_of_a_bucket(
    bucket: Any, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch, product: dict[str, bytes]
) -> None:
    with pytest.raises(ArchiveError, match="is not there"):
        get(found("cdse", s3="/eodata/nowhere"), tmp_path, client=client)
    for wrong in ("/eodata/../x", "/", "/UPPER/x"):
        with pytest.raises(OptionError):
            get(found("cdse", s3=wrong), tmp_path, client=client)
    bucket.delete_object(Bucket="eodata", Key=f"Sentinel-1/{NAME}.SAFE/measurement/s1a-ew-grd-hh.tiff")
    with pytest.raises(ArchiveError, match=r"hh.tiff is not there"):
        get(found("cdse", s3=S3), tmp_path, client=client)
    monkeypatch.setenv("FRAZIL_CDSE_S3", "http://127.0.0.1:9")
    with pytest.raises(ArchiveError, match="after 4 attempts"):
        get(found("cdse", s3=S3), tmp_path / "b", client=client)
    with serving(lambda asked: Reply(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")) as server:
        monkeypatch.setenv("FRAZIL_CDSE_S3", server.address)
        with pytest.raises(CredentialsError, match="Check the keys"):
            get(found("cdse", s3=S3), tmp_path / "b", client=client)


def test_by_bucket_where_there_are_keys(archive: FakeArchive, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = archive.found(s3=S3)
    ways = {via: type(Archive(via=via).shipment(one)).__name__ for via in ("auto", "https", "s3")}  # type: ignore[arg-type]
    assert ways == {"auto": "InBucket", "https": "Nodes", "s3": "InBucket"}
    monkeypatch.delenv("FRAZIL_CDSE_S3_KEY")
    assert type(Archive().shipment(one)).__name__ == "Nodes"
    with pytest.raises(CredentialsError, match="FRAZIL_CDSE_S3_KEY"):
        Archive(via="s3").shipment(one)
    with pytest.raises(OptionError):
        Archive(via="pigeon")  # type: ignore[arg-type]


@pytest.mark.parametrize(("module", "source"), [("obstore", "s3"), ("pystac_client", "planetary")])
def test_without_the_extra_it_says_what_to_install(
    module: str, source: str, bucket: Any, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'frazil\[archive\]'"):
        if source == "s3":
            get(found("cdse", s3=S3), tmp_path, client=client, via="s3")
        else:
            frazil.find("@svalbard", "2025-02-01", source="planetary", client=client)


def test_receipts_survive_a_cut_line_and_two_writers(tmp_path: Path) -> None:
    (tmp_path / RECEIPTS).write_text('{"product": "a", "file": "x", "bytes": 5, "etag": "e"}\n{"product": "a", "by')
    first, second = Receipts(tmp_path), Receipts(tmp_path)
    first.add(product="a", file="y", bytes=7)
    second.add(product="b", file="z", bytes=9)
    assert [one.get("bytes") for one in first.lines()] == [5, 7, 9]
    assert first.fetched("a") == 12
    assert first.etags("a") == {"x": "e"}
    (tmp_path / RECEIPTS).unlink()
    (tmp_path / RECEIPTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        first.add(product="a")
    assert not (tmp_path / "elsewhere").exists()
