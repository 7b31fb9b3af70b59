"""Prior knowledge in a map: what a concentration map, a chart or another map says of a place, put together with radar.

Bayes on the odds of ice against water, pixel by pixel::

    odds after = odds of the network × (odds of the prior) ^ weight

The probabilities of a network are taken as given with an even prior, ice and water as likely before it looked. What a
network is sure of a prior hardly moves, and where it cannot tell the prior decides.

A prior is seen through three veils. Its concentration is smoothed by its own resolution and by the drift of the ice
between its time and that of the scene. The probability of ice at a pixel follows from the smoothed concentration c as
e + (1 − 2e) c, so that no place is ice or water for certain. And that uncertainty e grows with the age of the prior
towards one half, where a prior tells nothing. The numbers below are set by hand from what is published of the products,
not fitted to any data.

References:
    Lavergne, T., et al. (2019), Version 2 of the EUMETSAT OSI SAF and ESA CCI sea-ice concentration climate data
    records, The Cryosphere 13, 49–78. doi:10.5194/tc-13-49-2019.
    Spreen, G., Kaleschke, L., Heygster, G. (2008), J. Geophys. Res. 113, C02S03. doi:10.1029/2005JC003384.
    Cavalieri, D. J., et al. (1984), Determination of sea ice parameters with the NIMBUS 7 SMMR, J. Geophys. Res. 89,
    5355–5369. doi:10.1029/JD089iD04p05355.
    Leppäranta, M. (2011), The Drift of Sea Ice, 2nd edition, Springer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from frazil import __version__
from frazil.answer import CONFIDENCE_PERCENT, answers
from frazil.conventions import PERCENT_NODATA, QUALITY_FLAGS, UNDECIDED, check_ice_map, flag_attrs
from frazil.dates import date_made
from frazil.errors import OptionError
from frazil.maps.areas import PixelAreas
from frazil.maps.netcdf import open_map
from frazil.maps.prior_files import MAX_AGE_DAYS, as_reference, check_age, check_numbers, nothing_told
from frazil.maps.rasters import Raster, RasterReference
from frazil.maps.references import Reference, map_time, shown_name
from frazil.percent import whole_percents
from frazil.scene.grid import MapGrid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from frazil.labels.classes import LabelOptions

_OLD_H = 36.0  # beyond it a map says how old its prior is; and the age of a prior that does not tell its time
_DRIFT_KM_A_DAY = 15.0  # 10 to 20 km are usual (Leppäranta 2011)
_FARTHEST_DRIFT_KM = 100.0
_FORGOTTEN_H = 120.0  # the odds of a place lose their worth over some days, as weather does
_SUREST_PERCENT = 99.75  # a network's 100 stands for 99.5 and more, its 0 for less than 0.5
_ROWS = 256  # at a time
_ANSWERS = ("water", "ice", "undecided")
_BIT = {name: np.uint16(mask) for name, (mask, _) in QUALITY_FLAGS.items()}


@dataclass(frozen=True)
class _Trust:
    """How far a kind of product is trusted.

    Attributes:
        uncertainty: probability of ice where a fresh one says water, and the reverse.
        blur_m: standard deviation of the place of what it shows, metres; None: half its cell.
    """

    uncertainty: float
    blur_m: float | None = None


_TRUST = {
    "osisaf": _Trust(0.12),  # 10 to 15 % in the marginal zone (Lavergne et al. 2019)
    "amsr2": _Trust(0.15),  # up to 25 % at low, below 10 % at high concentration (Spreen et al. 2008)
    "nsidc": _Trust(0.15),  # NASA Team: 5 % in winter, 15 % where it melts (Cavalieri et al. 1984 and NSIDC's guides)
    "concentration": _Trust(0.15),  # of an algorithm that is not known: as the coarser of those above
    "chart": _Trust(0.10, 2500.0),  # written in tenths, borders drawn to 1–5 km
    "polygons": _Trust(0.05, 500.0),  # somebody has looked at an image of just this place
    "classes": _Trust(0.10),  # whoever made it: wrong as often as good maps of radar are
    "map": _Trust(0.10),  # its own probabilities hold its doubts; the rest is what all radar maps mistake alike
}


def fuse_prior(
    ice_map: xr.Dataset | str | os.PathLike[str],
    prior: str | os.PathLike[str] | xr.Dataset | gpd.GeoDataFrame | Reference,
    *,
    weight: float = 1.0,
    kind: str | None = None,
    labels: LabelOptions | None = None,
    variable: str | None = None,
    max_age_days: float | None = MAX_AGE_DAYS,
) -> xr.Dataset:
    """A map put together with prior knowledge of its place: a concentration map, a chart, polygons, another map.

    Odds of ice against water are multiplied with those of the prior to the power of its weight (`frazil.maps.prior`
    says how they follow from its concentration, resolution, kind and age); the network's are taken as given with an
    even prior. Classes of ice keep their proportions; where the network gives ice less than half a percent, so that
    they have none, they share alike. Answers are then made anew by `frazil.answer.answers`, with the confidence that
    the map was made with. Where the prior tells nothing, on land and where nothing was observed nothing changes.

    Args:
        ice_map: a map on a projected grid without a prior, its folder or its NetCDF file.
        prior: a file that `frazil.compare` takes as a reference, a map, a table of polygons, or an opened reference
            (`frazil.maps.references.open_reference`); ``kind``, ``labels`` and ``variable`` do not count for the last.
        weight: 0 (nothing changes) to 4; above 1 the prior counts for more than its uncertainty says, below for less.
        kind: what the prior is, one of `frazil.maps.references.KINDS`; None to find out.
        labels: class column, meanings, layer and CRS of polygons and class rasters.
        variable: of a NetCDF file with several concentrations, the one to take.
        max_age_days: a prior further than this from the scene in time is refused; None: none is.

    Returns:
        A new map. Flag ``undecided`` is made anew, flag ``prior_changed`` marks pixels whose answer (water, ice,
        undecided) differs from that without the prior. Attributes: those of `frazil.conventions.prior_attrs` and a
        sentence in front of ``note``. With weight 0 the map as it is, without them.

    Raises:
        ProductNotFoundError, ProductError, ContractError: no map there, or not on a projected grid.
        LabelNotFoundError, LabelError: the prior is missing, not readable, too old, holds nothing, or tells nothing of
            the sea of the map.
        OptionError: an impossible weight or age, an unknown kind, or a map that rests on a prior already.

    Example:
        >>> from frazil.testing import make_map
        >>> ice_map, week_before = make_map(seed=1), make_map(seed=2, start_time="2018-01-14T07:54:30Z")
        >>> fused = fuse_prior(ice_map, week_before)
        >>> fused.attrs["prior_kind"], fused.attrs["prior_weight"]
        ('map', 1.0)
    """
    if isinstance(ice_map, (str, os.PathLike)):
        ice_map = open_map(ice_map)
    check_ice_map(ice_map)
    grid = MapGrid.of(ice_map)
    check_numbers(weight, max_age_days)
    if ice_map.attrs.get("prior"):
        raise OptionError(
            f"The map of {ice_map.attrs['product']} rests on a prior already, {ice_map.attrs['prior']}; evidence is "
            "not added twice. Pass the map that was made without one."
        )
    reference = as_reference(prior, ice_map, kind, labels, variable)
    age_h = check_age(reference, ice_map, max_age_days)
    blur_m, uncertainty = _veils(reference, age_h)
    concentration = _smoothed(reference, ice_map, blur_m)
    sea = ice_map["ice_probability"].values != PERCENT_NODATA
    told = sea & np.isfinite(concentration)
    if sea.any() and not told.any():
        raise nothing_told(reference, ice_map)
    if weight == 0:
        return ice_map.copy()
    values, changed = _fused(ice_map, concentration, told, uncertainty, float(weight))
    out = ice_map.assign({name: ice_map[name].copy(data=data) for name, data in values.items()})
    out["quality_flags"].attrs = {**ice_map["quality_flags"].attrs, **flag_attrs()}
    area = PixelAreas(grid).by_code(changed)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    name = shown_name(reference)
    attrs: dict[str, object] = {
        "prior": name,
        "prior_kind": reference.kind,
        "prior_time": str(reference.time or "not known"),
        **({} if age_h is None else {"prior_age_h": round(age_h, 2)}),
        "prior_weight": float(weight),
        "prior_smoothing_km": round(blur_m / 1000, 3),
        "prior_uncertainty": round(uncertainty, 4),
        **{f"prior_{_ANSWERS[i]}_to_{_ANSWERS[j]}_km2": round(float(area[3 * i + j]), 3) for i, j in pairs},
    }
    moved = sum(float(area[3 * i + j]) for i, j in pairs)
    sentence = (
        f"The map rests also on prior knowledge from {name} ({reference.kind}, {attrs['prior_time']}, weight "
        f"{weight:g}), which changed the answer on {moved:.{0 if moved >= 100 else 2}f} km²."
    )
    said = [sentence, *_warnings(reference, ice_map, age_h), str(ice_map.attrs.get("note") or "")]
    history = f"{date_made():%Y-%m-%dT%H:%M:%SZ} frazil {__version__} fuse_prior {name}"
    return out.assign_attrs(
        **attrs,
        note=" ".join(filter(None, said)),
        history="\n".join(filter(None, [str(ice_map.attrs.get("history", "")), history])),
    )


def _veils(reference: Reference, age_h: float | None) -> tuple[float, float]:
    """The standard deviation that a prior is smoothed by, metres, and its uncertainty, by kind and age."""
    trust = _TRUST.get(reference.kind, _TRUST["concentration"])
    age = _OLD_H if age_h is None else age_h
    own = _cell_m(reference) / 2 if trust.blur_m is None else trust.blur_m
    # ice drifts in a direction that is not known: per axis the distance over √2
    drift_km = min(_DRIFT_KM_A_DAY * age / 24, _FARTHEST_DRIFT_KM)
    blur = float(np.hypot(own, 1000 * drift_km / np.sqrt(2)))
    return blur, 0.5 - (0.5 - trust.uncertainty) * float(np.exp(-age / _FORGOTTEN_H))


def _cell_m(reference: Reference) -> float:
    """Size of the cells of a raster, metres; along the meridian for those in degrees; 0 for what has none."""
    if not isinstance(reference, RasterReference):
        return 0.0
    t, crs = reference.raster.transform, reference.raster.crs
    if crs.is_geographic:
        return abs(t.e) * 111_195.0
    return float(np.sqrt(abs(t.determinant))) * float(crs.axis_info[0].unit_conversion_factor or 1.0)


def _smoothed(reference: Reference, ice_map: xr.Dataset, blur_m: float) -> np.ndarray:
    """Concentration on the grid of a map, smoothed by a Gaussian: float32 percent, NaN where the prior is silent.

    Missing places get no weight. The Gaussian works on means over blocks of a quarter of its standard deviation, on a
    grid that goes three of them beyond the map, so that it costs as little for large ones as for small ones.
    """
    import xarray as xr

    here = reference.concentration_on(ice_map)
    grid = MapGrid.of(ice_map)
    if blur_m < grid.spacing_m / 2 or not np.isfinite(here).any():
        return here
    side = max(1, int(blur_m / 4 / grid.spacing_m))  # of a block, in pixels of the map
    step = max(1, side // 4)  # a sample every so many
    samples = side // step
    block_m = samples * step * grid.spacing_m
    around = int(np.ceil(3 * blur_m / block_m))
    rows, columns = (-(-n // (samples * step)) + 2 * around for n in grid.shape)
    left, top = grid.left - around * block_m, grid.top + around * block_m
    fine = replace(grid, left=left, top=top, spacing_m=step * grid.spacing_m, shape=(rows * samples, columns * samples))
    sampled = reference.concentration_on(xr.Dataset(coords=fine.coords(), attrs=ice_map.attrs))
    blocks = sampled.reshape(rows, samples, columns, samples)
    parts = [np.isfinite(blocks).sum(axis=(1, 3)), np.nansum(blocks, axis=(1, 3), dtype=np.float64)]
    count, total = (
        ndimage.gaussian_filter(part.astype(np.float64), blur_m / block_m, mode="constant", truncate=3.0)
        for part in parts
    )
    mean = np.full(count.shape, np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 1e-6, casting="same_kind")
    coarse = replace(grid, left=left, top=top, spacing_m=block_m, shape=(rows, columns))
    raster = Raster(crs=grid.pyproj_crs, transform=coarse.transform, values=mean)
    out = RasterReference(name="", kind="concentration", time=None, says="", raster=raster).concentration_on(ice_map)
    out[np.isnan(here)] = np.nan
    return out


def ice_odds_percent(ice_percent: np.ndarray, prior: np.ndarray, weight: float) -> np.ndarray:
    """Whole percents of ice, uint8, from those of a network and the probability of ice of a prior, above 0, below 1.

    A network's 0 and 100 stand for a quarter of a percent and 99.75: they were rounded.
    """
    own = np.clip(ice_percent.astype(np.float64), 100 - _SUREST_PERCENT, _SUREST_PERCENT) / 100
    logit = np.log(own / (1 - own)) + weight * np.log(prior / (1 - prior))
    return np.rint(100 / (1 + np.exp(-logit))).astype(np.uint8)


def _fused(
    ice_map: xr.Dataset, concentration: np.ndarray, told: np.ndarray, uncertainty: float, weight: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The variables of a map with a prior, and three times the answer before plus that after; 255 where not told."""
    names = ("probability", "ice_probability", "ice_class", "confidence", "quality_flags")
    out = {name: ice_map[name].values.copy() for name in names}
    out["quality_flags"] = out["quality_flags"].astype(np.uint16)
    asked = float(ice_map.attrs.get("confidence_percent", CONFIDENCE_PERCENT))
    changed = np.full(told.shape, 255, np.uint8)
    for start in range(0, len(told), _ROWS):
        rows = slice(start, start + _ROWS)
        here = told[rows]
        if not here.any():
            continue
        old = out["probability"][:, rows][:, here]
        p = uncertainty + (1 - 2 * uncertainty) * concentration[rows][here].astype(np.float64) / 100
        ice = ice_odds_percent(np.uint8(100) - old[0], p, weight)
        kinds = old[1:].copy()
        kinds[:, ~kinds.any(axis=0)] = 1
        new = np.concatenate([(np.uint8(100) - ice)[None], whole_percents(kinds[:, None], ice[None])[:, 0]])
        before = _of_answers(answers(old, asked)[0])
        code, confidence, ice = answers(new, asked)
        after = _of_answers(code)
        flags = out["quality_flags"][rows][here] & ~(_BIT["undecided"] | _BIT["prior_changed"])
        flags |= np.where(code == UNDECIDED, _BIT["undecided"], np.uint16(0))
        flags |= np.where(before != after, _BIT["prior_changed"], np.uint16(0))
        out["probability"][:, rows][:, here] = new
        out["ice_probability"][rows][here] = ice
        out["ice_class"][rows][here] = code
        out["confidence"][rows][here] = confidence
        out["quality_flags"][rows][here] = flags
        changed[rows][here] = 3 * before + after
    return out, changed


def _of_answers(codes: np.ndarray) -> np.ndarray:
    """Water 0, ice 1, undecided 2."""
    return np.where(codes == UNDECIDED, np.uint8(2), np.minimum(codes, 1)).astype(np.uint8)


def _warnings(reference: Reference, ice_map: xr.Dataset, age_h: float | None) -> list[str]:
    """What a reader of the map must know of its prior."""
    if age_h is None:
        who = "the prior" if reference.time is None else "the scene"
        return [f"The time of {who} is not known: the prior is taken as {_OLD_H:g} h old."]
    if age_h > _OLD_H:
        return [f"The prior lies {age_h:.0f} h from the scene, in which ice drifts, grows and melts."]
    if reference.kind == "map" and reference.time == map_time(ice_map):
        return ["The prior is a map of the same scene: the same evidence has counted twice."]
    return []
