"""How products come from their archives: which files, from where, with which token.

The Copernicus Data Space gives single files of a product, over https with a token or out of its bucket with keys; ASF
zips, over https with a token; the Planetary Computer files of their own names, with a signature.

References:
    Copernicus Data Space documentation, APIs/OData (Nodes) and APIs/S3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args
from urllib.parse import quote

from frazil.errors import ArchiveError, OptionError, ProductError
from frazil.extras import installed
from frazil.net.addresses import check_address
from frazil.net.buckets import Bucket, bucket, split
from frazil.net.credentials import keys, service
from frazil.net.http import Client, Token
from frazil.providers.found import Found
from frazil.providers.manifest import Wanted, needed
from frazil.providers.origins import BucketFile, HttpFile, Origin
from frazil.providers.signatures import Signatures
from frazil.providers.tokens import CdseToken, EarthdataToken

Via = Literal["auto", "https", "s3"]
MANIFEST = "manifest.safe"
PART = ".part"  #: what folders end in that are being filled


class Shipment(Protocol):
    """How a product comes from its archive."""

    @property
    def folder(self) -> str:
        """Its name on the disk."""
        ...

    @property
    def first(self) -> tuple[str, ...]:
        """Files that must be there before the others are known."""
        ...

    def origin(self, name: str) -> Origin:
        """Where a file of it comes from; of a zip the zip itself."""
        ...

    def wanted(self, part: Path) -> list[Wanted]:
        """Its files; of a folder in which the `first` ones are.

        Raises:
            ArchiveError, ProductError: they are not those of a product.
        """
        ...


@dataclass(frozen=True, eq=False)
class Archive:
    """What downloads share: one client, one token for each archive, one way to wait.

    Attributes:
        client: asks.
        via: https or the bucket, of the Copernicus Data Space.
    """

    client: Client = field(default_factory=Client)
    via: Via = "auto"

    def __post_init__(self) -> None:
        if self.via not in get_args(Via):
            raise OptionError(f"via {self.via!r} is not one of {list(get_args(Via))}.")
        object.__setattr__(self, "_cdse", CdseToken(self.client))
        object.__setattr__(self, "_earthdata", EarthdataToken(self.client))
        object.__setattr__(self, "_signatures", Signatures(self.client))

    _cdse: Token = field(init=False, repr=False)
    _earthdata: Token = field(init=False, repr=False)
    _signatures: Signatures = field(init=False, repr=False)

    def shipment(self, one: Found) -> Shipment:
        """How a product comes.

        Raises:
            CredentialsError, OptionError: keys or addresses that are missing or wrong.
        """
        if one.source == "asf":
            return Zip(one, self.client, self._earthdata)
        if one.source == "planetary":
            return Assets(one, self.client, self._signatures)
        if self._by_bucket(one):
            name, key = split(one.s3)
            return InBucket(one, bucket(name), key)
        base = f"{service('cdse', 'download')}/Products({one.id})/Nodes({one.name}.SAFE)"
        return Nodes(one, base, self.client, self._cdse)

    def _by_bucket(self, one: Found) -> bool:
        if self.via != "auto":
            return self.via == "s3"
        host = re.sub(r"^https?://([^/:]+).*", r"\1", service("cdse", "s3"))
        return bool(one.s3) and installed("obstore") and keys("cdse", host=host) is not None


@dataclass(frozen=True, eq=False)
class _Folder:
    """A product folder, whose manifest tells its files."""

    one: Found

    @property
    def first(self) -> tuple[str, ...]:
        """As `Shipment.first`."""
        return (MANIFEST,)

    @property
    def folder(self) -> str:
        """As `Shipment.folder`."""
        return f"{self.one.name}.SAFE"

    def wanted(self, part: Path) -> list[Wanted]:
        """As `Shipment.wanted`."""
        data = (part / MANIFEST).read_bytes()
        try:
            return [Wanted(MANIFEST, len(data), ""), *needed(data, self.one.name)]
        except ProductError:
            if part.suffix == PART:
                (part / MANIFEST).unlink()  # a page of an error, for instance: the next run asks anew
            raise


@dataclass(frozen=True, eq=False)
class Nodes(_Folder):
    """Files at addresses of OData."""

    base: str
    client: Client
    token: Token

    def origin(self, name: str) -> Origin:
        """As `Shipment.origin`."""
        nodes = "/".join(f"Nodes({quote(part)})" for part in name.split("/"))
        return HttpFile(f"{self.base}/{nodes}/$value", self.client, self.token)


@dataclass(frozen=True, eq=False)
class InBucket(_Folder):
    """Files in a bucket."""

    where: Bucket
    key: str

    def origin(self, name: str) -> Origin:
        """As `Shipment.origin`."""
        return BucketFile(self.where, f"{self.key}/{name}")


@dataclass(frozen=True, eq=False)
class Assets:
    """Files of names of their own, without checksums."""

    one: Found
    client: Client
    signatures: Signatures
    first: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """As `Shipment.folder`."""
        return f"{self.one.name}.SAFE"

    def origin(self, name: str) -> Origin:
        """As `Shipment.origin`."""
        return HttpFile(self.signatures.signed(check_address(dict(self.one.files)[name])), self.client)

    def wanted(self, part: Path) -> list[Wanted]:
        """As `Shipment.wanted`."""
        del part
        names = sorted(name for name, _ in self.one.files)
        if not any(n.startswith("measurement/") for n in names) or any(".." in n.split("/") for n in names):
            raise ArchiveError(f"{self.one.name} has no measurement at its archive. Take it from another one.")
        return [Wanted(name, None, "") for name in names]


@dataclass(frozen=True, eq=False)
class Zip:
    """One file, read as it is."""

    one: Found
    client: Client
    token: Token
    first: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """As `Shipment.folder`."""
        return f"{self.one.name}.zip"

    def origin(self, name: str) -> Origin:
        """As `Shipment.origin`."""
        del name
        return HttpFile(check_address(self.one.href), self.client, self.token)

    def wanted(self, part: Path) -> list[Wanted]:
        """As `Shipment.wanted`."""
        del part
        return [Wanted(self.folder, self.one.size, self.one.md5)]
