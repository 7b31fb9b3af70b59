"""Backscatter of the classes of ice: as the literature has it, and as it was measured in three regions.

In decibels the mean of a class falls linearly with incidence angle. `SIGNATURES` is one table from the literature.
Measured tables differ from it, and from each other, by more than their spread within a scene: `draw_table` mixes them
scene by scene.

References:
    Mäkynen & Karvonen (2017), doi:10.1109/TGRS.2017.2721981: slopes of first-year ice, Sentinel-1, Kara Sea.
        Deformed ice -0.24 dB/° (HH) and -0.16 dB/° (HV), level ice -0.25 dB/° (HH); no reliable value for level
        ice in HV, where it is too close to the noise floor.
    Incidence Angle Dependencies for C-Band Backscatter From Sea Ice During Both the Winter and Melt Season (2023),
        doi:10.1109/TGRS.2023.3315056: first-year -0.235, second-year -0.208, multi-year ice -0.167 dB/° (HH, winter).
    Aldenhoff et al. (2020), doi:10.1109/JSTARS.2020.2977506: slopes of both polarisations, first sub-swath unusable.
    Lohse, Doulgeris & Dierking (2020), doi:10.1017/aog.2020.45: slope as a property of the class.
    Zakhvatkina et al. (2017), doi:10.5194/tc-11-33-2017: ice and water in dual-polarised scenes, confusion by wind.
    Onstott (1992), in Microwave Remote Sensing of Sea Ice, AGU Monogr. 68, ch. 5; Isleifson et al. (2010),
        doi:10.1109/TGRS.2010.2051808: new and young ice, frost flowers.
    Lohse, Doulgeris & Dierking (2021), doi:10.3390/rs13040552, and fits of J. Lohse (UiT) to campaigns on Belgica Bank
        (April and May 2022), north-east of Svalbard (winter) and on Antarctic fast ice (October 2024): `REGIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

REFERENCE_DEG = 30.0  # incidence angle of the means
POLARIZATIONS = ("HH", "HV", "VV", "VH")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The backscatter of one class in one polarisation, dry and cold.

    Attributes:
        mean_db: mean sigma nought at 30° incidence, dB.
        slope_db: change per degree of incidence, dB/°.
        texture_db: standard deviation of texture finer than 1 km, dB.
        texture_m: its correlation length, metres.
        variation_db: standard deviation between floes and provinces of one scene, dB.
        scene_db: standard deviation of the class mean between scenes, dB.
        wet_db: mean at 30° under wet snow, dB.
    """

    mean_db: float
    slope_db: float
    texture_db: float
    texture_m: float
    variation_db: float
    scene_db: float
    wet_db: float


def _s(*values: float) -> Signature:
    names = ("mean_db", "slope_db", "texture_db", "texture_m", "variation_db", "scene_db", "wet_db")
    return Signature(**dict(zip(names, values, strict=True)))


#: (class, polarisation) -> signature. HH and VV differ little over rough ice; smooth ice is brighter in VV.
SIGNATURES: dict[tuple[str, str], Signature] = {
    # Water: mean and slope come from the wind; the rest is swell, slicks and model error.
    ("open_water", "HH"): _s(np.nan, np.nan, 0.35, 250, 0.35, 0.8, np.nan),
    ("open_water", "HV"): _s(np.nan, np.nan, 0.25, 250, 0.25, 0.8, np.nan),
    ("open_water", "VV"): _s(np.nan, np.nan, 0.35, 250, 0.35, 0.7, np.nan),
    # Brash and pancake: raised rims, bright in HH and moderate in HV.
    ("brash_pancake", "HH"): _s(-11.5, -0.27, 1.0, 300, 0.9, 1.7, -13.0),
    ("brash_pancake", "HV"): _s(-23.5, -0.17, 0.8, 300, 0.9, 1.5, -24.5),
    ("brash_pancake", "VV"): _s(-11.0, -0.27, 1.0, 300, 0.9, 1.6, -12.5),
    # Young ice: the mean of dark nilas and bright grey ice with frost flowers, see FROST_DB.
    ("young_ice", "HH"): _s(-16.0, -0.28, 0.8, 400, 0.8, 1.6, -17.0),
    ("young_ice", "HV"): _s(-28.0, -0.18, 0.6, 400, 0.7, 1.3, -28.5),
    ("young_ice", "VV"): _s(-15.0, -0.28, 0.8, 400, 0.8, 1.6, -16.0),
    ("level_first_year_ice", "HH"): _s(-16.0, -0.25, 0.8, 600, 1.1, 1.4, -16.0),
    ("level_first_year_ice", "HV"): _s(-28.0, -0.14, 0.7, 600, 0.9, 1.3, -26.5),
    ("level_first_year_ice", "VV"): _s(-15.5, -0.25, 0.8, 600, 1.1, 1.4, -15.5),
    # Old or deformed: ridges and air bubbles scatter in all polarisations; water films quench the bubbles.
    ("deformed_ice", "HH"): _s(-11.0, -0.21, 1.4, 350, 1.2, 1.3, -14.5),
    ("deformed_ice", "HV"): _s(-20.0, -0.16, 1.4, 350, 1.3, 1.4, -24.0),
    ("deformed_ice", "VV"): _s(-11.0, -0.21, 1.4, 350, 1.2, 1.3, -14.5),
    ("land", "HH"): _s(-9.0, -0.14, 2.2, 500, 2.0, 1.5, -10.5),
    ("land", "HV"): _s(-16.5, -0.12, 2.0, 500, 2.0, 1.5, -18.5),
    ("land", "VV"): _s(-9.0, -0.14, 2.2, 500, 2.0, 1.5, -10.5),
}
SIGNATURES |= {(name, "VH"): value for (name, pol), value in SIGNATURES.items() if pol == "HV"}
#: Young ice: dB between dark nilas (frost 0) and grey ice full of frost flowers (frost 1), by polarisation.
FROST_DB = {"HH": 8.5, "VV": 8.5, "HV": 5.5, "VH": 5.5}


@dataclass(frozen=True, kw_only=True)
class Region:
    """Signatures of a region: mean at 30° (dB) and slope (dB/°) of HH, then of HV.

    Attributes:
        new: dark new ice and nilas in leads.
        young: bright refrozen leads.
        level, deformed: first-year ice, and deformed or old ice.
        share: of the scenes.
    """

    new: tuple[float, float, float, float]
    young: tuple[float, float, float, float]
    level: tuple[float, float, float, float]
    deformed: tuple[float, float, float, float]
    share: float


#: Where a fit does not tell of a class, that of Belgica Bank stands in. Antarctic pack: median of eight scenes,
#: October 2024, floes darker and rims brighter than it. Literature: the table above.
REGIONS = {
    "belgica_bank": Region(
        new=(-24.8, -0.29, -32.9, -0.13),
        young=(-11.9, -0.13, -27.1, -0.04),
        level=(-15.6, -0.33, -30.7, -0.28),
        deformed=(-10.1, -0.17, -20.4, -0.06),
        share=0.2,
    ),
    "svalbard": Region(
        new=(-17.9, -0.26, -35.3, -0.25),
        young=(-11.9, -0.13, -27.1, -0.04),
        level=(-14.0, -0.26, -30.0, 0.0),
        deformed=(-12.0, -0.15, -23.4, 0.02),
        share=0.2,
    ),
    "antarctic_fast_ice": Region(
        new=(-24.8, -0.29, -32.9, -0.13),
        young=(-11.9, -0.13, -27.1, -0.04),
        level=(-16.5, -0.25, -35.6, -0.16),
        deformed=(-12.4, -0.14, -24.8, -0.01),
        share=0.2,
    ),
    "antarctic_pack": Region(
        new=(-21.5, -0.28, -33.5, -0.19),
        young=(-11.9, -0.13, -27.1, -0.04),
        level=(-14.6, -0.31, -30.0, -0.24),
        deformed=(-11.5, -0.25, -25.5, -0.14),
        share=0.25,
    ),
    "literature": Region(
        new=(-20.3, -0.28, -30.8, -0.18),
        young=(-11.8, -0.28, -25.3, -0.18),
        level=(-16.0, -0.25, -28.0, -0.14),
        deformed=(-11.0, -0.21, -20.0, -0.16),
        share=0.15,
    ),
}
#: Spread between scenes beyond the region, within a scene, and of fine texture, dB: (HH, HV) by class. Within level ice
#: of one scene 1.2 and 1.3 dB were measured, half of it in floes and provinces.
_SPREAD = {
    "brash_pancake": ((1.7, 1.5), (0.9, 0.9), (1.0, 0.8)),
    "young_ice": ((1.2, 1.2), (0.8, 0.7), (0.8, 0.6)),
    "level_first_year_ice": ((1.0, 1.4), (1.0, 1.1), (0.8, 0.9)),
    "deformed_ice": ((1.1, 1.4), (0.9, 1.2), (1.3, 1.4)),
}


def draw_table(rng: np.random.Generator) -> tuple[dict[tuple[str, str], Signature], dict[str, float]]:
    """Signatures of a scene, mixed from two regions, and how far dark and bright young ice lie apart by polarisation.

    VV follows HH by the difference of the literature, VH is HV. Wet snow moves means as in the literature.
    """
    names = list(REGIONS)
    odds = [REGIONS[n].share for n in names]
    one, other = (REGIONS[names[int(rng.choice(len(names), p=odds))]] for _ in range(2))
    part = rng.beta(0.5, 0.5)  # mostly near one of the two

    def mixed(kind: str) -> np.ndarray:
        return np.asarray(part * np.array(getattr(one, kind)) + (1 - part) * np.array(getattr(other, kind)))

    new, young = mixed("new"), mixed("young")
    means = {"young_ice": (new + young) / 2, "level_first_year_ice": mixed("level"), "deformed_ice": mixed("deformed")}
    means["brash_pancake"] = np.array([-11.5, -0.24, -24.0, -0.15])
    table = dict(SIGNATURES)
    for name, mean in means.items():
        for k, pol in enumerate(("HH", "HV")):
            old = SIGNATURES[name, pol]
            scene, variation, texture = (v[k] for v in _SPREAD[name])
            table[name, pol] = replace(
                old,
                mean_db=float(mean[2 * k]),
                slope_db=float(mean[2 * k + 1]),
                scene_db=scene,
                variation_db=variation,
                texture_db=texture,
                wet_db=float(mean[2 * k] + old.wet_db - old.mean_db),
            )
        hh, vv = SIGNATURES[name, "HH"], SIGNATURES[name, "VV"]
        lift = vv.mean_db - hh.mean_db
        mine = table[name, "HH"]
        table[name, "VV"] = replace(mine, mean_db=mine.mean_db + lift, wet_db=mine.wet_db + lift)
        table[name, "VH"] = table[name, "HV"]
    frost_hh, frost_hv = float(young[0] - new[0]), float(young[2] - new[2])
    return table, {"HH": frost_hh, "VV": frost_hh, "HV": frost_hv, "VH": frost_hv}
