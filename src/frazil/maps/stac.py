"""The STAC item of a map folder.

References:
    STAC specification 1.1.0 (2024): item, asset, bands, common metadata, licensing.
    STAC extensions: projection 2.0.0, classification 2.0.0, eo 1.1.0, file 2.1.0, sar 1.0.0, sat 1.0.0,
    processing 1.1.0.
    Multiformats, multihash: 0x12 is SHA-256, 0x20 its length in bytes.
    ESA, Sentinel-1 Product Specification (S1-RS-MDA-52-7441), section on naming.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from frazil.conventions import (
    CLASS_LAND,
    CLASS_NODATA,
    LAND_COLOUR,
    PERCENT_NODATA,
    QUALITY_FLAGS,
    UNDECIDED,
    UNDECIDED_COLOUR,
    UNDECIDED_NAME,
    UNDECIDED_TITLE,
    ClassScheme,
    check_map,
    sensor_of,
)
from frazil.dates import date_made
from frazil.geojson import to_lonlat
from frazil.maps.layers import TITLES, VECTORS, Kind, MapLayer, layers_of
from frazil.maps.times import moment_of
from frazil.scene.grid import MapGrid
from frazil.scene.quicklook import NODATA as NOT_SEEN
from frazil.scene.quicklook import bands_told

if TYPE_CHECKING:
    import pystac
    import xarray as xr

EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
SAR = "https://stac-extensions.github.io/sar/v1.0.0/schema.json"
SAT = "https://stac-extensions.github.io/sat/v1.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"

ITEM_FILE = "stac_item.json"
#: Id of the collection that maps of a kind belong to, of whatever folder.
COLLECTIONS: dict[Kind, str] = {"exclusive": "frazil-sea-ice", "multilabel": "frazil-phenomena"}
_URL = re.compile(r"https?://[^\s,;]+[^\s,;.]")
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_NAME = re.compile(
    r"(?P<mission>S1[A-D])_(?P<mode>S[1-6]|IW|EW|WV)_(?P<type>SLC|GRD|OCN)[FHM_]_[12]S(?P<polarization>SH|SV|DH|DV)_"
    r"\d{8}T\d{6}_\d{8}T\d{6}_(?P<orbit>\d{6})_"
)
_SUFFIX = {"exclusive": "sea_ice", "multilabel": "phenomena"}
_DESCRIPTION = {
    "exclusive": "Sea-ice classes, their probabilities and confidence, from {radar}.",
    "multilabel": "Phenomena of sea and air and their scores, from {radar}.",
}
_ROLES = {"flags": "data-mask", "quicklook": "visual"}
_SAID = ("note", "attribution")  # attributes of the map that stand in its description
_POLARIZATIONS = {"SH": ["HH"], "SV": ["VV"], "DH": ["HH", "HV"], "DV": ["VV", "VH"]}


def make_item(
    ds: xr.Dataset, files: Mapping[str, str], *, folder: Path | None = None, collection: str | None = None
) -> pystac.Item:
    """The STAC item that describes a folder of files made from a map.

    Rasters bear grid, data type, nodata and bands each by itself: readers of items take what has a grid for a raster,
    so that ``map.nc`` and the picture have none. Bands have names twice, as ``bands`` of STAC 1.1 and as ``eo:bands``,
    which programs made before it look for.

    The geometry is the convex hull of the observed pixels, cut at the antimeridian and closed over the pole as GeoJSON
    wants it; there the bounding box has a western limit larger than the eastern one, or spans all longitudes.

    Args:
        ds: a map, see `frazil.conventions.check_map`, on a projected grid.
        files: asset name (as `frazil.export` returns it) -> file name in the folder.
        folder: where the files lie, to tell their sizes and checksums; without it the item tells none.
        collection: file of the item's collection, beside the item; without it the item has none.

    Raises:
        OSError: a file is not in the folder.
    """
    import pystac
    import shapely

    scheme = check_map(ds)
    grid = MapGrid.of(ds)
    attrs = ds.attrs
    outline = footprint(ds, grid)
    projection, of_rasters = _projection(grid)
    start = moment_of(attrs["start_time"])
    stop = moment_of(attrs.get("stop_time", attrs["start_time"]))
    product = str(attrs["product"])
    radar = f"{sensor_of(attrs)} radar".lstrip()
    item = pystac.Item(
        id=f"{re.sub(r'[^A-Za-z0-9_.-]', '_', product)}_{_SUFFIX[scheme.kind]}",
        geometry=shapely.geometry.mapping(outline),
        bbox=bounding_box(outline),
        datetime=start,
        properties={
            "title": TITLES[scheme.kind].format(product=product),
            "description": " ".join(
                filter(None, [_DESCRIPTION[scheme.kind].format(radar=radar), *(attrs.get(n) for n in _SAID)])
            ),
            "created": date_made().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "start_datetime": start.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "end_datetime": stop.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            **projection,
            "gsd": grid.spacing_m,
            "license": "other",
            "providers": providers(attrs),
            **_processing(attrs),
        },
        stac_extensions=[PROJECTION, PROCESSING],
    )
    item.add_links(license_links(attrs))
    _describe_product(item, product)
    if attrs.get("sensor"):
        item.properties.setdefault("platform", str(attrs["sensor"]).lower().replace(" ", "-"))
    if any(layer.asset in files for layer in layers_of(ds, scheme.kind) if layer.holds in ("code", "bits")):
        item.stac_extensions.append(CLASSIFICATION)
    known = _assets(ds, scheme, of_rasters)
    for name, file in files.items():
        asset = pystac.Asset(href=f"./{Path(file).name}", **known[name])
        if folder is not None:
            asset.extra_fields |= _file_fields(folder / Path(file).name)
        item.add_asset(name, asset)
    if folder is not None:
        item.stac_extensions.append(FILE)
    if any("eo:bands" in asset.extra_fields for asset in item.assets.values()):
        item.stac_extensions.append(EO)
    if collection is not None:
        item.collection_id = COLLECTIONS[scheme.kind]
        for relation in ("root", "parent", "collection"):
            item.add_link(pystac.Link(relation, f"./{collection}", "application/json"))
    return item


def providers(attrs: Mapping[Any, Any]) -> list[dict[str, object]]:
    """Who made the data, who made the map, and who publishes it, as far as attributes of a map say."""
    from frazil import __version__

    made: list[dict[str, object]] = []
    if attrs.get("contributor_name"):
        made.append({"name": str(attrs["contributor_name"]), "roles": ["producer", "licensor"]})
    made.append({"name": "frazil", "description": f"frazil {__version__}, the program", "roles": ["processor"]})
    for word, role in (("creator", "processor"), ("publisher", "host")):
        name = attrs.get(f"{word}_name") or (attrs.get("institution") if word == "creator" else None)
        if name:
            url = {"url": str(attrs[f"{word}_url"])} if attrs.get(f"{word}_url") else {}
            made.append({"name": str(name), "roles": [role], **url})
    return made


def license_links(attrs: Mapping[Any, Any]) -> list[pystac.Link]:
    """Links to the terms that the attribute ``license`` of a map names by address; none where it names none."""
    import pystac

    return [
        pystac.Link("license", url, "text/html", title="Terms of the data")
        for url in _URL.findall(str(attrs.get("license", "")))
    ]


def _file_fields(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": f"1220{digest}"}


def footprint(ice_map: xr.Dataset, grid: MapGrid) -> Any:
    """Convex hull of the observed pixels in longitude and latitude; of the grid where nothing was observed."""
    import shapely

    observed = ice_map["quality_flags"].values & np.uint16(QUALITY_FLAGS["nodata"][0]) == 0
    rows = np.flatnonzero(observed.any(axis=1))
    first, last = observed[rows].argmax(axis=1), observed.shape[1] - observed[rows, ::-1].argmax(axis=1)
    if rows.size:
        corners = np.concatenate([np.column_stack([c, r]) for c in (first, last) for r in (rows, rows + 1)])
        hull = shapely.convex_hull(shapely.multipoints(corners.astype(float)))
        hull = shapely.simplify(hull, 2.0)  # two pixels: a hull of pixels has thousands of corners
    else:
        hull = shapely.box(0, 0, observed.shape[1], observed.shape[0])
    hull = shapely.transform(
        hull, lambda c: np.column_stack([grid.left + c[:, 0] * grid.spacing_m, grid.top - c[:, 1] * grid.spacing_m])
    )
    lonlat = to_lonlat(np.array([hull], dtype=object), grid.crs)[0]
    return shapely.simplify(lonlat, 1e-3)


def bounding_box(outline: Any) -> list[float]:
    """West, south, east, north of a shape cut at the antimeridian: west > east if it crosses (RFC 7946, 5.2)."""
    import shapely

    west, south, east, north = (float(v) for v in shapely.bounds(outline))
    parts = shapely.bounds(shapely.get_parts(outline))
    crosses = west == -180 and east == 180 and not ((parts[:, 0] == -180) & (parts[:, 2] == 180)).any()
    if crosses:
        west, east = float(parts[parts[:, 0] > -180, 0].min()), float(parts[parts[:, 2] < 180, 2].max())
    return [west, south, east, north]


def _projection(grid: MapGrid) -> tuple[dict[str, object], dict[str, object]]:
    """What is told of the whole item, and of each raster."""
    t = grid.transform
    authority = grid.pyproj_crs.to_authority()
    crs: dict[str, object] = {
        "proj:code": ":".join(authority) if authority else None,
        **({} if authority else {"proj:wkt2": grid.pyproj_crs.to_wkt()}),
    }
    shape = {"proj:shape": list(grid.shape), "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f]}
    return {**crs, "proj:bbox": list(grid.bounds)}, {**crs, **shape}


def _processing(attrs: Mapping[str, Any]) -> dict[str, object]:
    from frazil import __version__

    prior = f", with prior knowledge from {attrs['prior']}" if attrs.get("prior") else ""
    return {
        "processing:software": {"frazil": __version__},
        "processing:lineage": f"Classified by model {attrs['model']}{prior}",
    }


def _describe_product(item: pystac.Item, product: str) -> None:
    """What the name of a Sentinel-1 product tells; nothing if it is not such a name."""
    found = _NAME.match(product)
    if not found:
        return
    item.stac_extensions += [SAR, SAT]
    item.properties |= {
        "platform": f"sentinel-{found['mission'][1:].lower()}",
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "sar:instrument_mode": found["mode"],
        "sar:frequency_band": "C",
        "sar:center_frequency": 5.405,
        "sar:polarizations": _POLARIZATIONS[found["polarization"]],
        "sar:product_type": found["type"],
        "sat:absolute_orbit": int(found["orbit"]),
    }


class _Asset(TypedDict):
    title: str
    media_type: str
    roles: list[str]
    extra_fields: NotRequired[dict[str, object]]


def _assets(ds: xr.Dataset, scheme: ClassScheme, of_rasters: Mapping[str, object]) -> dict[str, _Asset]:
    """Asset name -> title, media type, roles and fields."""
    rasters: dict[str, _Asset] = {
        layer.asset: {
            "title": layer.title,
            "media_type": _COG,
            "roles": [_ROLES.get(layer.asset, "data")],
            "extra_fields": {**_raster_fields(layer, scheme, ds[layer.variable].attrs), **of_rasters},
        }
        for layer in layers_of(ds, scheme.kind)
    }
    vectors: dict[str, _Asset] = {
        asset: {"title": title, "media_type": media_type, "roles": ["data"]}
        for files in VECTORS[scheme.kind].values()
        for asset, (_, title, media_type) in files.items()
    }
    return {
        **rasters,
        "netcdf": {
            "title": "The whole map, CF-1.11 NetCDF-4",
            "media_type": "application/netcdf",
            "roles": ["data"],
        },
        **vectors,
        "figure": {"title": "Picture of the map", "media_type": "image/png", "roles": ["overview", "thumbnail"]},
        "project": {
            "title": "QGIS project",
            "media_type": "application/x-qgis-project-container",
            "roles": ["overview"],
        },
        "summary": {"title": "Areas, extent, flags", "media_type": "application/json", "roles": ["metadata"]},
    }


def _raster_fields(layer: MapLayer, scheme: ClassScheme, attrs: Mapping[Any, Any]) -> dict[str, object]:
    """What STAC says of the values of a raster, its bands by name."""
    fields = _value_fields(layer, scheme, attrs)
    fields.setdefault("bands", [{"name": layer.asset, "description": layer.title}])
    fields["eo:bands"] = [dict(band) for band in fields["bands"]]  # type: ignore[attr-defined] # the line above
    return fields


def _value_fields(layer: MapLayer, scheme: ClassScheme, attrs: Mapping[Any, Any]) -> dict[str, object]:
    if layer.holds == "radar":
        bands = [
            {"name": band.name, "description": f"{band.name}, {band.low_db:g} to {band.high_db:g} dB as 1 to 255"}
            for band in bands_told(attrs)
        ]
        return {"data_type": "uint8", "nodata": NOT_SEEN, "bands": bands}
    if layer.holds == "percent":
        fields: dict[str, object] = {"data_type": "uint8", "nodata": PERCENT_NODATA, "unit": "percent"}
        if layer.variable in ("probability", "score"):
            what = layer.variable.capitalize()
            fields["bands"] = [{"name": c.name, "description": f"{what} of {c.title.lower()}"} for c in scheme.classes]
        return fields
    if layer.holds == "bits":
        told = {name: (mask, meaning) for name, (mask, meaning) in QUALITY_FLAGS.items()}
        if layer.variable != "quality_flags":
            told = {c.name: (1 << c.code, c.title) for c in scheme.classes}
        fields = {"data_type": "uint16", "unit": "1", "classification:bitfields": _bitfields(told)}
        return {"nodata": QUALITY_FLAGS["nodata"][0], **fields} if layer.variable == "quality_flags" else fields
    codes = [
        *((c.code, c.name, c.title, c.colour) for c in scheme.classes),
        (UNDECIDED, UNDECIDED_NAME, UNDECIDED_TITLE, UNDECIDED_COLOUR),
        (CLASS_LAND, "land", "Land", LAND_COLOUR),
    ]
    classes: list[dict[str, object]] = [
        {"value": code, "name": name, "title": title, "color_hint": "{:02X}{:02X}{:02X}".format(*colour)}
        for code, name, title, colour in codes
    ]
    classes.append({"value": CLASS_NODATA, "name": "nodata", "nodata": True})
    return {"data_type": "uint8", "nodata": CLASS_NODATA, "classification:classes": classes}


def _bitfields(meanings: Mapping[str, tuple[int, str]]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "description": meaning,
            "offset": mask.bit_length() - 1,
            "length": 1,
            "classes": [
                {"value": 0, "name": "no", "description": f"not {name}"},
                {"value": 1, "name": name, "description": meaning},
            ],
        }
        for name, (mask, meaning) in meanings.items()
    ]
