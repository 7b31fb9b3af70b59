"""What an analyst says of the places where map and chart differ, kept as a GeoPackage that QGIS opens.

One row a polygon, in the CRS of the map: what differs, area, the map's confidence, verdict, comment, who said it, when.
A polygon that is judged again keeps the last verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.errors import OptionError, OutputError
from frazil.files import whole_output
from frazil.marks import WRITTEN_BY

if TYPE_CHECKING:
    import geopandas as gpd

#: Verdict -> words.
VERDICTS = {"map": "the map is right", "chart": "the chart is right", "unsure": "it cannot be told"}
LAYER = "review"
_WORDS = 2000


def judge(
    file: Path, disagreements: gpd.GeoDataFrame, number: Any, verdict: Any, comment: Any, author: str
) -> Mapping[str, int]:
    """Keep one verdict; how often each was given so far.

    Args:
        file: ``.gpkg``; verdicts that are in it stay.
        disagreements: of `frazil.desk.shapes.disagreements`.
        number: of one of them.
        verdict: one of `VERDICTS`.
        comment: text.
        author: who judges.

    Raises:
        OptionError: no such disagreement, no such verdict, or a comment that is too long.
        OutputError: the file could not be written; those that were in it are.
    """
    import geopandas as gpd
    import pandas as pd
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(disagreements):
        raise OptionError(f"Disagreement {number!r:.20} is not one of 0 to {len(disagreements) - 1}.")
    if verdict not in VERDICTS:
        raise OptionError(f"Verdict {verdict!r:.20} is not one of {list(VERDICTS)}.")
    if not isinstance(comment, str) or len(comment) > _WORDS:
        raise OptionError(f"A comment is text of at most {_WORDS} letters.")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    new = disagreements.iloc[[number]].assign(verdict=VERDICTS[verdict], comment=comment, author=author, judged=now)
    known = [gpd.read_file(file, layer=LAYER)] if file.exists() else []
    old = [frame[~frame.geometry.geom_equals(new.geometry.iloc[0])] for frame in known]
    rows = gpd.GeoDataFrame(pd.concat([*(f for f in old if len(f)), new], ignore_index=True), crs=new.crs)
    try:
        with whole_output(file, overwrite=True) as part:
            rows.to_file(part, layer=LAYER, engine="pyogrio", layer_metadata={"WRITTEN_BY": WRITTEN_BY})
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise OutputError(f"Cannot write {file}: {error}. Free the space; the verdict is not kept.") from error
    return dict(Counter(rows["verdict"]))
