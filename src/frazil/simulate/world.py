"""A world of sea ice: which class lies where, how strong the wind is, and what else the radar will see.

Large forms (ice edge, wind, provinces of young and deformed ice) are random fields on a grid four times coarser than
the scene; floes, leads and ridges are drawn on the scene's own grid; fine noise roughens every border. One pass then
decides each pixel. Lengths shrink with small scenes, so that a crop of 20 km shows a small world with everything in it:
it is a world of its own and not a cut-out of the large one.

References:
    Dumont, Kohout & Bertino (2011), A wave-based model for the marginal ice zone, JGR 116: floes broken near the edge.
    Stern et al. (2018), floe sizes; Hutter et al. (2019), leads: see `frazil.simulate.floes`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from frazil.conventions import CLASS_LAND
from frazil.errors import OptionError
from frazil.jit import njit
from frazil.seeds import check_seed
from frazil.simulate.floe_classes import BRASH, DEFORMED, LEVEL, WATER, YOUNG, draw_floes, draw_leads
from frazil.simulate.floes import crack_network
from frazil.simulate.forms import COARSE, LargeForms, Parameters
from frazil.simulate.noise import noise_tile


@dataclass(frozen=True, kw_only=True)
class Season:
    """How a time of year mixes the classes. Fractions 0 to 1; pairs are the ranges that scenes are drawn from."""

    old: tuple[float, float]  # of the floes that are old or deformed
    young: tuple[float, float]  # of the ice between floes that is young
    deformed: tuple[float, float]  # of the level ice that is ridged or rubble
    brash: tuple[float, float]  # of the gaps near the edge that are brash or pancake
    closed: tuple[float, float]  # of the space between floes in the pack that is ice
    leads_open: float  # of the leads that are not refrozen
    wet: tuple[float, float]  # surface melt: 0 dry and cold, 1 wet snow everywhere


SEASONS = {
    "freeze_up": Season(
        old=(0.2, 0.9),
        young=(0.35, 0.85),
        deformed=(0.0, 0.10),
        brash=(0.3, 0.8),
        closed=(0.9, 1.0),
        leads_open=0.25,
        wet=(0.0, 0.15),
    ),
    "winter": Season(
        old=(0.1, 0.8),
        young=(0.02, 0.30),
        deformed=(0.05, 0.40),
        brash=(0.15, 0.6),
        closed=(0.98, 1.0),
        leads_open=0.15,
        wet=(0.0, 0.0),
    ),
    "spring": Season(
        old=(0.1, 0.8),
        young=(0.0, 0.12),
        deformed=(0.05, 0.40),
        brash=(0.1, 0.5),
        closed=(0.85, 1.0),
        leads_open=0.5,
        wet=(0.0, 0.5),
    ),
    "melt": Season(
        old=(0.2, 0.9),
        young=(0.0, 0.0),
        deformed=(0.05, 0.30),
        brash=(0.1, 0.4),
        closed=(0.35, 0.9),
        leads_open=1.0,
        wet=(0.5, 1.0),
    ),
}
SIGNATURE_SETS = ("literature", "measured")
#: Of the 513 scenes of the AI4Arctic set (Buus-Hinkler et al. 2022, doi:10.11583/DTU.c.6244065).
_MEASURED_ODDS = {"freeze_up": 0.17, "winter": 0.26, "spring": 0.16, "melt": 0.41}
_SEASON_ODDS = {"freeze_up": 0.28, "winter": 0.38, "spring": 0.2, "melt": 0.14}


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """What a world is made from. Everything left at None is drawn from the seed.

    Attributes:
        seed: the same seed, settings and grid give the same world.
        season: ``"freeze_up"``, ``"winter"``, ``"spring"`` or ``"melt"``.
        ice_fraction: part of the scene inside the ice edge, 0 to 1.
        wind_speed_ms: mean wind over open water, m/s, 0 to 30.
        floe_exponent: of the cumulative floe size distribution.
        polynya: whether there is one.
        land_fraction: part covered by a fictitious coast, 0 to 0.8; ignored where a land mask is given.
        signatures: ``"literature"``: one table of backscatter and the forms that went with it; ``"measured"``: regions,
            seasons, forms and noise as real scenes have them (`frazil.simulate.signatures`).
    """

    seed: int
    season: str | None = None
    ice_fraction: float | None = None
    wind_speed_ms: float | None = None
    floe_exponent: float | None = None
    polynya: bool | None = None
    land_fraction: float = 0.0
    signatures: str = "literature"

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.season is not None and self.season not in SEASONS:
            raise OptionError(f"season={self.season!r} is unknown. Choose one of {sorted(SEASONS)}.")
        if self.signatures not in SIGNATURE_SETS:
            raise OptionError(f"signatures={self.signatures!r} is unknown. Choose one of {list(SIGNATURE_SETS)}.")
        limits = {
            "ice_fraction": (0, 1),
            "wind_speed_ms": (0, 30),
            "floe_exponent": (0.5, 3.5),
            "land_fraction": (0, 0.8),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"{name}={value} is outside {low} … {high}.")


@dataclass(frozen=True, kw_only=True)
class World:
    """The truth. All arrays of dims (line, pixel).

    Attributes:
        ice_class: codes of `frazil.conventions.FIVE_CLASSES`, 254 on land; uint8.
        wind_ms: wind as the water feels it: weak in leads and in calm patches; m/s, float32.
        anomaly: how far the backscatter lies from the class mean, in standard deviations of the class; float32.
        frost: young ice from dark nilas (0) to bright with frost flowers (1); float32.
        wet: surface melt, 0 to 1.
        parameters: every number drawn.
    """

    ice_class: np.ndarray
    wind_ms: np.ndarray
    anomaly: np.ndarray
    frost: np.ndarray
    wet: float
    parameters: Parameters


def make_world(
    config: WorldConfig, shape: tuple[int, int], spacing_m: float, *, land: np.ndarray | None = None
) -> World:
    """The world of a seed on a grid of ``shape`` (lines, pixels) with square pixels of ``spacing_m`` metres.

    Args:
        config: seed and settings.
        shape: lines and pixels, at least 16 × 16.
        spacing_m: pixel size, metres; made for 50 to 500 m.
        land: True on land, bool of ``shape``; None makes a coast of ``config.land_fraction``.

    Raises:
        OptionError: the grid is too small, or the land mask does not fit it.
    """
    if min(shape) < 16 or spacing_m <= 0:
        raise OptionError(f"A world needs at least 16 × 16 pixels of positive size; got {shape} of {spacing_m} m.")
    if land is not None and land.shape != tuple(shape):
        raise OptionError(f"The land mask has shape {land.shape}, the world {tuple(shape)}. Make it on the same grid.")
    rng = np.random.default_rng([config.seed, 1])
    p = _draw_parameters(config, np.random.default_rng([config.seed, 0]))
    large = LargeForms(rng, p, shape, spacing_m, land)
    floes, floe_table = draw_floes(rng, p, large, shape, spacing_m)
    cracks, crack_table = draw_leads(rng, p, large.scale, shape, spacing_m)
    ridges = np.zeros(shape, np.int32)
    crack_network(
        rng,
        ridges,
        count=p.ridges,
        longest=80e3 * large.scale / spacing_m,
        widest=1.3,
        heading_rad=p.crack_heading_rad + np.pi / 2,
    )
    size = 2048 if max(shape) > 1024 else 512
    rough = noise_tile(rng, size, longest=48.0, shortest=2.0, exponent=2.6)
    fine = noise_tile(rng, size, longest=10.0, shortest=2.0, exponent=2.0)
    shifts = rng.integers(0, size, 8)
    ice_class = np.empty(shape, np.uint8)
    wind, anomaly, frost = (np.empty(shape, np.float32) for _ in range(3))
    numbers = np.array(
        [
            p.miz_m * large.scale,
            p.closed,
            p.young,
            p.young_edge,
            p.deformed,
            p.brash,
            p.band_m * large.scale,
            p.band_reach_m * large.scale,
            p.fast_ice_m * large.scale,
            max(large.scale * 350.0, spacing_m),
            p.rim,
            p.frost,
            p.melt_ponds,
            p.fetch,
            p.pancake_belt_m * large.scale,
            p.rubble,
            p.grey,
        ]
    )

    def strip(first: int) -> None:
        _compose(
            first,
            min(first + 512, shape[0]),
            large.fields,
            COARSE,
            floes,
            floe_table,
            cracks,
            crack_table,
            ridges,
            rough,
            fine,
            shifts,
            numbers,
            ice_class,
            wind,
            anomaly,
            frost,
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(strip, range(0, shape[0], 512)))
    if land is not None:
        ice_class[land] = CLASS_LAND
    return World(ice_class=ice_class, wind_ms=wind, anomaly=anomaly, frost=frost, wet=p.wet, parameters=p)


def _draw_parameters(config: WorldConfig, rng: np.random.Generator) -> Parameters:
    """Every scene-wide number. All are drawn, whatever is given, so that one setting changes nothing else."""
    season = str(rng.choice(list(_SEASON_ODDS), p=list(_SEASON_ODDS.values())))
    measured = config.signatures == "measured"
    more = np.random.default_rng([config.seed, 4])  # what the literature's worlds do not have: their draws stay
    if measured:
        season = str(more.choice(list(_MEASURED_ODDS), p=list(_MEASURED_ODDS.values())))
    season = config.season or season
    s = SEASONS[season]
    kind, share = rng.random(), rng.random(4)
    # A third nearly all ice, a half with an edge through it, the rest mostly water.
    ice = 1.0 if kind < 0.25 else 0.1 + 0.85 * share[0] if kind < 0.85 else 0.02 + 0.2 * share[1]
    wind = float(np.clip(8.0 * rng.weibull(2.2), 0.8, 22.0))  # Rayleigh-like, as over the Nordic Seas
    compact = rng.random()
    p: dict[str, Any] = {
        "season": season,
        "ice_fraction": float(ice if config.ice_fraction is None else config.ice_fraction),
        "wind_ms": wind if config.wind_speed_ms is None else float(config.wind_speed_ms),
        "wind_towards_rad": float(rng.uniform(0, 2 * np.pi)),
        "wind_look_deg": float(rng.uniform(0, 180)),
        "edge_rad": float(rng.uniform(0, 2 * np.pi)),
        "edge_meander": float(rng.uniform(0.25, 0.9)),
        "eddies_m": float(rng.uniform(4e3, 22e3)),
        # An edge packed by on-ice wind is a few km wide, one spread by off-ice wind tens of km.
        "miz_m": float(2e3 * 20**compact * rng.uniform(0.7, 1.3)),
        "floe_exponent": float(rng.uniform(1.5, 2.3)),
        "largest_floe_m": float(rng.uniform(8e3, 35e3)),
        "floe_cover": float(rng.uniform(0.15, 0.9)),
        "cracks": int(10 * 20 ** rng.random()),
        "ridges": int(30 * 15 ** rng.random()),
        "crack_heading_rad": float(rng.uniform(0, np.pi)),
        "widest_crack_m": float(700 * 7 ** rng.random()),
        "band_m": float(rng.uniform(2e3, 6e3)),
        "band_reach_m": float(rng.uniform(3e3, 22e3)),
        "fast_ice_m": float(rng.uniform(4e3, 20e3)),
        "rim": float(rng.uniform(0.2, 1.2)),
        "frost": float(rng.beta(1.2, 1.2)),
        "leads_open": s.leads_open,
    }
    for name in ("old", "young", "deformed", "brash", "closed", "wet"):
        low, high = getattr(s, name)
        p[name] = float(rng.uniform(low, high))
    p["young_edge"] = min(1.0, p["young"] + (0.35 if season == "freeze_up" else 0.1 if season == "winter" else 0.0))
    p["melt_ponds"] = p["wet"] if season == "melt" else 0.0
    p |= _real_forms(more) if measured else {"fetch": 0.55, "pancake_belt_m": 0.0, "rubble": 0.0, "grey": 0.0}
    p["floe_exponent"] = p["floe_exponent"] if config.floe_exponent is None else float(config.floe_exponent)
    polynya = bool(rng.random() < (0.3 if season != "melt" else 0.0))
    p["polynya"] = polynya if config.polynya is None else config.polynya
    p["land_fraction"] = config.land_fraction
    return Parameters(**p)


def _real_forms(rng: np.random.Generator) -> dict[str, float]:
    """Forms of real scenes: calm and rough water between floes, wide belts of pancake, rubble and bright rims."""
    belt, rubble = rng.random(), rng.random()
    return {
        "fetch": float(rng.uniform(0.2, 1.0)),  # of the wind, in leads and between floes
        "pancake_belt_m": float(8e3 * 12 ** rng.random()) if belt < 0.2 else 0.0,
        "rubble": float(rng.uniform(0.3, 1.0)) if rubble < 0.4 else 0.0,  # of the ice between floes
        "rim": float(rng.uniform(0.2, 3.0)),
        # Least frost of wide young ice: dark nilas is days old, and so mostly confined to leads and polynyas.
        "grey": float(rng.uniform(0.3, 0.7)) if rng.random() < 0.8 else 0.0,
    }


@njit(nogil=True, fastmath=True)
def _above(noise: float, fraction: float) -> bool:
    """Whether a standard normal deviate belongs to its upper ``fraction`` (logistic approximation)."""
    if fraction <= 0.001:
        return False
    if fraction >= 0.999:
        return True
    return bool(noise > 0.588 * np.log((1 - fraction) / fraction))


@njit(nogil=True, fastmath=True)
def _compose(
    first: int,
    last: int,
    fields: np.ndarray,
    coarse: int,
    floes: np.ndarray,
    floe_table: np.ndarray,
    cracks: np.ndarray,
    crack_table: np.ndarray,
    ridges: np.ndarray,
    rough: np.ndarray,
    fine: np.ndarray,
    shifts: np.ndarray,
    numbers: np.ndarray,
    ice_class: np.ndarray,
    wind: np.ndarray,
    anomaly: np.ndarray,
    frost: np.ndarray,
) -> None:
    """Decide every pixel of lines first to last from the large forms, floes, cracks and fine noise."""
    miz, closed, young, young_edge, deformed, brash = numbers[:6]
    band, band_reach, fast_width, shake, rim, frost_mean, ponds = numbers[6:13]
    fetch, belt, rubble, grey = numbers[13:17]
    rows, columns = floes.shape
    m = rough.shape[0] - 1
    n_fields = fields.shape[0]
    f = np.empty(n_fields, np.float32)
    for i in range(first, last):
        ci = i // coarse
        fy = np.float32(i / coarse - ci)
        for j in range(columns):
            cj = j // coarse
            fx = np.float32(j / coarse - cj)
            for k in range(n_fields):
                upper = fields[k, ci, cj] + fx * (fields[k, ci, cj + 1] - fields[k, ci, cj])
                lower = fields[k, ci + 1, cj] + fx * (fields[k, ci + 1, cj + 1] - fields[k, ci + 1, cj])
                f[k] = upper + fy * (lower - upper)
            r1 = rough[(i + shifts[0]) & m, (j + shifts[1]) & m]
            r2 = rough[(j + shifts[2]) & m, (i + shifts[3]) & m]
            n1 = fine[(i + shifts[4]) & m, (j + shifts[5]) & m]
            n2 = fine[(j + shifts[6]) & m, (i + shifts[7]) & m]
            edge = f[0] + shake * r1 + 0.25 * shake * n1
            z = edge / miz
            coast = f[7] + 0.6 * shake * r2 + 0.2 * shake * n1
            breeze = f[4] * (1 + 0.03 * n1)
            cls = WATER
            dev = 0.7 * f[5] + 0.25 * r1
            flower = min(1.0, max(0.0, frost_mean + 0.22 * f[9] + 0.08 * r2))
            if coast < 0:
                ice_class[i, j] = CLASS_LAND
                wind[i, j] = breeze
                anomaly[i, j] = 0.5 * f[5] + 0.6 * r1
                frost[i, j] = 0
                continue
            fast = coast < fast_width * (1 + 0.4 * f[3]) and edge > 0 and ponds == 0
            # Borders are looked up with a shake of a pixel or two: straight polygon sides become ragged.
            wi = min(max(i + int(np.rint(1.4 * r1 + 0.7 * n2)), 0), rows - 2)
            wj = min(max(j + int(np.rint(1.4 * r2 + 0.7 * n1)), 0), columns - 2)
            floe = floes[wi, wj]
            if fast:
                cls = LEVEL
                dev = 0.8 * f[5] - 0.5 + 0.2 * r1
                if _above(0.9 * f[3] + 0.35 * r2 + 0.15 * n1, 0.3 * deformed):
                    cls = DEFORMED
            elif floe > 0:
                cls = int(floe_table[floe, 0])
                dev = 0.5 * f[5] + 0.75 * floe_table[floe, 1] + 0.25 * r1
                flower = min(1.0, max(0.0, floe_table[floe, 2] + 0.1 * f[9]))
                if floes[wi + 1, wj] != floe or floes[wi, wj + 1] != floe:
                    dev += rim
                if ponds > 0 and _above(0.5 * f[1] + 0.6 * r2 + 0.6 * n2, 0.06 * ponds):
                    cls = WATER
            else:
                cover = closed * min(1.0, max(0.0, 0.8 * z - 0.05))
                gap = 0.85 * f[1] + 0.4 * r1 + 0.15 * n1
                if z > -0.05 and not _above(gap, 1 - cover):
                    part = young + (young_edge - young) * np.exp(-max(z, 0.0))
                    if _above(0.97 * f[2] + 0.15 * r2 + 0.06 * n2, part):
                        cls = YOUNG
                    elif _above(0.85 * f[3] + 0.4 * r2 + 0.15 * n1, max(deformed, rubble)):
                        cls = DEFORMED
                        dev -= 0.5
                    else:
                        cls = LEVEL
                else:
                    # Bands of brash and pancake: parallel to the edge outside, filling the gaps inside.
                    if edge < 0:
                        stripe = 1.1 * np.cos(2 * np.pi * edge / band + 1.5 * f[5] + 0.5 * f[1])
                        if stripe + 0.6 * f[8] + 0.2 * r2 > 3.0 - 2.8 * np.sqrt(brash) * np.exp(edge / band_reach):
                            cls = BRASH
                    elif _above(0.9 * f[8] + 0.3 * r2 + 0.15 * n2, brash * min(1.0, 0.35 + 0.65 * z)):
                        cls = BRASH
            if ridges[wi, wj] > 0 and cls in (LEVEL, DEFORMED):
                dev += 1.5  # narrower than a pixel: brighter, but no class of its own
            if belt > 0 and 0 < edge < belt * (1 + 0.4 * f[3] + 0.1 * r1) and cls != WATER and cls != DEFORMED:
                cls = BRASH  # pancakes and young floes, grey and even, from the edge inwards
            # Leads cut through everything inside the pack.
            ki = min(max(i + int(np.rint(0.8 * r1 + 0.4 * n1)), 0), rows - 1)
            kj = min(max(j + int(np.rint(0.8 * r2 + 0.4 * n2)), 0), columns - 1)
            crack = cracks[ki, kj]
            lead = crack > 0 and z > 0.6 and not fast
            if lead:
                cls = int(crack_table[crack, 0])
                if cls == WATER and _above(0.9 * f[2] + 0.35 * r1 + 0.1 * n1, 0.5 * young):
                    cls = YOUNG
                dev = 0.5 * f[5] + (0.3 * crack_table[crack, 1] - 1.0 if cls == LEVEL else 0.5 * crack_table[crack, 1])
                flower = min(1.0, max(0.0, crack_table[crack, 2] + 0.15 * f[9]))
            polynya = f[6] > 0.02
            if polynya:
                streak = 0.8 * f[8] + 0.45 * r1 + 0.2 * n1
                if f[6] > 0.55 + 0.08 * r2:
                    cls = BRASH if _above(streak, 0.3 * brash + 0.1) else WATER
                elif f[6] > 0.25 + 0.08 * r2:
                    cls = YOUNG if _above(streak, 0.55) else BRASH
                else:
                    cls = YOUNG
                flower = flower * (1 - f[6])
            if cls == WATER and z > 0 and not polynya:
                # Little fetch: the wind raises few ripples between floes and in leads.
                breeze *= fetch if lead else max(fetch, 1 - 0.25 * z)
            if not (lead or polynya):
                flower = grey + (1 - grey) * flower
            ice_class[i, j] = cls
            wind[i, j] = breeze
            anomaly[i, j] = dev
            frost[i, j] = flower
