"""Schemes and sets with classes left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from frazil.conventions import CLASS_SCHEMES, FIVE_CLASSES, METOCEAN, PHENOMENA_SCHEMES, SCHEMES, SLICKS
from frazil.errors import LabelError, OptionError
from frazil.labels.imagettes import Imagette, make_imagettes, open_imagettes, save_imagettes
from frazil.labels.imagettes_without import in_classes


def made() -> xr.Dataset:
    """Three images: one called iceberg; one called rain, with an iceberg at its first cell; one unnamed."""
    image = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    nothing = np.zeros((10, 4, 4), bool)
    rain = nothing.copy()
    rain[METOCEAN.names.index("rain_cells"), 2:] = True
    rain[METOCEAN.names.index("iceberg"), 0, 0] = True
    berg = nothing.copy()
    berg[METOCEAN.names.index("iceberg"), 1, 1] = True
    items = [
        Imagette(name="berg", image=image, category=METOCEAN.names.index("iceberg"), mask=berg),
        Imagette(name="rain", image=image, category=METOCEAN.names.index("rain_cells"), mask=rain),
        Imagette(name="none", image=image, mask=nothing),
    ]
    return make_imagettes(items, size=16, cell=4, spacing_m=100.0, source="made up", scaling="roughness")


def test_a_scheme_without_classes() -> None:
    fewer = METOCEAN.without(["sea_ice", "iceberg"])
    assert fewer.name == "metocean-without-iceberg+sea_ice"
    assert fewer.names == tuple(n for n in METOCEAN.names if n not in ("iceberg", "sea_ice"))
    assert [c.code for c in fewer.classes] == list(range(8))
    assert fewer.classes[fewer.names.index("rain_cells")].colour == (150, 80, 200)
    assert METOCEAN.without(["iceberg"]).without(["sea_ice"]) == fewer
    assert METOCEAN.without([]) is METOCEAN


def test_schemes_without_classes_are_found_by_name() -> None:
    name = "metocean-without-iceberg+sea_ice"
    for table in (PHENOMENA_SCHEMES, SCHEMES):
        assert name in table
        assert table[name] == METOCEAN.without(["iceberg", "sea_ice"])
        assert table.get(name) == table[name]
        assert name not in list(table)
    for wrong in ("metocean-without-", "metocean-without-sea_ice+iceberg", "metocean-without-storm", "x-without-y", 3):
        assert wrong not in PHENOMENA_SCHEMES
        assert PHENOMENA_SCHEMES.get(wrong) is None  # type: ignore[arg-type]
    assert "five_classes-without-young_ice" not in CLASS_SCHEMES


@pytest.mark.parametrize(
    ("scheme", "names", "words"),
    [
        (METOCEAN, ["storm"], "'storm' is not one of"),
        (METOCEAN, ["sea_ice", "sea_ice"], "stands twice"),
        (SLICKS, ["slick"], "All classes"),
        (FIVE_CLASSES, ["young_ice"], "exclude each other"),
    ],
)
def test_what_cannot_be_left_out(scheme: object, names: list[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        scheme.without(names)  # type: ignore[attr-defined]


def test_images_called_by_it_go_and_its_masks_elsewhere() -> None:
    ds = made()
    fewer = in_classes(ds, METOCEAN.without(["iceberg"]))
    assert fewer["name"].values.tolist() == ["rain", "none"]
    assert fewer["class"].values.tolist() == [n for n in METOCEAN.names if n != "iceberg"]
    assert fewer["category"].values.tolist() == [6, 255]  # rain cells were 7
    mask = fewer["mask"].values
    assert mask.shape == (2, 9, 4, 4)
    assert mask[0].sum() == 8
    assert mask[0, 6, 2:].all()
    assert not mask[1].any()
    kept = in_classes(ds, METOCEAN.without(["iceberg"]), keep_images=True)
    assert kept["category"].values.tolist() == [255, 6, 255]
    assert not kept["mask"].values[0].any()


def test_a_set_without_a_class_is_a_set(tmp_path: Path) -> None:
    fewer = in_classes(made(), METOCEAN.without(["iceberg"]))
    again = open_imagettes(save_imagettes(fewer, tmp_path / "fewer.zarr"))
    assert again.attrs["class_scheme"] == "metocean-without-iceberg"
    np.testing.assert_array_equal(again["mask"].values, fewer["mask"].values)
    twice = in_classes(again, METOCEAN.without(["iceberg", "sea_ice"]))
    assert twice.sizes["class"] == 8


def test_sets_that_have_not_the_classes_are_refused() -> None:
    fewer = in_classes(made(), METOCEAN.without(["iceberg"]))
    for scheme in (METOCEAN, SLICKS):
        with pytest.raises(LabelError, match="has not the classes"):
            in_classes(fewer, scheme)
    alone = made().isel(imagette=[0])
    with pytest.raises(LabelError, match="All images are called"):
        in_classes(alone, METOCEAN.without(["iceberg"]))
