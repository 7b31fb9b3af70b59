"""A chart as a folder: SIGRID-3, S-411, GeoPackage, KML, pages to print, and a summary."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.charts.colours import COLOUR_CODES
from frazil.charts.fgdc import Issuer
from frazil.charts.geopackage import write_geopackage
from frazil.charts.kml import write_kml
from frazil.charts.page import Paper, draw_chart
from frazil.charts.s411 import VERSIONS, write_s411
from frazil.charts.sigrid3_files import LONLAT, write_sigrid3
from frazil.errors import OptionError, OutputError
from frazil.files import whole_output

if TYPE_CHECKING:
    import geopandas as gpd

NOT_FOR_NAVIGATION = "Not for navigation"
FORMATS = ("sigrid3", "s411", "gpkg", "kml", "pdf", "png")


@dataclass(frozen=True, kw_only=True)
class ChartFiles:
    """What a chart is written as.

    Attributes:
        formats: of `FORMATS`.
        edition: of SIGRID-3.
        s411: version of S-411: ``"1.1.0"``, or the draft ``"1.2.1"``.
        crs: of SIGRID-3's coordinates.
        region: for names of files and metadata.
        issuer: who issues it.
        paper: of pages.
        page_crs: projection of pages; that of the chart by default, ``"north-up"`` around its middle.
        extent: west, south, east, north of pages, degrees; the chart by default.
        backdrop: a GeoTIFF whose first band shows through the colours of pages.
        title: of pages.
        warning: on pages, in metadata and the summary; ``""`` where an analyst has approved the chart.
    """

    formats: Sequence[str] = FORMATS
    edition: str = "3.1"
    s411: str = VERSIONS[0]
    crs: str = LONLAT
    region: str = "scene"
    issuer: Issuer = field(default_factory=Issuer)
    paper: Paper = "A4"
    page_crs: str | None = None
    extent: tuple[float, float, float, float] | None = None
    backdrop: str | None = None
    title: str = "Sea-ice chart"
    warning: str = NOT_FOR_NAVIGATION

    def __post_init__(self) -> None:
        strange = [name for name in self.formats if name not in FORMATS]
        if strange or not self.formats:
            raise OptionError(f"formats {', '.join(map(repr, strange)) or 'are none'}; choose from {list(FORMATS)}.")
        if self.s411 not in VERSIONS:
            raise OptionError(f"S-411 version {self.s411!r} is not one of {list(VERSIONS)}.")


def export_chart(
    chart: gpd.GeoDataFrame,
    folder: str | os.PathLike[str],
    *,
    files: ChartFiles | None = None,
    edge: gpd.GeoDataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a chart as a folder; it appears whole or not at all.

    ``sigrid3/`` and ``s411/`` hold files under the names of their standards; beside them ``chart.gpkg`` (styled for
    QGIS), ``chart.kml``, a page for each colour code (``concentration.pdf``, ``stage.png`` …) and ``summary.json``.

    Args:
        chart: of `frazil.make_chart` or `frazil.read_chart`.
        folder: to write.
        files: which, and how.
        edge: lines of the ice edge (`frazil.ice_edge`).
        overwrite: replace a folder that frazil wrote.

    Raises:
        OptionError, LabelError: as the writers of the formats.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    f = files or ChartFiles()
    with whole_output(folder, overwrite=overwrite) as part:
        part.mkdir()
        try:
            if "sigrid3" in f.formats:
                inner = _made(part / "sigrid3")
                options: dict[str, Any] = {"region": f.region, "issuer": f.issuer, "edge": edge}
                write_sigrid3(chart, inner, edition=f.edition, crs=f.crs, use=_use(f.warning), **options)
            if "s411" in f.formats:
                inner = _made(part / "s411")
                write_s411(chart, inner, version=f.s411, edge=edge, region=f.region, issuer=f.issuer)
            if "gpkg" in f.formats:
                write_geopackage(chart, part / "chart.gpkg", edge)
            if "kml" in f.formats:
                write_kml(chart, part / "chart.kml")
        except (DataSourceError, DataLayerError, FeatureError) as error:
            raise OutputError(f"Cannot write {folder}: {error}. Free the space or choose another folder.") from error
        named = "" if f.issuer.organisation == "unknown" else f.issuer.organisation
        for suffix in ("pdf", "png"):
            for code in COLOUR_CODES if suffix in f.formats else ():
                draw_chart(
                    chart,
                    part / f"{code}.{suffix}",
                    colour_code=code,
                    paper=f.paper,
                    crs=f.page_crs,
                    extent=f.extent,
                    backdrop=f.backdrop,
                    title=f.title,
                    issuer=named,
                    warning=f.warning,
                    edge=edge,
                )
        (part / "summary.json").write_text(json.dumps(summary(chart, f), indent=2) + "\n", encoding="utf-8")
    return Path(folder)


def summary(chart: gpd.GeoDataFrame, files: ChartFiles) -> dict[str, Any]:
    """What a chart holds: polygons and areas by type, areas by total concentration, editions, sources."""
    area = chart.get("area_km2")
    found: dict[str, Any] = {
        "polygons": len(chart),
        "polygons_by_type": {str(k): int(n) for k, n in chart["POLY_TYPE"].value_counts().sort_index().items()},
    }
    if area is not None:
        sea = chart["POLY_TYPE"].isin(["I", "W"])
        found["area_km2_by_type"] = _rounded(area.groupby(chart["POLY_TYPE"]).sum())
        found["area_km2_by_concentration"] = _rounded(area[sea].groupby(chart["CT"][sea]).sum())
    kept = ("product", "start_time", "stop_time", "model", "class_scheme", "attribution", "note")
    return {
        **found,
        **{name: chart.attrs[name] for name in kept if name in chart.attrs},
        "sigrid3_edition": files.edition if "sigrid3" in files.formats else None,
        "s411_version": f"{files.s411}{', draft' * (files.s411 != VERSIONS[0])}, not signed"
        if "s411" in files.formats
        else None,
        "warning": files.warning or None,
    }


def _rounded(values: Any) -> dict[str, float]:
    return {str(k): round(float(v), 3) for k, v in values.items()}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _use(warning: str) -> str:
    return f"{warning}. Made from radar by a model, without an analyst." if warning else "Sea-ice information."
