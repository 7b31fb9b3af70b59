"""A patch set: labelled cuts of scenes with their provenance, in memory and as a Zarr store.

Every reader and cutter of `frazil.labels` gives this Dataset, on the dims ``patch, channel, height, width``:

- ``image(patch, channel, height, width)``: float32, in the units of ``channel_units`` (σ0 and NESZ in dB, angles in
  degrees); never NaN;
- ``label(patch)``: uint8, code of the class scheme; 255 without a label;
- coordinates on ``patch``: ``scene`` (product name), ``season`` (DJF, MAM, JJA, SON), ``time``, ``polygon`` (row in the
  label file; −1 for none), ``line`` and ``pixel`` (full-resolution position of the first pixel of the patch; NaN where
  unknown), ``longitude`` and ``latitude`` (of its centre, degrees; NaN where unknown); some sets add ``part``;
- coordinates ``channel`` and ``channel_units(channel)``;
- attrs ``class_scheme``, ``class_names``, ``size``, and how the set was made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil import __version__
from frazil.conventions import CLASS_NODATA, CLASS_SCHEMES, VARIABLES, ClassScheme, sensor_of
from frazil.errors import ContractError, LabelError, OptionError, OutputError
from frazil.files import refuse_existing, whole_output
from frazil.labels.possible import refuse_impossible
from frazil.labels.sample_set import blocks, damaged, open_store, refuse_other_codes, refuse_other_kind
from frazil.zarr_stores import DAMAGED_STORE, sealed_codec
from frazil.zarr_writing import quiet_zarr, writable_store

if TYPE_CHECKING:
    import xarray as xr

_CHUNK = 256  # patches per chunk of the store: 3 MB of 3 × 32 × 32
_CHUNK_BYTES = 2**26  # of large patches fewer
_COMMAND = "frazil patches"
_WORDS = ("scene", "part")  # kept as numbers in the store, with the words in its attributes
_NUMBERS: dict[str, tuple[type, dict[str, Any]]] = {
    "label": (np.uint8, {"long_name": "class code; 255 without a label"}),
    "polygon": (np.int32, VARIABLES["polygon"]),
    "line": (np.float64, {"units": "1", "long_name": "first line of the patch, in the full-resolution product"}),
    "pixel": (np.float64, {"units": "1", "long_name": "first pixel of the patch, in the full-resolution product"}),
    "longitude": (np.float64, VARIABLES["longitude"]),
    "latitude": (np.float64, VARIABLES["latitude"]),
}
_TIME = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}
SEASONS = ("DJF", "MAM", "JJA", "SON")


def make_patches(
    image: np.ndarray,
    label: np.ndarray,
    *,
    channels: tuple[str, ...],
    units: tuple[str, ...],
    scheme: ClassScheme,
    scene: np.ndarray,
    time: np.ndarray | None = None,
    attrs: dict[str, Any] | None = None,
    **provenance: np.ndarray,
) -> xr.Dataset:
    """A patch set of arrays in memory.

    Args:
        image: (patch, channel, height, width).
        label: (patch) class codes.
        channels: names.
        units: of each channel.
        scheme: of the labels.
        scene: (patch) product names.
        time: (patch) datetime64; not-a-time where unknown.
        attrs: further attributes.
        **provenance: ``polygon``, ``line``, ``pixel``, ``longitude``, ``latitude``, ``part``, each (patch).

    Raises:
        LabelError: backscatter, angles or coordinates that cannot be.
    """
    import xarray as xr

    n = len(image)
    refuse_impossible(np.asarray(image), channels, units, provenance)
    missing: dict[str, Any] = {"polygon": -1, "line": np.nan, "pixel": np.nan, "longitude": np.nan, "latitude": np.nan}
    given = {name: provenance.get(name, np.full(n, fill)) for name, fill in missing.items()}
    when = np.full(n, np.datetime64("NaT", "ns")) if time is None else np.asarray(time, "datetime64[ns]")
    sensors = sorted(
        {sensor for name in np.unique(np.asarray(scene, dtype=str)) if (sensor := sensor_of({"product": name}))}
    )
    coords: dict[str, Any] = {
        "channel": ("channel", np.array(channels, dtype=str)),
        "channel_units": ("channel", np.array(units, dtype=str)),
        "scene": ("patch", np.asarray(scene, dtype=str)),
        "season": ("patch", season_of(when)),
        "time": ("patch", when),
        **{name: ("patch", np.asarray(v, _NUMBERS[name][0]), _NUMBERS[name][1]) for name, v in given.items()},
    }
    if "part" in provenance:
        coords["part"] = ("patch", np.asarray(provenance["part"], dtype=str))
    patches = xr.Dataset(
        {
            "image": (
                ("patch", "channel", "height", "width"),
                np.asarray(image, np.float32),
                {"long_name": "radar image, in the units of channel_units"},
            ),
            "label": ("patch", np.asarray(label, np.uint8), label_attrs(scheme)),
        },
        coords,
        {
            "title": f"Labelled patches of {' and '.join(sensors) or 'radar'} scenes",
            "class_scheme": scheme.name,
            "class_names": list(scheme.names),
            "size": int(image.shape[-1]),
            "frazil_version": __version__,
            **(attrs or {}),
        },
    )
    check_patches(patches)
    return patches


def label_attrs(scheme: ClassScheme) -> dict[str, Any]:
    """CF attributes of ``label``."""
    return {
        **_NUMBERS["label"][1],
        "flag_values": np.arange(len(scheme.classes), dtype=np.uint8),
        "flag_meanings": " ".join(scheme.names),
    }


def season_of(time: np.ndarray) -> np.ndarray:
    """Meteorological season of times: DJF, MAM, JJA or SON; "unknown" where there is no time."""
    months = np.asarray(time, "datetime64[M]")
    index = months.astype(np.int64) % 12 + 1  # January is 1
    names = np.array(SEASONS)[index % 12 // 3]
    return np.where(np.isnat(months), "unknown", names)


def check_patches(patches: xr.Dataset) -> ClassScheme:
    """The class scheme of a patch set; raise unless the Dataset is one (see the module).

    Raises:
        ContractError: naming what is missing or of the wrong dims.
    """
    want: dict[str, tuple[str, ...]] = {"image": ("patch", "channel", "height", "width")}
    want |= dict.fromkeys(("label", "scene", "season", "time", "polygon", "line", "pixel"), ("patch",))
    want |= {"longitude": ("patch",), "latitude": ("patch",), "channel": ("channel",), "channel_units": ("channel",)}
    for name, dims in want.items():
        if name not in patches.variables:
            raise ContractError(f"This Dataset is not a patch set: {name!r} is missing. Make one with cut_patches().")
        if patches[name].dims != dims:
            raise ContractError(
                f"This Dataset is not a patch set: {name!r} has dims {patches[name].dims}, expected {dims}."
            )
    scheme = patches.attrs.get("class_scheme")
    if scheme not in CLASS_SCHEMES:
        raise ContractError(f"class_scheme {scheme!r} of the patch set is not one of {sorted(CLASS_SCHEMES)}.")
    return CLASS_SCHEMES[str(scheme)]


def save_patches(patches: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a patch set as a Zarr store; it appears whole or not at all. Memory stays at a few thousand patches.

    Args:
        patches: see the module.
        path: ending in ``.zarr``.
        overwrite: replace what is there.

    Raises:
        ContractError: not a patch set.
        OptionError: another suffix.
        OutputExistsError, OutputError: as `frazil.files.whole_output`.
    """
    check_patches(patches)
    return stream_patches(blocks(patches), path, overwrite=overwrite)


def stream_patches(
    parts: Iterator[xr.Dataset], path: str | os.PathLike[str], *, overwrite: bool = False, **attrs: Any
) -> Path:
    """Write patch sets that come one after the other as one store.

    Args:
        parts: patch sets of the same channels, size and scheme. They are asked for while the store is written.
        path: ending in ``.zarr``.
        overwrite: replace what is there.
        **attrs: attributes of the whole; functions are called at the end.

    Raises:
        LabelError: there was no patch at all.
    """
    target = Path(path)
    if target.suffix != ".zarr":
        raise OptionError(f"Output {target} should end in .zarr, the format of patch sets.")
    refuse_existing(target, overwrite=overwrite)
    with whole_output(target, overwrite=overwrite) as part, writable_store(part) as store:
        growing: _GrowingSet | None = None
        for patches in parts:
            growing = growing or _GrowingSet(store, target.name, patches)
            growing.add(patches)
        if growing is None:
            raise LabelError("There are no patches to write.")
        growing.close({name: value() if callable(value) else value for name, value in attrs.items()})
    return target


def gather(
    parts: Iterator[xr.Dataset], path: str | os.PathLike[str] | None, *, overwrite: bool = False, **attrs: Any
) -> xr.Dataset:
    """Patch sets that come one after the other as one: in memory, or at a path (then opened from there).

    Args:
        parts: patch sets of the same kind.
        path: ending in ``.zarr``; None for memory.
        overwrite: replace what is there.
        **attrs: as `stream_patches`.
    """
    if path is not None:
        return open_patches(stream_patches(parts, path, overwrite=overwrite, **attrs))
    whole = join_patches(list(parts))
    return whole.assign_attrs({name: value() if callable(value) else value for name, value in attrs.items()})


def open_patches(path: str | os.PathLike[str]) -> xr.Dataset:
    """A patch set from its Zarr store; images are read when they are asked for.

    Raises:
        LabelNotFoundError: there is no store.
        LabelError: it cannot be read, is not a patch set, is of Zarr 2, or holds what frazil does not write (see
            `frazil.zarr_stores`); labels outside its classes.
    """
    kind, store = "a patch set", Path(path)
    names = {"image", "time", *_NUMBERS, *(f"{n}_index" for n in _WORDS)}
    raw = open_store(store, kind, _COMMAND, arrays=names)
    try:
        small = raw.drop_vars("image").load()
        words = {n: _words(raw.attrs[f"{n}s"], small[f"{n}_index"].values) for n in _words_in(raw)}
        out = raw[["image"]].assign(label=small["label"])
        channel, units = raw.attrs["channels"], raw.attrs["channel_units"]
        coords = {name: small[name].variable for name in _NUMBERS if name != "label"}
        times = small["time"].values
        out = out.assign_coords(
            {
                "channel": ("channel", np.array(channel, dtype=str)),
                "channel_units": ("channel", np.array(units, dtype=str)),
                **{name: ("patch", values) for name, values in words.items()},
                "season": ("patch", season_of(times)),
                "time": ("patch", times),
                **coords,
            }
        )
    except DAMAGED_STORE as error:
        raise damaged(store, kind, _COMMAND, error) from error
    out.attrs = {k: v for k, v in raw.attrs.items() if k not in ("channels", "channel_units", "scenes", "parts")}
    refuse_other_codes(out, store, check_patches(out), _COMMAND, classes="label")
    return out


def patch_statistics(patches: xr.Dataset) -> xr.Dataset:
    """What is in a patch set.

    Returns:
        Dataset with ``count(scene, category)`` (patches per class; category ``"unlabelled"`` last, if there are any)
        and, over all pixels, ``mean``, ``std``, ``minimum`` and ``maximum`` of each ``channel``, in its units.
    """
    import xarray as xr

    scheme = check_patches(patches)
    names, index = np.unique(patches["scene"].values, return_inverse=True)
    label = patches["label"].values
    codes = np.where(label < len(scheme.classes), label, len(scheme.classes)).astype(int)
    count = np.zeros((names.size, len(scheme.classes) + 1), np.int64)
    np.add.at(count, (index, codes), 1)
    categories = [*scheme.names, "unlabelled"]
    if not count[:, -1].any():
        count, categories = count[:, :-1], categories[:-1]
    n, total, squares = 0, np.zeros(patches.sizes["channel"]), np.zeros(patches.sizes["channel"])
    low, high = np.full(total.shape, np.inf), np.full(total.shape, -np.inf)
    for part in blocks(patches):
        image = part["image"].values.astype(np.float64)
        n += image[:, 0].size
        total += image.sum(axis=(0, 2, 3))
        squares += (image**2).sum(axis=(0, 2, 3))
        low, high = np.minimum(low, image.min(axis=(0, 2, 3))), np.maximum(high, image.max(axis=(0, 2, 3)))
    mean = total / max(n, 1)
    variance = np.maximum(squares / max(n, 1) - mean**2, 0)
    return xr.Dataset(
        {
            "count": (("scene", "category"), count, {"units": "1", "long_name": "patches"}),
            "mean": ("channel", mean),
            "std": ("channel", np.sqrt(variance)),
            "minimum": ("channel", low),
            "maximum": ("channel", high),
        },
        {
            "scene": names,
            "category": categories,
            "channel": patches["channel"].values,
            "channel_units": ("channel", patches["channel_units"].values),
        },
        {"class_scheme": scheme.name},
    )


def join_patches(parts: list[xr.Dataset]) -> xr.Dataset:
    """Patch sets of the same channels, size and scheme as one, in memory.

    Raises:
        LabelError: there is none, or they differ in kind.
    """
    import xarray as xr

    if not parts:
        raise LabelError("There are no patches to join.")
    first = parts[0]
    for part in parts[1:]:
        _same_kind(first, part)
    return xr.concat(parts, "patch", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


def _same_kind(first: xr.Dataset, part: xr.Dataset) -> None:
    refuse_other_kind(first, part, {"class_scheme": "classes"})
    if first["channel"].values.tolist() != part["channel"].values.tolist():
        raise LabelError(
            f"Sets differ in channels: {first['channel'].values.tolist()} and {part['channel'].values.tolist()}."
        )


class _GrowingSet:
    """A patch set that grows along ``patch``; full chunks are written as they come."""

    def __init__(self, store: Any, name: str, like: xr.Dataset) -> None:
        import zarr

        self.name, self.like, self.waiting, self.count = name, like, 0, 0
        self.queue: list[xr.Dataset] = []
        self.arrays: dict[str, Any] = {}
        self.words: dict[str, dict[str, int]] = {n: {} for n in _WORDS if n in like.variables}
        with quiet_zarr():
            self.group = zarr.open_group(store, mode="w")
        channel, height, width = (like.sizes[d] for d in ("channel", "height", "width"))
        self._make("image", np.float32, (channel, height, width), ("channel", "height", "width"), like["image"].attrs)
        for name, (dtype, attrs) in _NUMBERS.items():
            self._make(
                name,
                dtype,
                (),
                (),
                label_attrs(CLASS_SCHEMES[like.attrs["class_scheme"]]) if name == "label" else attrs,
            )
        self._make("time", np.int64, (), (), {k: v for k, v in _TIME.items() if k != "dtype"})
        for name in self.words:
            self._make(f"{name}_index", np.int32, (), (), {"long_name": f"row in the attribute {name}s of the store"})

    def _make(self, name: str, dtype: type, shape: tuple[int, ...], dims: tuple[str, ...], attrs: Any) -> None:
        row = int(np.prod(shape)) * np.dtype(dtype).itemsize
        rows = min(_CHUNK, max(_CHUNK_BYTES // row, 1)) if shape else 65536
        array = self.group.create_array(
            name,
            shape=(0, *shape),
            dtype=dtype,
            chunks=(rows, *shape),
            dimension_names=["patch", *dims],
            config={"write_empty_chunks": True},
            compressors=sealed_codec(),
        )
        self.arrays[name] = array
        array.attrs.update({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in attrs.items()})

    def add(self, patches: xr.Dataset) -> None:
        """Take patches; write as many as fill chunks."""
        _same_kind(self.like, patches)
        self.queue.append(patches)
        self.waiting += patches.sizes["patch"]
        if self.waiting >= 4 * _CHUNK:
            self._flush(self.waiting // _CHUNK * _CHUNK)

    def _flush(self, n: int) -> None:
        if n == 0:
            return
        whole = join_patches(self.queue)
        part, rest = whole.isel(patch=slice(0, n)), whole.isel(patch=slice(n, None))
        self.queue, self.waiting = ([rest] if rest.sizes["patch"] else []), rest.sizes["patch"]
        values = {"image": part["image"].values, **{name: part[name].values for name in _NUMBERS}}
        values["time"] = part["time"].values.astype("datetime64[ns]").astype(np.int64)
        for name, known in self.words.items():
            words = part[name].values.tolist()
            values[f"{name}_index"] = np.array([known.setdefault(word, len(known)) for word in words], np.int32)
        for name, array in values.items():
            self.arrays[name].append(np.asarray(array, self.arrays[name].dtype), axis=0)
        self.count += n

    def close(self, attrs: dict[str, Any]) -> None:
        """Write what waits and the attributes."""
        self._flush(self.waiting)
        like = self.like
        own = {k: v for k, v in like.attrs.items() if isinstance(v, (str, int, float, bool, list, dict))}
        self.group.attrs.update(
            own
            | {f"{name}s": list(known) for name, known in self.words.items()}
            | {"channels": like["channel"].values.tolist(), "channel_units": like["channel_units"].values.tolist()}
            | attrs
        )
        if self.arrays["image"].shape[0] != self.count:
            raise OutputError(f"Cannot write {self.name}: {self.count} patches were meant. Run it again.")


def _words(known: Any, index: np.ndarray) -> np.ndarray:
    if index.size and index.min() < 0:  # would count from the end
        raise IndexError(f"row {index.min()} of the names of scenes")
    return np.array(known, dtype=str)[index]


def _words_in(raw: xr.Dataset) -> list[str]:
    return [name for name in _WORDS if f"{name}_index" in raw.variables]


def labelled(patches: xr.Dataset) -> xr.Dataset:
    """The patches that have a label."""
    return patches.isel(patch=np.flatnonzero(patches["label"].values != CLASS_NODATA))
