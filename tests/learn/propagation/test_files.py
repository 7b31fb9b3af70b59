"""Label propagation from files: what is read, written, drawn and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import frazil
from frazil.cli import cli
from frazil.conventions import BINARY
from frazil.errors import MissingDependencyError, OptionError, OutputExistsError
from frazil.learn.checkpoint import load_model
from frazil.learn.config import ChoiceConfig, PatchData, run_config
from frazil.learn.data.load import split_sides
from frazil.learn.propagation.files import propagate_files
from frazil.learn.propagation.picture import draw_descriptors, draw_features, principal_components
from tests.learn.propagation.test_graph import blobs, few


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("files")
    x, truth = blobs(90, spread=0.15)
    x[80:] = 0  # descriptors without direction: no label reaches them
    labels = few(truth[:80], 2)
    labels = np.concatenate([labels, np.full(10, -1)])
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", features=x, other=truth)
    np.savetxt(folder / "x.csv", x, delimiter=",", header=",".join(f"f{i}" for i in range(8)), comments="")
    np.savetxt(folder / "bare.csv", x, delimiter=",")
    np.save(folder / "y.npy", labels)
    words = ["" if v < 0 else str(v) for v in labels]
    (folder / "y.csv").write_text("name,label\n" + "".join(f"p{i},{w}\n" for i, w in enumerate(words)))
    (folder / "bare-y.csv").write_text("".join(f"{v}\n" for v in labels))
    return folder, labels, truth


@pytest.mark.parametrize("features", ["x.npy", "x.npz", "x.csv", "bare.csv"])
@pytest.mark.parametrize("labels", ["y.npy", "y.csv", "bare-y.csv"])
def test_every_format_gives_the_same(features: str, labels: str, problem: Any, tmp_path: Path) -> None:
    folder, given, truth = problem
    said = propagate_files(folder / features, tmp_path / "out.npz", labels=folder / labels)
    expected = frazil.propagate_labels(np.load(folder / "x.npy"), given)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        np.testing.assert_array_equal(out["label"], expected.label)
        np.testing.assert_allclose(out["weight"], expected.weight, atol=1e-5)
        np.testing.assert_array_equal(out["reached"], expected.reached)
        assert (out["label"][80:] == -1).all()
        assert (out["weight"][80:] == 0).all()
        assert (out["label"][:80] == truth[:80]).mean() > 0.95
    assert said["unreached"] == 10
    assert said["coverage"] == pytest.approx(74 / 84, abs=1e-4)
    assert said["labels"] == 6
    assert said["converged"]


@pytest.mark.parametrize("index", [False, True])
def test_numbers_of_columns_are_a_header(index: bool, problem: Any, tmp_path: Path) -> None:
    """As pandas writes a table without names: neither a sample nor, its index, a feature."""
    import pandas as pd

    folder, given, _ = problem
    x = np.load(folder / "x.npy")
    pd.DataFrame(x).to_csv(tmp_path / "x.csv", index=index)
    pd.Series(given).to_csv(tmp_path / "y.csv", index=index)
    said = propagate_files(tmp_path / "x.csv", tmp_path / "out.npz", labels=tmp_path / "y.csv")
    assert said["samples"] == len(x)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        np.testing.assert_array_equal(out["label"], frazil.propagate_labels(x, given).label)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_our_own_none_is_none(suffix: str, problem: Any, tmp_path: Path) -> None:
    folder, given, _ = problem
    codes = np.where(given < 0, 255, given)
    path = tmp_path / f"y{suffix}"
    if suffix == ".npy":
        np.save(path, codes.astype(np.uint8))
    else:
        path.write_text("".join(f"{v}\n" for v in codes))
    assert propagate_files(folder / "x.npy", tmp_path / "o.csv", labels=path)["labels"] == int((given >= 0).sum())


def test_from_the_command_line_with_a_picture(problem: Any, tmp_path: Path) -> None:
    folder, _, _ = problem
    words = ["propagate", str(folder / "x.npy"), "--labels", str(folder / "y.npy"), "-o", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(
        cli, [*words, "--k", "10", "--picture", str(tmp_path / "pca.png")], catch_exceptions=False
    )
    assert "samples      90, 6 with a label" in done.output
    assert "converged" in done.output
    assert "(no label reaches)       10" in done.output
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table) == ["label", "weight", "reached"]
    assert len(table) == 90
    assert (table["label"][80:] == -1).all()
    assert Image.open(tmp_path / "pca.png").size[0] > 600
    with pytest.raises(OutputExistsError):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    done = CliRunner().invoke(cli, [*words, "--overwrite", "--json", "--iterations", "2"], catch_exceptions=False)
    assert json.loads(done.output)["converged"] is False


def test_a_model_describes_a_patch_set(tmp_path: Path) -> None:
    from frazil.learn.run import train
    from tests.learn.test_run import tiny_run, toy_set

    store = toy_set(tmp_path / "set.zarr", n=60)
    train(tiny_run(store, steps=2), tmp_path / "run")
    labels = np.full(60, -1)
    labels[:4] = [0, 1, 0, 1]
    np.save(tmp_path / "y.npy", labels)
    model = str(tmp_path / "run" / "model")
    said = propagate_files(store, tmp_path / "out.csv", labels=tmp_path / "y.npy", model=model)
    assert said["classes"]["open_water"] + said["classes"]["brash_pancake"] == 60
    assert said["classes_without_a_label"] == ["young_ice", "level_first_year_ice", "deformed_ice"]
    assert propagate_files(store, tmp_path / "all.csv", model=model)["labels"] == 60
    with pytest.raises(OptionError, match="needs a model that describes its patches"):
        propagate_files(store, tmp_path / "no.csv")
    grid = ChoiceConfig(by="best", k=(3, 9), alpha=(0.5,))
    said = propagate_files(store, tmp_path / "chosen.csv", model=model, choice=grid)
    card = load_model(model).card
    data = run_config(card.training["config"]).data
    assert isinstance(data, PatchData)
    sides, _ = split_sides(data)
    assert (said["chosen"]["by"], said["chosen"]["judges"]) == ("validation", len(sides["validation"]))
    assert said["labels"] == 60 - len(sides["validation"]), "what judges is not propagated"
    alone = propagate_files(store, tmp_path / "labels.csv", model=model, choice=replace(grid, by="labels"))
    assert (alone["chosen"]["by"], alone["labels"]) == ("labels", 60)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ("x.npy", None, "A table of features has no labels. Pass --labels FILE"),
        ("x.npy", "short.npy", "There are 90 samples, but 5 labels"),
        ("x.npy", "half.csv", "holds labels that are no whole numbers"),
        ("x.npy", "none.npy", "There is no label to propagate"),
        ("x.npy", "gone.npy", "There is no file"),
        ("object.npy", "y.npy", "cannot be read as features: Object arrays cannot be loaded"),
        ("torn.npz", "y.npy", "cannot be read as features"),
        ("two.npz", "y.npy", "holds .'a', 'b'.; name the array 'features'"),
        ("words.csv", "y.npy", "Column 'ice' of .* does not hold numbers"),
        ("x.txt", "y.npy", "features are read from .npy"),
        ("nan.npy", "y.npy", "The features of sample 3 are not finite"),
    ],
)
def test_what_cannot_be_read_is_said(
    features: str, labels: str | None, message: str, problem: Any, tmp_path: Path
) -> None:
    folder, given, _ = problem
    x = np.load(folder / "x.npy")
    np.save(folder / "short.npy", given[:5])
    (folder / "half.csv").write_text("0.5\n" * 90)
    np.save(folder / "none.npy", np.full(90, -1))
    np.save(folder / "object.npy", np.array([{"a": 1}] * 90), allow_pickle=True)
    (folder / "torn.npz").write_bytes((folder / "x.npz").read_bytes()[:300])
    np.savez(folder / "two.npz", a=x, b=x)
    (folder / "words.csv").write_text("f0,ice\n" + "1.0,old\n" * 90)
    (folder / "x.txt").write_text("1 2 3")
    x[3, 2] = np.nan
    np.save(folder / "nan.npy", x)
    with pytest.raises(OptionError, match=message):
        propagate_files(folder / features, tmp_path / "o.csv", labels=None if labels is None else folder / labels)
    assert not (tmp_path / "o.csv").exists()


def test_parquet_is_read_or_the_package_named(problem: Any, tmp_path: Path) -> None:
    folder, _, _ = problem
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError:
        (tmp_path / "x.parquet").write_bytes(b"PAR1")
        with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
            propagate_files(tmp_path / "x.parquet", tmp_path / "o.csv", labels=folder / "y.npy")
        return
    pd.DataFrame(np.load(folder / "x.npy")).rename(columns=str).to_parquet(tmp_path / "x.parquet")
    assert propagate_files(tmp_path / "x.parquet", tmp_path / "o.csv", labels=folder / "y.npy")["samples"] == 90


def test_components_are_those_of_a_singular_value_decomposition(tmp_path: Path) -> None:
    x, truth = blobs(120, d=16)
    points, share = principal_components(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    unit -= unit.mean(axis=0)
    _, value, vector = np.linalg.svd(unit, full_matrices=False)
    np.testing.assert_allclose(share, (value**2 / (value**2).sum())[:3], rtol=1e-4)
    np.testing.assert_allclose(np.abs(points), np.abs(unit @ vector[:3].T), atol=1e-4)
    assert principal_components(np.ones((5, 2), np.float32))[0].shape == (5, 3)
    with pytest.raises(OptionError, match="should end in .png"):
        draw_features(x, {"a": truth}, tmp_path / "x.jpg")
    with pytest.raises(OptionError, match="is not 'pca' or 'umap'"):
        draw_features(x, {"a": truth}, tmp_path / "x.png", method="tsne")
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pip install umap-learn"):
            draw_features(x, {"a": truth}, tmp_path / "x.png", method="umap")
    assert draw_features(x, {"none": np.full(120, -1), "all": truth % 2}, tmp_path / "y.png", scheme=BINARY).exists()


def test_k_and_alpha_are_chosen_by_labels_and_by_validation_labels(problem: Any, tmp_path: Path) -> None:
    folder, given, truth = problem
    held_out = np.full(len(given), -1)
    held_out[20:60] = np.where(given[20:60] < 0, truth[20:60], -1)
    np.save(tmp_path / "judges.npy", held_out)
    words = ["propagate", str(folder / "x.npy"), "--labels", str(folder / "y.npy"), "--k", "2,12", "--alpha", "0.5,0.9"]
    words += ["-o", str(tmp_path / "out.npz"), "--overwrite"]
    by_labels = CliRunner().invoke(cli, [*words, "--choose", "best"], catch_exceptions=False)
    assert "by 6 labels, each left out in turn" in by_labels.output
    assert by_labels.output.count("% mean recall") == 4
    more = ["--choose", "validation", "--validation", str(tmp_path / "judges.npy"), "--json"]
    said = json.loads(CliRunner().invoke(cli, [*words, *more], catch_exceptions=False).output)
    chosen = said["chosen"]
    assert (chosen["by"], chosen["judges"]) == ("validation", int((held_out >= 0).sum()))
    assert len(chosen["tried"]) == 4
    expected = frazil.propagate_labels(np.load(folder / "x.npy"), given, k=chosen["k"], alpha=chosen["alpha"])
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["label"], expected.label)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--k", "5,10"], "Pass --choose best"),
        (["--k", "five"], "'five' is not a number"),
        (["--k", "5,", "--choose", "best"], "is not a number"),
        (["--alpha", "0.5,2", "--choose", "best"], "between 0 and 1"),
        (["--k", "5,5", "--choose", "labels"], "none twice"),
        (["--choose", "validation"], "no validation samples"),
        (["--validation", "judges.npy"], "Pass --choose validation"),
    ],
)
def test_bad_choices_get_one_line_and_write_nothing(
    more: list[str], said: str, problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = problem
    monkeypatch.chdir(tmp_path)
    words = ["propagate", str(folder / "x.npy"), "--labels", str(folder / "y.npy"), "-o", "out.npz"]
    done = CliRunner().invoke(cli, [*words, *more])
    assert done.exit_code != 0
    assert said in f"{done.output}{done.exception}"
    assert list(tmp_path.iterdir()) == []


def test_each_panel_of_descriptors_shows_its_own_classes(tmp_path: Path) -> None:
    x, truth = blobs(60, classes=2)
    none = np.full(60, -1)
    rows = {"few": {"before": (x, none), "after": (x, truth)}, "many": {"before": (x, truth), "after": (x, truth)}}
    path = draw_descriptors(rows, tmp_path / "out.png", scheme=BINARY)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    blue = np.abs(picture - np.array((0x0B, 0x5F, 0xA5))).sum(-1) < 60
    panels = [blue[:height, :width], blue[:height, width:], blue[height : 2 * height - 60, :width]]
    seen = [int(panel.sum()) for panel in panels]
    assert seen[0] == 0, "nothing has a class there"
    assert min(seen[1:]) > 50
    with pytest.raises(OutputExistsError):
        draw_descriptors(rows, path)
    with pytest.raises(OptionError, match="should end in .png"):
        draw_descriptors(rows, tmp_path / "out.jpg")
