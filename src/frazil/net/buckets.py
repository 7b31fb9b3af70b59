"""Buckets that speak S3: where a bucket is asked, with which keys, by obstore and by GDAL.

``eodata`` is the one of the Copernicus Data Space, with keys of its own (`frazil.net.credentials.keys`). All others are
looked for as Amazon's tools do, by the variables ``AWS_…`` of the environment; without keys they are asked unsigned.

References:
    Copernicus Data Space documentation, APIs/S3 (endpoint, region ``default``, path style). GDAL, /vsis3/.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from frazil.errors import ArchiveError, CredentialsError, MissingDependencyError, OptionError, printable
from frazil.net.addresses import check_address
from frazil.net.credentials import Login, Secret, keys, service

EODATA = "eodata"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Where a bucket is.

    Attributes:
        name: of the bucket.
        endpoint: address of the server, or None for Amazon's own.
        region: as the server calls it.
        keys: access key and secret key, or None to ask unsigned.
    """

    name: str
    endpoint: str | None
    region: str
    keys: Login | None

    @property
    def host(self) -> str:
        """The server, for messages."""
        return str(urlsplit(self.endpoint).hostname) if self.endpoint else "s3.amazonaws.com"


def bucket(name: str) -> Bucket:
    """The bucket of a name, as the user has set it up.

    Raises:
        OptionError: no name of a bucket, or an endpoint that is not asked.
        CredentialsError: the keys that it needs are not set.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"{printable(name)!r} is no name of a bucket. Write s3://BUCKET/FOLDER/NAME.SAFE.")
    env = os.environ.get
    if name == EODATA:
        endpoint = service("cdse", "s3")
        host = str(urlsplit(endpoint).hostname)
        found = keys("cdse", host=host)
        if found is None:
            raise CredentialsError(
                f"Bucket {EODATA} at {host} needs keys, and none are set. Make a pair at "
                "https://eodata-s3keysmanager.dataspace.copernicus.eu and set FRAZIL_CDSE_S3_KEY and "
                "FRAZIL_CDSE_S3_SECRET."
            )
        return Bucket(name=name, endpoint=endpoint, region="default", keys=found)
    given = env("AWS_ENDPOINT_URL_S3") or env("AWS_ENDPOINT_URL")
    key, secret = env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")
    return Bucket(
        name=name,
        endpoint=None if not given else check_address(given).rstrip("/"),
        region=env("AWS_REGION") or env("AWS_DEFAULT_REGION") or "us-east-1",
        keys=Login(user=key, password=Secret(secret)) if key and secret else None,
    )


def split(address: str) -> tuple[str, str]:
    """Bucket and key of ``s3://BUCKET/KEY`` or of ``/BUCKET/KEY``, as catalogues write it.

    Raises:
        OptionError: it is neither, or the key climbs.
    """
    name, _, key = re.sub(r"^(?i:s3://)|^/", "", address).partition("/")
    key = key.strip("/")
    if not name or not key or {"..", "."} & set(key.split("/")):
        raise OptionError(f"{printable(address)[:300]} is no address in a bucket. Write s3://BUCKET/FOLDER/NAME.SAFE.")
    return name, key


def open_store(where: Bucket) -> Any:
    """The bucket, by obstore; what fails is tried again by our own patience, not by its.

    Raises:
        MissingDependencyError: obstore is not installed.
    """
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "Buckets are read by obstore, which is not installed. Install frazil with its extra: "
            "pip install 'frazil[archive]'."
        ) from None
    config: Any = {"region": where.region, "virtual_hosted_style_request": where.endpoint is None}
    if where.endpoint is not None:
        config["endpoint"] = where.endpoint
    if where.keys is None:
        config["skip_signature"] = True
    else:
        config |= {"access_key_id": where.keys.user, "secret_access_key": where.keys.password.reveal()}
    options: Any = {"timeout": "10 min", "connect_timeout": "30s"}
    if (where.endpoint or "").startswith("http://"):  # of this machine, or `check_address` had refused it
        options["allow_http"] = True
    return S3Store(where.name, config=config, client_options=options, retry_config={"max_retries": 0})


def gdal_options(where: Bucket) -> dict[str, str]:
    """What GDAL must know to read ``/vsis3/`` of this bucket; holds the keys."""
    options = {"AWS_REGION": where.region, "AWS_VIRTUAL_HOSTING": "TRUE" if where.endpoint is None else "FALSE"}
    if where.endpoint is not None:
        parts = urlsplit(where.endpoint)
        options |= {
            "AWS_S3_ENDPOINT": parts.netloc + parts.path,
            "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        }
    if where.keys is None:
        return options | {"AWS_NO_SIGN_REQUEST": "YES"}
    secret = where.keys.password.reveal()
    return options | {
        "AWS_ACCESS_KEY_ID": where.keys.user,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_NO_SIGN_REQUEST": "NO",
    }


def told(error: BaseException, where: Bucket, key: str) -> ArchiveError | CredentialsError | None:
    """The error of obstore in words; None where the same request may succeed later."""
    from obstore.exceptions import NotFoundError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    what = f"s3://{where.name}/{printable(key)}"
    if isinstance(error, (NotFoundError, FileNotFoundError)):
        return ArchiveError(f"{what} is not there (asked at {where.host}).")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or re.search(r"\b(401|403)\b", str(error)):
        return CredentialsError(
            f"{where.host} refuses {what}. Check the keys: they may have expired, or the account may lack this right."
        )
    if isinstance(error, PreconditionError):
        return ArchiveError(f"{what} was replaced on the server while it was read. Run the command again.")
    return None
