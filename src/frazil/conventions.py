"""Names, units, classes and flags: the one table that every stage of frazil reads.

A *scene* is a Dataset on the radar grid ``(line, pixel)``; a *map* is a Dataset on a projected grid ``(y, x)``, or on
the radar grid if asked for. `check_scene` and `check_map` are the contract between the stages: other sensors join by
producing a Dataset that passes them.

References:
    CF conventions 1.11 (attributes, flag_values, flag_masks).
    WMO No. 1215 (2014), Ice Chart Colour Code Standard, table 2: colours by stage of development.
    JCOMM TR 23 (2014), SIGRID-3: stage-of-development codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from frazil.class_schemes import ClassScheme as ClassScheme
from frazil.class_schemes import MapClass as MapClass
from frazil.class_schemes import Schemes
from frazil.errors import ContractError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

CLASS_NODATA = 255  #: ``ice_class`` where nothing was observed
UNDECIDED = 253  #: ``ice_class`` where neither ice nor water is probable enough; ``dominant`` where no phenomenon is
CLASS_LAND = 254  #: ``ice_class`` on land
PERCENT_NODATA = 255  #: ``probability`` and ``confidence`` where there is no class
#: How thermal noise is removed from a scene: by the noise that its product states (Sentinel-1's own word for it is
#: ESA's), by that noise rescaled so that σ0 is continuous, or not at all.
Denoise = Literal["none", "esa", "balanced"]
#: How far the files of a product are checked to belong together: everything; everything, but checksums of measurement
#: only up to 64 MB; nothing.
Check = Literal["full", "quick", "none"]


WATER = MapClass(code=0, name="open_water", title="Open water", sigrid3=("02",), colour=(94, 158, 214))
BINARY = ClassScheme(
    name="binary",
    classes=(
        WATER,
        MapClass(code=1, name="sea_ice", title="Sea ice", sigrid3=("01", "83", "86", "95"), colour=(250, 250, 252)),
    ),
)
#: The five classes of Khaleghian (2022), paper 1, in WMO colours (water lightened so that it reads as water).
FIVE_CLASSES = ClassScheme(
    name="five_classes",
    classes=(
        WATER,
        MapClass(
            code=1,
            name="brash_pancake",
            title="Brash or pancake ice",
            sigrid3=("01", "70", "81"),
            colour=(240, 210, 250),
        ),
        MapClass(code=2, name="young_ice", title="Young ice", sigrid3=("83", "84", "85"), colour=(135, 60, 215)),
        MapClass(
            code=3,
            name="level_first_year_ice",
            title="Level first-year ice",
            sigrid3=("86", "87", "88", "89"),
            colour=(255, 255, 0),
        ),
        MapClass(
            code=4,
            name="deformed_ice",
            title="Old or deformed ice",
            sigrid3=("91", "93", "95", "96", "97"),
            colour=(180, 100, 50),
        ),
    ),
)
#: Stage of development as the AI4Arctic / AutoICE data sets group it, in WMO colours.
AI4ARCTIC = ClassScheme(
    name="ai4arctic",
    classes=(
        MapClass(code=0, name="open_water", title="Open water", sigrid3=("00", "55", "80"), colour=WATER.colour),
        MapClass(code=1, name="new_ice", title="New ice", sigrid3=("81", "82"), colour=(240, 210, 250)),
        MapClass(code=2, name="young_ice", title="Young ice", sigrid3=("83", "84", "85"), colour=(135, 60, 215)),
        MapClass(
            code=3,
            name="thin_first_year_ice",
            title="Thin first-year ice",
            sigrid3=("87", "88", "89"),
            colour=(155, 210, 0),
        ),
        MapClass(
            code=4,
            name="thick_first_year_ice",
            title="Thick first-year ice",
            sigrid3=("86", "91", "93"),
            colour=(0, 120, 0),
        ),
        MapClass(code=5, name="old_ice", title="Old ice", sigrid3=("95", "96", "97"), colour=(180, 100, 50)),
    ),
)
#: Schemes of sea ice.
CLASS_SCHEMES = Schemes.of((BINARY, FIVE_CLASSES, AI4ARCTIC))
LAND_COLOUR = (150, 150, 145)
#: What `UNDECIDED` is called, and how it is drawn.
UNDECIDED_NAME, UNDECIDED_TITLE, UNDECIDED_COLOUR = "undecided", "Undecided", (66, 76, 92)


def _phenomenon(code: int, name: str, title: str, colour: tuple[int, int, int]) -> MapClass:
    return MapClass(code=code, name=name, title=title, sigrid3=(), colour=colour)


#: The ten phenomena of Wang et al. (2019) in the order of Colin et al. (2022). Several may hold at one place, none may.
METOCEAN = ClassScheme(
    name="metocean",
    kind="multilabel",
    classes=(
        _phenomenon(0, "atmospheric_front", "Atmospheric front", (228, 26, 28)),
        _phenomenon(1, "biological_slick", "Biological slick", (77, 175, 74)),
        _phenomenon(2, "iceberg", "Iceberg", (255, 255, 255)),
        _phenomenon(3, "low_wind_area", "Low wind area", (55, 90, 160)),
        _phenomenon(4, "micro_convective_cells", "Micro-convective cells", (255, 127, 0)),
        _phenomenon(5, "oceanic_front", "Oceanic front", (240, 110, 190)),
        _phenomenon(6, "pure_ocean_waves", "Pure ocean waves", (0, 170, 190)),
        _phenomenon(7, "rain_cells", "Rain cells", (150, 80, 200)),
        _phenomenon(8, "sea_ice", "Sea ice", (190, 225, 245)),
        _phenomenon(9, "wind_streaks", "Wind streaks", (250, 215, 60)),
    ),
)
#: Oil or other surface film against everything else.
SLICKS = ClassScheme(name="slicks", kind="multilabel", classes=(_phenomenon(0, "slick", "Slick", (77, 175, 74)),))
#: Schemes of phenomena; with classes left out they are found by their names, too.
PHENOMENA_SCHEMES = Schemes.of((METOCEAN, SLICKS))
#: Schemes of maps.
SCHEMES = Schemes.of((*CLASS_SCHEMES.values(), *PHENOMENA_SCHEMES.values()))
#: Short names of the ten phenomena, as the papers write them.
PHENOMENA_LETTERS = ("AF", "BS", "IB", "LWA", "MCC", "OF", "POW", "RC", "SI", "WS")

#: Bits of ``quality_flags``: name -> (mask, meaning). 32 (``near_noise_floor``) and 128 (``low_confidence``) are of
#: maps made before there was a third answer: where they stood, maps were no worse than elsewhere.
QUALITY_FLAGS: dict[str, tuple[int, str]] = {
    "nodata": (1, "no observation"),
    "land": (2, "land"),
    "coast": (4, "sea close to land: mixed signal"),
    "border": (8, "scene border: the network saw beyond the data"),
    "noise_missing": (16, "thermal noise unknown: not removed"),
    "incidence_out_of_range": (64, "incidence angle outside the model's training range"),
    "outside_training": (256, "the scene as a whole is unlike what the model has learnt from"),
    "undecided": (512, "neither ice nor open water is as probable as was asked for"),
    "prior_changed": (1024, "without the prior the answer would be another one of water, ice and undecided"),
}

#: What maps hold: kind of class scheme -> variable -> whether it has a plane for each class.
MAP_VARIABLES: dict[str, dict[str, bool]] = {
    "exclusive": {
        "probability": True,
        "ice_probability": False,
        "ice_class": False,
        "confidence": False,
        "quality_flags": False,
    },
    "multilabel": {"score": True, "phenomena": False, "dominant": False, "quality_flags": False},
}

#: What maps of either kind hold if they were made from a scene.
OPTIONAL_MAP_VARIABLES = ("quicklook",)

#: Every variable: name -> CF attributes. Dims stand in the docstrings of `check_scene` and `check_map`.
VARIABLES: dict[str, dict[str, str]] = {
    "sigma0": {
        "units": "1",
        "long_name": "radar backscatter coefficient sigma nought, linear power",
        "standard_name": "surface_backwards_scattering_coefficient_of_radar_wave",
    },
    "sigma0_db": {"units": "dB", "long_name": "radar backscatter coefficient sigma nought"},
    "nesz": {"units": "1", "long_name": "noise equivalent sigma zero, linear power"},
    "dn": {"units": "1", "long_name": "digital number, detected amplitude"},
    "incidence_angle": {
        "units": "degree",
        "long_name": "incidence angle on the ellipsoid",
        "standard_name": "angle_of_incidence",
    },
    "elevation_angle": {"units": "degree", "long_name": "antenna elevation angle"},
    "valid": {"long_name": "observed: True where sigma0 may be used"},
    "land_mask": {"long_name": "land: True on land (GSHHG)", "standard_name": "land_binary_mask"},
    "coast_distance": {"units": "m", "long_name": "distance to the nearest land"},
    "latitude": {"units": "degrees_north", "long_name": "latitude", "standard_name": "latitude"},
    "longitude": {"units": "degrees_east", "long_name": "longitude", "standard_name": "longitude"},
    "azimuth_time": {"standard_name": "time", "long_name": "zero-Doppler azimuth time"},
    "ground_range": {"units": "m", "long_name": "ground range from the first pixel"},
    "line": {"units": "1", "long_name": "image line, zero-based, of the full-resolution product"},
    "pixel": {"units": "1", "long_name": "image pixel, zero-based, of the full-resolution product"},
    "probability": {"units": "percent", "long_name": "probability of each class"},
    "sic": {
        "units": "1",
        "long_name": "sea-ice concentration of the chart",
        "standard_name": "sea_ice_area_fraction",
    },
    "sic_class": {"units": "1", "long_name": "sea-ice concentration, tenths"},
    "sod_class": {"long_name": "dominant stage of development"},
    "floe_class": {"long_name": "dominant form of ice (floe size)"},
    "polygon": {"long_name": "row of the polygon in its file, zero-based; -1 outside every polygon"},
    "ice_probability": {"units": "percent", "long_name": "probability of sea ice of any class"},
    "ice_class": {"long_name": "sea-ice class", "standard_name": "sea_ice_classification"},
    "confidence": {"units": "percent", "long_name": "probability of the likelier of sea ice and open water"},
    "quality_flags": {"long_name": "where not to trust the map", "standard_name": "quality_flag"},
    "x": {"units": "m", "long_name": "projection x", "standard_name": "projection_x_coordinate"},
    "y": {"units": "m", "long_name": "projection y", "standard_name": "projection_y_coordinate"},
}


class ClassAttrs(TypedDict):
    """See `class_attrs`."""

    long_name: str
    flag_values: np.ndarray
    flag_meanings: str


def class_attrs(scheme: ClassScheme, *, undecided: bool = False) -> ClassAttrs:
    """CF attributes of ``ice_class``: flag_values and flag_meanings, land included; ``undecided`` in maps."""
    import numpy as np

    more = {UNDECIDED: UNDECIDED_NAME} if undecided else {}
    names = {**dict(enumerate(scheme.names)), **more, CLASS_LAND: "land"}
    return {
        "long_name": VARIABLES["ice_class"]["long_name"],
        "flag_values": np.array(list(names), dtype=np.uint8),
        "flag_meanings": " ".join(names.values()),
    }


def flag_attrs() -> dict[str, object]:
    """CF attributes of ``quality_flags``."""
    import numpy as np

    return {
        **VARIABLES["quality_flags"],
        "flag_masks": np.array([mask for mask, _ in QUALITY_FLAGS.values()], dtype=np.uint16),
        "flag_meanings": " ".join(QUALITY_FLAGS),
    }


def prior_attrs(attrs: Mapping[Any, Any]) -> dict[str, object]:
    """Of the attributes of a map those that `frazil.fuse_prior` gave it, as they stand there; of other maps none.

    ``prior`` (name of the file), ``prior_kind``, ``prior_time``, ``prior_age_h``, ``prior_weight``,
    ``prior_smoothing_km``, ``prior_uncertainty``, and the areas whose answer changed: ``prior_water_to_ice_km2`` …
    """
    return {str(name): value for name, value in attrs.items() if name == "prior" or str(name).startswith("prior_")}


_SENSORS = {"S1": "Sentinel-1", "RS2": "RADARSAT-2", "RCM": "RADARSAT Constellation"}
_SENSOR = re.compile(r"(?:(S1)[A-D]|(RS2)|(RCM)\d)(?:_|$)")


def sensor_of(attrs: Mapping[Any, Any]) -> str:
    """The satellites that a scene or map is from, as titles name them: ``"Sentinel-1"``; ``""`` if nothing tells.

    Args:
        attrs: ``sensor`` says it; without it the names of product and mission do.
    """
    if attrs.get("sensor"):
        return str(attrs["sensor"])
    found = (_SENSOR.match(str(attrs.get(name, ""))) for name in ("product", "mission"))
    return next((_SENSORS[str(match[match.lastindex or 0])] for match in found if match), "")


def check_scene(scene: xr.Dataset) -> None:
    """Raise unless a Dataset is a scene.

    A scene holds, on the dims ``polarization`` (``"HH"``, ``"HV"``, ``"VV"``, ``"VH"``), ``line`` and ``pixel``:

    - ``sigma0(polarization, line, pixel)``: float32, linear power, noise removed as ``attrs["denoise"]`` says;
      negative values are kept; NaN where not observed;
    - ``nesz(polarization, line, pixel)``: float32, linear power; NaN where the product does not say;
    - ``incidence_angle(line, pixel)``: float32, degrees, finite wherever ``valid``;
    - ``valid(line, pixel)``: bool, True where every polarisation was observed;
    - coordinates ``line`` and ``pixel``: positions in the full-resolution product (block averages are at fractions);
    - ``tie_latitude``, ``tie_longitude``, ``tie_height`` on ``(tie_line, tie_pixel)``: the product's tie points;
    - attrs ``product``, ``mission``, ``mode``, ``start_time``, ``stop_time``, ``spacing_m``, ``denoise``; where
      `sensor_of` cannot tell it from names ``sensor``, for titles; ``attribution``, the line that the licence of the
      data asks of everything that is made from it; where known ``license``, the terms of the data with their address,
      and ``contributor_name``, who made them.

    Raises:
        ContractError: naming what is missing or of the wrong dims, or incidence angles that are not finite (of
            arrays that do not lie in memory those of the tie points).
    """
    want = {
        "sigma0": ("polarization", "line", "pixel"),
        "nesz": ("polarization", "line", "pixel"),
        "incidence_angle": ("line", "pixel"),
        "valid": ("line", "pixel"),
        "tie_latitude": ("tie_line", "tie_pixel"),
        "tie_longitude": ("tie_line", "tie_pixel"),
        "tie_height": ("tie_line", "tie_pixel"),
    }
    _check(scene, want, ("product", "start_time", "spacing_m", "denoise"), "a scene", "frazil.open_scene")
    _check_angles(scene)


def _check_angles(scene: xr.Dataset) -> None:
    import numpy as np

    angles = scene["incidence_angle"]
    in_memory = isinstance(angles.variable._data, np.ndarray)
    if in_memory:
        angle, needed = angles.values, scene["valid"].values
    elif "tie_incidence_angle" in scene:
        angle = scene["tie_incidence_angle"].values
        needed = np.ones(angle.shape, bool)
    else:
        return
    bad = ~(np.isfinite(angle) & (angle > 0) & (angle < 90)) & needed
    if bad.any():
        raise ContractError(
            f"incidence_angle is not between 0 and 90 degrees in {bad.mean():.1%} of the scene. Give it where valid is "
            "True, or set valid to False there."
        )


def check_map(ds: xr.Dataset) -> ClassScheme:
    """The class scheme of a map; raise unless the Dataset is one.

    All maps hold, on dims ``y, x`` (projected, metres, ``spatial_ref`` carries the CRS; y descends) or ``line, pixel``:

    - ``quality_flags(y, x)``: uint16 bits of `QUALITY_FLAGS`;
    - coordinate ``category``: the class names, in code order;
    - attrs ``class_scheme``, ``product``, ``model``, ``start_time``, ``stop_time``.

    Maps that were made from a scene hold the radar image, too, and maps that were not do without:

    - ``quicklook(look, y, x)``: uint8, see `frazil.scene.quicklook`; 0 where nothing was observed; its attribute
      ``stretch_db`` names the bands and the decibels that 1 and 255 stand for.

    Maps of sea ice, whose classes exclude each other, hold

    - ``probability(category, y, x)``: uint8 percent; 255 where there is no class (land, nodata);
    - ``ice_probability(y, x)`` and ``confidence(y, x)``: uint8 percent, likewise;
    - ``ice_class(y, x)``: uint8 code of the scheme as `frazil.answer.answers` gives it, 253 undecided, 254 land,
      255 nodata.

    Maps of phenomena, each of which holds for itself, hold

    - ``score(category, y, x)``: uint8 percent; 255 on land and where nothing was observed;
    - ``phenomena(y, x)``: uint16, a bit for each class that was found;
    - ``dominant(y, x)``: uint8 code of the highest score found, 253 where none was, 254 land, 255 nodata.

    Raises:
        ContractError: naming what is missing or of the wrong dims.
    """
    name, held = ds.attrs.get("class_scheme"), {str(v) for v in ds.variables}
    scheme = SCHEMES.get(str(name))
    kind = scheme.kind if scheme else "multilabel" if "score" in held else "exclusive"
    grid = ("y", "x") if "y" in ds.dims else ("line", "pixel")
    want: dict[str, tuple[str, ...]] = {
        variable: ("category", *grid) if many else grid for variable, many in MAP_VARIABLES[kind].items()
    }
    want |= {name: ("look", *grid) for name in OPTIONAL_MAP_VARIABLES if name in ds}
    maker = {"exclusive": "frazil.predict", "multilabel": "frazil.predict_phenomena"}[kind]
    _check(ds, want, ("class_scheme", "product", "model", "start_time"), "a map", maker)
    if scheme is None:
        raise ContractError(f"class_scheme {name!r} of the map is not one of {sorted(SCHEMES)}. Make the map anew.")
    return scheme


def check_ice_map(ds: xr.Dataset) -> ClassScheme:
    """The class scheme of a map of sea ice; raise unless the Dataset is one, see `check_map`.

    Raises:
        ContractError: no map, or one of phenomena, which knows no ice edge and no probability of ice.
    """
    scheme = check_map(ds)
    if scheme.kind != "exclusive":
        raise ContractError(
            f"This is a map of phenomena ({scheme.name}), and a map of sea ice is needed: use a model of sea ice."
        )
    return scheme


def _check(ds: xr.Dataset, want: dict[str, tuple[str, ...]], attrs: tuple[str, ...], what: str, maker: str) -> None:
    for name, dims in want.items():
        if name not in ds:
            raise ContractError(
                f"This Dataset is not {what}: {name!r} is missing (it holds {sorted(map(str, ds.variables))}). "
                f"Make one with {maker}()."
            )
        if ds[name].dims != dims:
            raise ContractError(f"This Dataset is not {what}: {name!r} has dims {ds[name].dims}, expected {dims}.")
    missing = [a for a in attrs if a not in ds.attrs]
    if missing:
        raise ContractError(f"This Dataset is not {what}: attributes {missing} are missing. Make one with {maker}().")
