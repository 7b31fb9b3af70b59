"""Label propagation from files to a file: `frazil propagate`. Nothing is unpickled."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from frazil.conventions import ClassScheme
from frazil.errors import FrazilError, MissingDependencyError, ModelError, OptionError
from frazil.files import refuse_existing, whole_output
from frazil.learn.checkpoint import ModelCard, load_model
from frazil.learn.config import ChoiceConfig, PatchData, PropagationConfig, RunConfig, of_patches, run_config
from frazil.learn.data.load import draw, read_sides
from frazil.learn.data.patches import UNLABELLED, read_patches
from frazil.learn.infer.device import usable_device
from frazil.learn.models.patch import takes_patches
from frazil.learn.propagation.choose import choose_propagation
from frazil.learn.propagation.graph import NOWHERE, Propagated, propagate_labels

_TABLES = (".npy", ".npz", ".csv", ".parquet")
_OUTPUTS = (".csv", ".npz")


@dataclass(frozen=True, eq=False)
class Samples:
    """Descriptors (sample, feature), labels (sample,) with −1 for none, and class names where they are known.

    Attributes:
        held_out: labels (sample,) of the patches of the validation scenes of the model's run, −1 elsewhere.
    """

    features: np.ndarray
    labels: np.ndarray | None
    scheme: ClassScheme | None = None
    held_out: np.ndarray | None = None


def propagate_files(
    features: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    model: str | None = None,
    config: PropagationConfig | None = None,
    picture: str | os.PathLike[str] | None = None,
    method: str = "pca",
    device: str | None = None,
    overwrite: bool = False,
    all_labels: bool = False,
    choice: ChoiceConfig | None = None,
    validation: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Propagate labels over descriptors in a file, or over those that a model gives of a patch set.

    Args:
        features: ``.npy``, ``.npz``, ``.csv`` or ``.parquet``, a row a sample; or a patch set (``.zarr``) with `model`.
        output: ``.csv`` or ``.npz`` with ``label`` (−1 where no label reaches), ``weight`` and ``reached``.
        labels: ``.npy``, ``.npz`` or ``.csv`` of whole numbers, −1, 255 or empty for none; by default those
            of the patch set: of them the ones that the model's run has drawn, if it learnt from some alone.
        model: folder, or name of a bundled model; a patch classifier.
        config: of the propagation.
        picture: PNG of the descriptors before and after.
        method: ``"pca"`` or ``"umap"``, of the picture.
        device: ``"cpu"`` or ``"cuda"``, for the descriptors.
        overwrite: replace what is there.
        all_labels: take all labels of the patch set, also those that the model's run has hidden from it.
        choice: choose k and alpha, in place of those of `config`, see `frazil.learn.propagation.choose`.
        validation: file of labels like `labels`, by which to choose; they are not propagated. Of a patch set whose
            model's run had validation scenes, by default the labels of these.

    Returns:
        Numbers to print: samples, labels given, coverage, mean weight, convergence, counts of each class; and what
        was chosen, with all that was tried.

    Raises:
        OptionError and others: files that do not hold what they should, or do not fit each other.
    """
    target = Path(output)
    if target.suffix.lower() not in _OUTPUTS:
        raise OptionError(f"Output {target} should end in {' or '.join(_OUTPUTS)}.")
    for path in (target, *([picture] if picture else [])):
        refuse_existing(path, overwrite=overwrite)
    place = usable_device(device).type
    judges = choice is not None and choice.by in ("validation", "best") and validation is None
    samples = read_samples(features, model, device, all_labels=all_labels, judges=judges)
    given = samples.labels if labels is None else read_labels(labels, len(samples.features))
    if given is None:
        raise OptionError("A table of features has no labels. Pass --labels FILE.")
    if given.shape != (len(samples.features),):
        raise OptionError(
            f"There are {len(samples.features)} samples, but {given.size} labels. Give one each, -1 for none."
        )
    n_classes = len(samples.scheme.classes) if samples.scheme else None
    chosen = None
    if validation is not None and (choice is None or choice.by not in ("validation", "best")):
        raise OptionError("Validation labels are for choosing k and alpha. Pass --choose validation with them.")
    if choice is not None and choice.by != "nothing":
        held_out = samples.held_out if validation is None else read_labels(validation, len(given))
        if held_out is not None and held_out.shape != given.shape:
            raise OptionError(f"There are {len(given)} samples, but {held_out.size} validation labels. Give one each.")
        if held_out is not None and choice.by != "labels":
            given = np.where(held_out == NOWHERE, given, NOWHERE)
        settings = config or PropagationConfig()
        chosen = choose_propagation(
            samples.features, given, choice, settings, held_out=held_out, n_classes=n_classes, device=place
        )
        config = chosen.apply(settings)
    found = propagate_labels(samples.features, given, n_classes=n_classes, config=config)
    with whole_output(target, overwrite=overwrite) as part:
        _write(found, part)
    if picture:
        from frazil.learn.propagation.picture import draw_features

        draw_features(
            samples.features,
            {"labels given": given, "labels propagated": found.label},
            picture,
            scheme=samples.scheme,
            method=method,
            overwrite=overwrite,
        )
    told = describe_propagation(found, given, samples.scheme)
    return told if chosen is None else {**told, "chosen": chosen.to_json()}


def describe_propagation(found: Propagated, given: np.ndarray, scheme: ClassScheme | None) -> dict[str, object]:
    """What came out, as plain numbers."""
    codes = range(len(found.class_weight))
    names = scheme.names if scheme else tuple(f"class {c}" for c in codes)
    others = given == NOWHERE
    none = [names[c] for c in codes if not (given == c).any()]
    return {
        "samples": len(given),
        "labels": int((~others).sum()),
        "coverage": round(float(found.reached[others].mean()), 4) if others.any() else 1.0,
        "weight": round(float(found.weight[others].mean()), 4) if others.any() else 1.0,
        "iterations": found.iterations,
        "residual": float(f"{found.residual:.2g}"),
        "converged": found.converged,
        "classes": {names[c]: int((found.label == c).sum()) for c in codes},
        "unreached": int((~found.reached).sum()),
        **({"classes_without_a_label": none} if none else {}),
    }


def read_samples(
    path: str | os.PathLike[str],
    model: str | None,
    device: str | None = None,
    *,
    all_labels: bool = False,
    judges: bool = False,
) -> Samples:
    """Descriptors of a table, or of a patch set by a model; with the patch set's labels.

    Args:
        path: of the file or set.
        model: as in `propagate_files`.
        device: likewise.
        all_labels: likewise.
        judges: tell which patches are of the validation scenes of the model's run.
    """
    if str(path).rstrip("/").endswith(".zarr"):
        if model is None:
            raise OptionError("A patch set needs a model that describes its patches. Pass --model FOLDER.")
        loaded = load_model(model)
        if not takes_patches(loaded.network):
            raise ModelError(f"Model {loaded.card.id} is no patch classifier, and has no descriptors of patches.")
        channels = tuple(c.name for c in loaded.card.channels)
        patches, _ = read_patches((str(path),), channels=channels, scheme=loaded.card.class_scheme)
        side, wanted = patches.image.shape[-1], loaded.network.patch
        if side < wanted:
            raise ModelError(f"Model {loaded.card.id} takes patches of {wanted} pixels, but these have {side}.")
        place = usable_device(device).type
        found = patches.centre(wanted).descriptors(loaded.network.to(place), place)
        label = patches.label.astype(np.int64)
        hidden = label == UNLABELLED
        drawn = None if all_labels else drawn_labels(str(path), loaded.card)
        if drawn is not None:
            hidden |= ~np.isin(np.arange(len(label)), drawn)
        held_out = None
        if judges and (places := validation_places(str(path), loaded.card)) is not None:
            held_out = np.full(len(label), NOWHERE)
            held_out[places] = label[places]
        return Samples(found, np.where(hidden, NOWHERE, label), loaded.card.scheme, held_out)
    if model is not None:
        raise OptionError("A model describes patches: pass a patch set (.zarr) with it.")
    return Samples(_table(Path(path), "features"), None)


def drawn_labels(path: str, card: ModelCard) -> np.ndarray | None:
    """Positions of the patches of a set whose labels a model's run has learnt from; None where it took all there were.

    Raises:
        OptionError: the run drew from another set, so that nobody can tell which.
    """
    config = _run_of(card)
    if config is None or not config.labels.few:
        return None
    try:
        data = replace(_patch_data(config), patches=(path,))
        sides, _, _, table = read_sides(data)
        train, chosen, _ = draw(data, config.labels, sides, table)
    except FrazilError as error:
        raise OptionError(
            f"Model {card.id} has learnt from {config.labels.count or 'some'} labels, and which cannot be told from "
            f"{path} ({error}). Pass the set that it has learnt from, --labels FILE, or --all-labels."
        ) from error
    return np.asarray(train.take(chosen).index)


def validation_places(path: str, card: ModelCard) -> np.ndarray | None:
    """Positions of the labelled patches of a set that lie in the validation scenes of a model's run; None without any.

    Of another set than the run's there are none to be had, and nothing is wrong: labels in turn can judge.
    """
    config = _run_of(card)
    if config is None:
        return None
    try:
        sides, _, _, _ = read_sides(replace(_patch_data(config), patches=(path,)))
    except FrazilError:
        return None
    return np.asarray(sides["validation"].index) if len(sides["validation"]) else None


def _run_of(card: ModelCard) -> RunConfig | None:
    """The run that made a model, where it learnt from patches."""
    settings = card.training.get("config")
    config = run_config(settings) if settings else None
    return config if config is not None and of_patches(config.data) else None


def _patch_data(config: RunConfig) -> PatchData:
    assert of_patches(config.data)
    return config.data


def read_labels(path: str | os.PathLike[str], count: int | None = None) -> np.ndarray:
    """Class codes int64 (sample,), −1 without one (in the file also 255, as in patch sets).

    Args:
        path: of the file.
        count: of samples; a column of a CSV that holds one more, the first of them 0, has a header.
    """
    values = _table(Path(path), "labels")
    if (
        Path(path).suffix.lower() == ".csv"
        and len(values) == values.size == (count or 0) + 1
        and values.ravel()[0] == 0
    ):
        values = values[1:]  # pandas names a column without a name 0
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise OptionError(f"{path} should hold one label a sample; it has shape {values.shape}.")
    values = np.where(np.isnan(values), NOWHERE, values) if values.dtype.kind == "f" else values
    if values.dtype.kind not in "iuf" or not (values == np.round(values)).all():
        raise OptionError(f"{path} holds labels that are no whole numbers. Give class codes 0, 1, …, and -1 for none.")
    codes = values.astype(np.int64)
    return np.where(codes == UNLABELLED, NOWHERE, codes)


def _table(path: Path, what: str) -> np.ndarray:
    if path.suffix.lower() not in _TABLES:
        raise OptionError(f"{path}: {what} are read from {', '.join(_TABLES)}.")
    if not path.is_file():
        raise OptionError(f"There is no file {path} to read {what} from.")
    try:
        return _read(path, what)
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        MemoryError,
        SyntaxError,
        TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # NumPy reads heads of arrays as Python's literals
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"{path} cannot be read as {what}: {(str(error).splitlines() or ['it is damaged'])[0]}."
        ) from error


def _read(path: Path, what: str) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        whole: np.ndarray = np.load(path, allow_pickle=False)
        return whole
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            name = what if what in names else names[0] if len(names) == 1 else None
            if name is None:
                raise OptionError(f"{path} holds {names}; name the array {what!r}.")
            one: np.ndarray = archive[name]
            return one
    import pandas as pd

    if suffix == ".parquet":
        try:
            frame = pd.read_parquet(path)
        except ImportError as error:
            raise MissingDependencyError("Parquet files need pyarrow: pip install pyarrow. Or use .npy.") from error
    else:
        with path.open(encoding="utf-8-sig") as file:
            words = [word.strip().strip('"') for word in file.readline().rstrip("\r\n").split(",")]
        named = any(not _number(word) for word in words if word) or _counts(words)
        frame = pd.read_csv(path, header=0 if named else None, skip_blank_lines=False, encoding="utf-8-sig")
        if named and words[0] == "" and len(words) > 1 and (frame.iloc[:, 0] == np.arange(len(frame))).all():
            frame = frame.iloc[:, 1:]  # the index that pandas writes
        if what == "labels" and "label" in frame:
            frame = frame[["label"]]
    strange = [str(c) for c in frame if frame[c].dtype.kind not in "iuf"]
    if strange:
        raise OptionError(f"Column {strange[0]!r} of {path} does not hold numbers. Leave it out.")
    return frame.to_numpy()


def _counts(words: list[str]) -> bool:
    """Whether a first line is the numbers of columns, 0, 1, 2 …, as pandas writes tables without names."""
    counted = words[1:] if words[0] == "" else words
    return len(words) > 1 and counted == [str(n) for n in range(len(counted))]


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _write(found: Propagated, path: Path) -> None:
    if path.suffix.lower() == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(file, label=found.label, weight=found.weight, reached=found.reached)
        return
    lines = (f"{a},{b:.6g},{int(c)}\n" for a, b, c in zip(found.label, found.weight, found.reached, strict=True))
    with path.open("w", encoding="utf-8") as text:
        text.write("label,weight,reached\n")
        text.writelines(lines)
