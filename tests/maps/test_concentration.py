"""Concentration against brute force, physics of shares, other readers, and real concentration maps."""

import json
import subprocess
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from frazil.cli import cli
from frazil.conventions import CLASS_LAND, CLASS_NODATA, UNDECIDED
from frazil.errors import ContractError, LabelError, OptionError
from frazil.maps.concentration import STATUS, cell_areas_km2, ice_concentration, shares
from frazil.maps.concentration_files import FRACTIONS, draw_concentration, save_concentration
from frazil.maps.concentration_scores import score_concentration
from frazil.maps.export import export
from frazil.maps.netcdf_reference import read_netcdf
from frazil.scene.grid import MapGrid
from frazil.testing import make_map

C = "sea_ice_area_fraction"


def brute_force(ice_map: xr.Dataset, cells: MapGrid) -> dict[str, np.ndarray]:
    """Pixel by pixel in float64: position by PROJ, ground area by geodesics, no lattice and no bincount."""
    grid = MapGrid.of(ice_map)
    change = Transformer.from_crs(grid.crs, cells.crs, always_xy=True)
    lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    geod, half = Geod(ellps="WGS84"), grid.spacing_m / 2
    out = {name: np.zeros(cells.shape) for name in ("sea", "ice", "doubt", "undecided")}
    for i, y in enumerate(grid.y):
        for j, x in enumerate(grid.x):
            code = int(ice_map["ice_class"].values[i, j])
            u, v = change.transform(x, y)
            row, column = int((cells.top - v) // cells.spacing_m), int((u - cells.left) // cells.spacing_m)
            if code >= CLASS_LAND or not (0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]):
                continue
            corners = lonlat.transform(
                [x - half, x + half, x + half, x - half], [y - half, y - half, y + half, y + half]
            )
            area = abs(geod.polygon_area_perimeter(*corners)[0]) / 1e6
            p = int(ice_map["ice_probability"].values[i, j]) / 100
            out["sea"][row, column] += area
            out["ice"][row, column] += p * area
            out["doubt"][row, column] += p * (1 - p) * area
            out["undecided"][row, column] += area * (code == UNDECIDED)
    return out


@pytest.mark.parametrize(
    ("crs", "to", "centre", "spacing_m"),
    [
        ("EPSG:3413", None, (-10.0, 78.0), 1700.0),
        ("EPSG:3413", "EPSG:6931", (179.9, 71.0), 2500.0),
        ("EPSG:3031", None, (0.0, -90.0), 2000.0),
        ("EPSG:32633", "EPSG:3413", (15.0, 62.0), 3000.0),
    ],
)
def test_every_cell_is_the_mean_of_its_pixels(
    crs: str, to: str | None, centre: tuple[float, float], spacing_m: float
) -> None:
    ice_map = make_map(shape=(50, 60), crs=crs, centre=centre, spacing_m=300.0, seed=3)
    made = ice_concentration(ice_map, spacing_m=spacing_m, crs=to, min_observed=0.01)
    expected = brute_force(ice_map, MapGrid.of(made))
    sea = expected["sea"]
    told = np.isfinite(made[C].values)
    assert 0 < told.sum() <= (sea > 0).sum()
    np.testing.assert_allclose(made[C].values[told], (expected["ice"] / np.maximum(sea, 1e-9))[told], atol=2e-4)
    np.testing.assert_allclose(
        made["undecided_fraction"].values[told], (expected["undecided"] / np.maximum(sea, 1e-9))[told], atol=2e-4
    )
    independent = np.maximum(1, sea / (2 * np.pi * 1.3**2))
    sigma = np.sqrt(expected["doubt"] / np.maximum(sea, 1e-9) * (0.31 + 0.69 / independent))
    np.testing.assert_allclose(made["standard_error"].values[told], sigma[told], atol=2e-4)


@given(seed=st.integers(0, 10_000), spacing=st.floats(300, 9000), confidence=st.sampled_from([50.0, 80.0, 99.0]))
@settings(max_examples=40, deadline=None)
def test_what_must_hold_of_any_map(seed: int, spacing: float, confidence: float) -> None:
    ice_map = make_map(shape=(40, 30), spacing_m=300.0, seed=seed, confidence_percent=confidence)
    made = ice_concentration(ice_map, spacing_m=spacing)
    told = np.isfinite(made[C].values)
    for name in FRACTIONS:
        values = made[name].values[told]
        assert (values >= -1e-6).all()
        assert (values <= 1 + 1e-6).all()
        assert name == "observed_fraction" or np.isnan(made[name].values[~told]).all()
    low, high, share = (made[n].values[told] for n in ("fraction_low", "fraction_high", C))
    assert (low <= share + 1e-6).all()
    assert (share <= high + 1e-6).all()
    np.testing.assert_allclose(high - low, made["undecided_fraction"].values[told], atol=1e-5)
    assert (made["observed_fraction"].values[told] >= 0.5 - 1e-6).all()
    status = made["status_flag"].values
    assert np.isin(status, list(STATUS)).all()
    assert (told == np.isin(status, [0, 2])).all()


def test_expected_ice_is_the_same_on_every_grid() -> None:
    """Area of ice is conserved: cells of 1, 2.5 and 10 km hold the same square kilometres of it."""
    ice_map = make_map(shape=(120, 110), spacing_m=250.0, seed=4, land=0.0, border=False)
    totals = []
    for spacing in (1000.0, 2500.0, 10_000.0):
        made = ice_concentration(ice_map, spacing_m=spacing, min_observed=1e-6)
        grid = MapGrid.of(made)
        area = np.asarray(cell_areas_km2(grid.pyproj_crs, grid.transform, grid.shape))
        totals.append(float(np.nansum(made[C].values * made["observed_fraction"].values * area)))
    np.testing.assert_allclose(totals, totals[0], rtol=2e-4)


def test_a_class_corrected_by_hand_counts_and_land_does_not() -> None:
    codes = np.zeros((20, 20), np.uint8)
    codes[:, 10:] = 1
    codes[:10, :5] = CLASS_LAND
    ice_map = make_map(codes=codes, spacing_m=100.0)
    changed = ice_map.copy(deep=True)
    changed["ice_class"].values[10:, :5] = 1  # the probabilities still say water
    for ds, ice in ((ice_map, 200), (changed, 250)):
        made = ice_concentration(ds, spacing_m=100_000.0, min_observed=1e-9)
        values = made[C].values[np.isfinite(made[C].values)]
        sea = made["observed_fraction"].values[made["observed_fraction"].values > 0]
        weights = sea / sea.sum()
        # pixels that are decided one way keep their probability: of 350 sea pixels, water at p, ice at 1 - p of theirs
        p = float(ds["ice_probability"].values[19, 7]) / 100
        kept = float(ds["ice_probability"].values[19, 19]) / 100
        expected = (p * (350 - ice) + kept * 200 + 1.0 * (ice - 200)) / 350
        if values.size == 1:
            assert values[0] == pytest.approx(expected, abs=1e-3)
        else:
            assert float((values * weights).sum()) == pytest.approx(expected, abs=5e-3)


def test_a_cell_is_told_only_where_enough_of_its_sea_was_seen() -> None:
    codes = np.full((40, 40), CLASS_NODATA, np.uint8)
    codes[:20, :20] = 1  # a quarter
    ice_map = make_map(codes=codes, spacing_m=250.0, centre=(-45.0, 80.0))
    grid = MapGrid.of(ice_map)
    # The upper left corner on a multiple of the spacing: one cell of 10 km is the whole map.
    shifted = ice_map.assign_coords(x=ice_map["x"] - grid.left + 1e6, y=ice_map["y"] - grid.top - 1e6)
    few = ice_concentration(shifted, spacing_m=10_000.0, min_observed=0.2)
    many = ice_concentration(shifted, spacing_m=10_000.0, min_observed=0.3)
    assert np.isfinite(few[C].values).sum() == 1
    assert not np.isfinite(many[C].values).any()
    assert set(np.unique(many["status_flag"].values)) == {1, 4}
    assert float(few["observed_fraction"].max()) == pytest.approx(0.25, rel=1e-3)


def test_standard_error_shrinks_with_the_root_of_area_beyond_the_error_length() -> None:
    from frazil.maps.concentration import CellSums

    area = np.array([0.01, 1.0, 100.0, 400.0])
    sums = CellSums(sea=area, land=0 * area, ice=0.5 * area, doubt=0.25 * area, decided_ice=0 * area, undecided=area)
    sigma = shares(sums, 2000.0, 0.0)["standard_error"]
    assert sigma[:2].tolist() == [0.5, 0.5]
    assert sigma[2] / sigma[3] == pytest.approx(2.0)
    assert sigma[2] == pytest.approx(0.5 / np.sqrt(100 / (8 * np.pi)))
    assert shares(sums, 2000.0, 1.0)["standard_error"].tolist() == [0.5] * 4
    huge = CellSums(**{k: v * 1e9 for k, v in vars(sums).items()})
    assert shares(huge, 2000.0, 0.36)["standard_error"] == pytest.approx(0.5 * 0.6, rel=1e-3)


@pytest.mark.parametrize("suffix", [".nc", ".tif"])
def test_files_hold_what_was_made(suffix: str, tmp_path: Path) -> None:
    made = ice_concentration(make_map(shape=(200, 240), spacing_m=400.0, seed=1), spacing_m=5000.0)
    path = save_concentration(made, tmp_path / f"c{suffix}")
    grid = MapGrid.of(made)
    with rasterio.open(path if suffix == ".tif" else f'NETCDF:"{path}":{C}') as raster:
        assert raster.crs.to_epsg() == 3413
        assert tuple(raster.bounds) == pytest.approx(grid.bounds)
        np.testing.assert_array_equal(raster.read(1), made[C].values)
        if suffix == ".tif":
            assert raster.descriptions == FRACTIONS
            assert np.isnan(raster.nodata)


def test_netcdf_reads_back_as_a_concentration_at_its_time(tmp_path: Path) -> None:
    """Our own reader of other people's concentration maps takes it: kind, percent, land, time."""
    ice_map = make_map(shape=(300, 300), spacing_m=400.0, seed=2, land=0.3)
    made = ice_concentration(ice_map, spacing_m=10_000.0)
    path = save_concentration(made, tmp_path / "c.nc")
    kind, raster, time, name = read_netcdf(path, None, None)
    assert (kind, name) == ("concentration", C)
    np.testing.assert_allclose(raster.values, 100 * made[C].values, atol=1e-4)
    assert raster.land is not None
    np.testing.assert_array_equal(raster.land, made["status_flag"].values == 3)
    assert time is not None
    assert str(time.start)[:19] == str(np.datetime64(ice_map.attrs["start_time"].rstrip("Z"))).replace("T", " ")[:19]
    with netCDF4.Dataset(path) as ds:
        assert ds[C].standard_name == C
        assert ds["standard_error"].standard_name == f"{C} standard_error"
        for other in ds[C].ancillary_variables.split():
            assert other in ds.variables


def test_cdo_reads_it_without_a_warning(tmp_path: Path) -> None:
    import shutil

    if shutil.which("cdo") is None:
        pytest.skip("cdo is not installed")
    made = ice_concentration(make_map(shape=(200, 240), spacing_m=400.0), spacing_m=5000.0)
    path = save_concentration(made, tmp_path / "c.nc")
    done = subprocess.run(
        ["cdo", "-s", "output", f"-selname,{C}", str(path)], capture_output=True, text=True, check=True
    )
    values = np.array(done.stdout.split(), float)
    told = np.isfinite(made[C].values).ravel()
    np.testing.assert_allclose(values[told], made[C].values.ravel()[told], rtol=1e-4)
    assert not done.stderr


def test_against_itself_there_is_no_difference(tmp_path: Path) -> None:
    ice_map = make_map(shape=(300, 300), spacing_m=400.0, seed=5)
    path = save_concentration(ice_concentration(ice_map, spacing_m=10_000.0), tmp_path / "c.nc")
    scores = score_concentration(ice_map, path)
    assert scores.cells > 20
    assert abs(scores.bias) < 0.01
    assert scores.rmse < 0.01
    assert scores.between_bounds_percent == 100
    assert scores.hours == 0


def test_differences_are_those_that_were_put_in(tmp_path: Path) -> None:
    """Another concentration, 20 points lower everywhere above 50 %: bias and spread follow by hand."""
    ice_map = make_map(shape=(300, 300), spacing_m=400.0, seed=5)
    made = ice_concentration(ice_map, spacing_m=10_000.0, min_observed=0.9)
    other = made.copy(deep=True)
    ours = made[C].values
    other[C].values[...] = np.where(ours > 0.5, ours - 0.2, ours)
    scores = score_concentration(ice_map, save_concentration(other, tmp_path / "o.nc"))
    told = np.isfinite(ours)
    off = 100 * (ours - other[C].values)[told]
    assert scores.cells == told.sum()
    assert scores.bias == pytest.approx(off.mean(), abs=0.02)
    assert scores.rmse == pytest.approx(np.sqrt((off.astype(float) ** 2).mean()), abs=0.02)
    assert sum(n for n, _, _ in scores.by_reference.values()) == scores.cells


def test_against_a_real_concentration_map(real_data: Path) -> None:
    """The climate record of NOAA and NSIDC, 31 December 2021: a made-up map of pack in it differs by its own doubt."""
    path = real_data / "sic" / "noaa-cdr" / "seaice_conc_daily_nh_20211231_f17_v04r00.nc"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    codes = np.ones((400, 400), np.uint8)
    ice_map = make_map(codes=codes, spacing_m=500.0, centre=(-150.0, 84.0))
    scores = score_concentration(ice_map, path)
    assert scores.cells == pytest.approx(200**2 / 25**2, rel=0.25)
    assert scores.cell_km == pytest.approx(25, rel=0.05)
    p = float(ice_map["ice_probability"].values[0, 0])
    assert scores.bias == pytest.approx(p - 100, abs=3)  # the record says close to 100 there
    assert list(scores.by_reference) == ["pack"]


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    ice_map = make_map(shape=(60, 60))
    for wrong in (
        {"spacing_m": 10.0},
        {"spacing_m": 2e6},
        {"min_observed": 0.0},
        {"common_error": 1.5},
        {"crs": "EPSG:4326"},
    ):
        with pytest.raises(OptionError) as caught:
            ice_concentration(ice_map, **wrong)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(ContractError, match="no concentration"):
        save_concentration(ice_map, tmp_path / "c.nc")
    made = ice_concentration(ice_map, spacing_m=1000.0)
    with pytest.raises(OptionError, match=r"written as \.nc or \.tif"):
        save_concentration(made, tmp_path / "c.png")
    elsewhere = ice_concentration(make_map(shape=(60, 60), centre=(120.0, 75.0)), spacing_m=1000.0)
    with pytest.raises(LabelError, match="no cell in common"):
        score_concentration(ice_map, save_concentration(elsewhere, tmp_path / "far.nc"))


def test_command(tmp_path: Path) -> None:
    export(make_map(shape=(120, 120), spacing_m=400.0), tmp_path / "map", formats=["netcdf"])
    run = CliRunner().invoke
    done = run(
        cli,
        [
            "concentration",
            str(tmp_path / "map"),
            "-o",
            str(tmp_path / "c.nc"),
            "--spacing",
            "5000",
            "--picture",
            str(tmp_path / "c.png"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    again = run(
        cli,
        [
            "concentration",
            str(tmp_path / "map"),
            "-o",
            str(tmp_path / "d.nc"),
            "--against",
            str(tmp_path / "c.nc"),
            "--json",
        ],
    )
    told = json.loads(again.stdout)
    assert told["against"][0]["bias"] == pytest.approx(0, abs=0.02)
    refused = run(cli, ["concentration", str(tmp_path / "map"), "-o", str(tmp_path / "c.nc")])
    assert refused.exit_code != 0
    assert isinstance(refused.exception, Exception)


def test_picture_shows_land_and_doubt(tmp_path: Path) -> None:
    from PIL import Image

    codes = np.full((60, 60), UNDECIDED, np.uint8)
    codes[:, :20] = CLASS_LAND
    made = ice_concentration(make_map(codes=codes, spacing_m=500.0), spacing_m=3000.0)
    path = draw_concentration(made, tmp_path / "c.png")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = {tuple(c) for c in np.unique(pixels, axis=0).tolist()}
    from frazil.conventions import LAND_COLOUR

    assert tuple(LAND_COLOUR) in colours
    with pytest.raises(OptionError, match="dpi"):
        draw_concentration(made, tmp_path / "d.png", dpi=5)
