"""POLARIS: what a ship of some ice class risks in ice, as an interval, since no radar tells thickness.

The risk index outcome RIO is the sum of concentrations (tenths, ice-free water with them) times the risk index values
of the ship's class in each kind of ice. A map or chart knows classes that span several kinds, so that RIO has a worse
and a better end; the operation level is that of the worse one. Glacial ice has no value: a ship keeps away from it.

References:
    IMO MSC.1/Circ.1519 (2016), Guidance on methodologies for assessing operational capabilities and limitations in ice,
    tables 1.1 to 1.4. **Unverified transcription**, see ``frazil/data/polaris.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import ContractError, OptionError
from frazil.labels.sigrid3 import code_text
from frazil.labels.sigrid3 import table as sigrid3_table

NOTE = "Risk index values: unverified transcription of IMO MSC.1/Circ.1519. Decision support, not permission to go."
LEVELS = ("normal operation", "elevated risk", "special consideration")
NO_LEVEL = 255
NO_RIO = 3  #: at sea, in rasters of levels
LEVEL_COLOURS = ((120, 200, 120), (255, 200, 60), (210, 50, 50), (200, 200, 205))
_ESCORT = 10.0
_LEVEL_ICE = ("level_first_year_ice",)
_OLD_ICE = ("deformed_ice", "old_ice")

LevelIce = Literal["thin", "medium", "thick"]
OldIce = Literal["none", "second-year", "multi-year"]


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    with (files("frazil") / "data" / "polaris.toml").open("rb") as file:
        return tomllib.load(file)


def ships() -> tuple[str, ...]:
    """Ice classes of ships, the strongest first; ``"none"`` is a ship without any."""
    return tuple(_table()["standard"])


def kinds_of_ice() -> tuple[str, ...]:
    """Kinds of ice that have values, ice-free water first."""
    return tuple(_table()["columns"])


@dataclass(frozen=True, kw_only=True)
class Ship:
    """A ship, and what its user knows of the ice.

    Attributes:
        ice_class: of `ships`.
        decayed: the ice was seen to be decayed (table 1.4); never by date or temperature alone.
        escort: behind an icebreaker, which adds ten to RIO.
        level_ice: what level and first-year ice is, where the user knows.
        old_ice: what old or deformed ice is, likewise.
    """

    ice_class: str
    decayed: bool = False
    escort: bool = False
    level_ice: LevelIce | None = None
    old_ice: OldIce | None = None

    def __post_init__(self) -> None:
        if self.ice_class not in ships():
            raise OptionError(f"ship {self.ice_class!r} is not one of {', '.join(ships())}.")
        for what, value in (("level_ice", self.level_ice), ("old_ice", self.old_ice)):
            known = _table()[what]
            if value is not None and value not in known:
                raise OptionError(f"{what} {value!r} is not one of {list(known)}.")

    @property
    def values(self) -> np.ndarray:
        """Risk index values, by `kinds_of_ice`."""
        return np.array(_table()["decayed" if self.decayed else "standard"][self.ice_class], float)

    @property
    def speed_knots(self) -> int | None:
        """Recommended speed in elevated risk; None for ships below the polar classes, which have no such level."""
        return _table()["speed"].get(self.ice_class)  # type: ignore[no-any-return]

    def of_stage(self, stage: str) -> tuple[float, float] | None:
        """Values of a stage of development in the worse and the better case; None where it has none (glacier ice)."""
        columns = {"86": self.level_ice and _table()["level_ice"][self.level_ice]}.get(stage)
        if stage == "95" and self.old_ice:
            columns = _table()["old_ice"][self.old_ice]
        return self._values(columns or _table()["stage"].get(stage))

    def of_class(self, name: str) -> tuple[float, float] | None:
        """Values of a class of a map in the worse and the better case; None where a class tells no kind of ice."""
        columns = _table()["class"].get(name)
        if name in _LEVEL_ICE and self.level_ice:
            columns = _table()["level_ice"][self.level_ice]
        if name in _OLD_ICE and self.old_ice:
            columns = _table()["old_ice"][self.old_ice]
        return self._values(columns)

    def _values(self, columns: list[int] | None) -> tuple[float, float] | None:
        if columns is None:
            return None
        worse, better = columns
        span = self.values[min(worse, better) : max(worse, better) + 1]
        return float(span.min()), float(span.max())

    def levels(self, rio: np.ndarray) -> np.ndarray:
        """Operation levels uint8 of RIO, the index in `LEVELS`; 255 where it is NaN."""
        elevated = self.speed_knots is not None
        level = np.where(rio >= 0, 0, np.where((rio >= -10) & elevated, 1, 2)).astype(np.uint8)
        return np.where(np.isnan(rio), np.uint8(NO_LEVEL), level)


def rio_of_shares(shares: np.ndarray, scheme: ClassScheme, ship: Ship) -> tuple[np.ndarray, np.ndarray]:
    """RIO in the worse and the better case of mixtures, float32.

    Args:
        shares: of each class of the scheme, 0 to 1 (class, …), that sum to 1; NaN gives NaN.
        scheme: names the classes.
        ship: which.

    Raises:
        ContractError: a class that says no kind of ice, as that of models of two classes.
    """
    values = []
    for c in scheme.classes:
        found = ship.of_class(c.name)
        if found is None:
            raise ContractError(
                f"Class {c.name!r} of {scheme.name} does not say what kind of ice it is, and POLARIS asks. Map with a "
                "model that tells kinds of ice."
            )
        values.append(found)
    help_ = _ESCORT if ship.escort else 0.0
    worse, better = (sum(10 * s * v[k] for s, v in zip(shares, values, strict=True)) + help_ for k in (0, 1))
    return np.asarray(worse, np.float32), np.asarray(better, np.float32)


def rio_of_egg(row: Mapping[str, Any], ship: Ship) -> tuple[float, float]:
    """RIO in the worse and the better case of a polygon with the columns of `frazil.read_chart`; NaN where none.

    Land, what was not observed, unknown concentrations and stages, and glacier ice have none. Of a range of
    concentrations the upper limit counts in the worse case, the lower in the better one.
    """
    kind, total = str(row["POLY_TYPE"]), code_text(row["CT"])
    nothing = (float("nan"), float("nan"))
    if kind == "W" or (kind == "I" and total in ("00", "55")):
        both = 10 * float(ship.values[0]) + (_ESCORT if ship.escort else 0.0)
        return both, both
    if kind != "I" or total in ("", "98", "99"):
        return nothing
    kinds = [(code_text(row.get(f"C{x}", "")), code_text(row.get(f"S{x}", ""))) for x in "ABC"]
    kinds = [(partial, stage) for partial, stage in kinds if stage or partial]
    low, high = _limits(total)
    if not kinds or any(stage in ("", "99", "80", "98") for _, stage in kinds):
        if total not in ("01", "02"):
            return nothing
        kinds = []  # below a tenth: as if the tenth were water
        low = high = 0.0
    if len(kinds) > 1:
        limits = [_limits(partial) for partial, _ in kinds]
        if any(np.isnan(v) for pair in limits for v in pair):
            return nothing
    else:
        limits = [(low, high)] * len(kinds)
    out = []
    for which in (1, 0):  # more ice is worse
        tenths = [pair[which] for pair in limits]
        water = max(10 - sum(tenths), 0.0)
        total_risk = water * float(ship.values[0])
        for amount, (_, stage) in zip(tenths, kinds, strict=True):
            found = ship.of_stage(stage)
            if found is None:
                return nothing
            total_risk += amount * found[0 if which == 1 else 1]
        out.append(total_risk + (_ESCORT if ship.escort else 0.0))
    return min(out), max(out)


def _limits(code: str) -> tuple[float, float]:
    """Lower and upper limit of a concentration, tenths; NaN where it is unknown."""
    if code in ("91", "92"):
        return (9.0, 10.0) if code == "91" else (10.0, 10.0)
    if code in ("01", "02"):
        return 0.0, 1.0
    if code == "81":
        return 8.0, 10.0
    entry = sigrid3_table()["concentration"].get(code)
    if entry is None or code in ("98", "99"):
        return float("nan"), float("nan")
    return (float(code[0]), float(code[0])) if code[1] == "0" else (float(code[0]), float(code[1]))
