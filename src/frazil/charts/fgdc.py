"""The metadata that SIGRID-3 asks for beside every set of shapes: FGDC CSDGM in XML.

References:
    FGDC-STD-001-1998, Content Standard for Digital Geospatial Metadata, sections 1 to 7: elements and their order.
    JCOMM Technical Report No. 23, SIGRID-3, version 3.1 (2017), chapter on metadata: which of them are mandatory.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frazil.charts.sigrid3 import Column

_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Who issues a chart; what is not told stands as "unknown".

    Attributes:
        code: in names of files: letters and digits.
        organisation, address, telephone, fax, email: for readers.
    """

    code: str = "frazil"
    organisation: str = _UNKNOWN
    address: str = _UNKNOWN
    telephone: str = _UNKNOWN
    fax: str = _UNKNOWN
    email: str = _UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the metadata of a set of shapes say.

    Attributes:
        title: name of its files, without suffix.
        edition: of SIGRID-3.
        bounds: west, south, east, north, degrees.
        observed: of the radar scene.
        written: of the chart.
        products: names of the radar products.
        model: that told the ice.
        crs: of the coordinates (pyproj).
        columns: of the .dbf file.
        shapes: ``"polygons"`` or ``"lines"``.
        region: name of the place.
        issuer: who issues it.
        use: what it may be used for.
        note: what the map says of itself, for instance that its pixels are simulated.
    """

    title: str
    edition: str
    bounds: tuple[float, float, float, float]
    observed: datetime
    written: datetime
    products: tuple[str, ...]
    model: str
    crs: Any
    columns: Sequence[Column]
    shapes: str
    region: str
    issuer: Issuer
    use: str
    note: str = ""


def metadata(d: Described) -> bytes:
    """The XML file, UTF-8; columns in the order of the .dbf file."""
    root = ET.Element("metadata")
    day, clock = f"{d.written:%Y%m%d}", f"{d.observed:%H%M%S}Z"
    _fill(
        root,
        "idinfo",
        [
            ("citation/citeinfo", [("origin", d.issuer.organisation), ("pubdate", day), ("title", d.title)]),
            (
                "descript",
                [
                    (
                        "abstract",
                        " ".join(filter(None, (f"Sea-ice chart ({d.shapes}) made by frazil from radar.", d.note))),
                    ),
                    ("purpose", d.use),
                ],
            ),
            (
                "timeperd",
                [
                    ("timeinfo/sngdate", [("caldate", f"{d.observed:%Y%m%d}"), ("time", clock)]),
                    ("current", "observed"),
                ],
            ),
            ("status", [("progress", "Complete"), ("update", "None planned")]),
            (
                "spdom/bounding",
                [
                    (name, f"{value:.6f}")
                    for name, value in zip(
                        ("westbc", "eastbc", "northbc", "southbc"), [d.bounds[k] for k in (0, 2, 3, 1)], strict=True
                    )
                ],
            ),
            (
                "keywords",
                [
                    ("theme", [("themekt", "WMO No. 259, Sea Ice Nomenclature"), ("themekey", "sea ice")]),
                    ("place", [("placekt", "none"), ("placekey", d.region)]),
                ],
            ),
            ("accconst", "none"),
            ("useconst", d.use),
            ("ptcontac", _contact(d.issuer)),
        ],
    )
    sources = [
        (
            "srcinfo",
            [
                ("srccite/citeinfo", [("origin", "radar product"), ("pubdate", _UNKNOWN), ("title", product)]),
                ("typesrc", "digital"),
                ("srctime", [("timeinfo/sngdate", [("caldate", f"{d.observed:%Y%m%d}"), ("time", clock)])]),
                ("srccontr", "all ice information"),
            ],
        )
        for product in d.products
    ]
    steps = [("procstep", [("procdesc", f"Classified by model {d.model}, merged into regions"), ("procdate", day)])]
    _fill(
        root,
        "dataqual",
        [
            ("logic", "Polygons are simple, closed, and tile what was observed without gaps or overlaps."),
            ("complete", "What the radar scene observed, land included. Forms of ice were not measured."),
            ("lineage", [*sources, *steps]),
        ],
    )
    _fill(root, "spref/horizsys", _reference(d.crs))
    labels = [
        (
            "attr",
            [
                ("attrlabl", c.name),
                ("attrdef", c.meaning),
                ("attrdefs", "JCOMM ETSI" if c.kind == "C" else "frazil"),
                (
                    "attrdomv",
                    [("codesetd", [("codesetn", "SIGRID-3"), ("codesets", f"JCOMM TR-23, edition {d.edition}")])]
                    if c.kind == "C"
                    else [("udom", c.meaning)],
                ),
            ],
        )
        for c in d.columns
    ]
    kind = [("enttypl", d.title), ("enttypd", f"{d.shapes} of a sea-ice chart"), ("enttypds", "JCOMM ETSI")]
    _fill(root, "eainfo/detailed", [("enttyp", kind), *labels])
    form = [
        ("formname", "SIGRID-3"),
        ("formvern", d.edition),
        ("formverd", {"3.1": "20170301"}.get(d.edition, "20100301")),
    ]
    _fill(
        root,
        "distinfo",
        [
            ("distrib", _contact(d.issuer)),
            ("distliab", d.use),
            ("stdorder", [("digform/digtinfo", form), ("fees", "none")]),
        ],
    )
    _fill(
        root,
        "metainfo",
        [
            ("metd", day),
            ("metc", _contact(d.issuer)),
            ("metstdn", "FGDC Content Standard for Digital Geospatial Metadata"),
            ("metstdv", "FGDC-STD-001-1998"),
        ],
    )
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _fill(parent: ET.Element, path: str, content: Any) -> None:
    """An element at the end of a path of new ones, with a text or a list of (path, content)."""
    for tag in path.split("/"):
        parent = ET.SubElement(parent, tag)
    if isinstance(content, str):
        parent.text = content
    else:
        for inner, what in content:
            _fill(parent, inner, what)


def _contact(issuer: Issuer) -> list[Any]:
    address = [("addrtype", "mailing"), ("address", issuer.address)]
    return [
        (
            "cntinfo",
            [
                ("cntorgp", [("cntorg", issuer.organisation)]),
                ("cntaddr", address),
                ("cntvoice", issuer.telephone),
                ("cntfax", issuer.fax),
                ("cntemail", issuer.email),
            ],
        )
    ]


def _reference(crs: Any) -> list[Any]:
    ellipsoid = crs.ellipsoid
    geodetic = [
        ("horizdn", crs.geodetic_crs.name),
        ("ellips", ellipsoid.name),
        ("semiaxis", f"{ellipsoid.semi_major_metre:.3f}"),
        ("denflat", f"{ellipsoid.inverse_flattening:.9f}"),
    ]
    if crs.is_geographic:
        place = [("latres", "0.000001"), ("longres", "0.000001"), ("geogunit", "Decimal degrees")]
        return [("geograph", place), ("geodetic", geodetic)]
    operation = crs.coordinate_operation
    parameters = [("otherprj", f"{crs.name}: " + ", ".join(f"{p.name} {p.value:g}" for p in operation.params))]
    return [("planar", [("mapproj", [("mapprojn", operation.method_name), *parameters])]), ("geodetic", geodetic)]
