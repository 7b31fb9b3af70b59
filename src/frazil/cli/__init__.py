"""The command line: parse, call a verb of the library, print.

Results go to stdout (``--json`` for machines), progress and messages to stderr. A `FrazilError` is one line and exit
status 1; any other exception is a bug and shows its traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from frazil import __version__
from frazil.cli.guard import Guarded, refuse_given
from frazil.cli.imagettes import imagettes, phenomena_options, segment
from frazil.cli.labels import patches
from frazil.cli.learning import evaluate, train
from frazil.cli.maps import compare
from frazil.cli.notes import say_crs, say_notes
from frazil.cli.peers import peers
from frazil.cli.prior import DETAILS, check_prior, prior_options
from frazil.cli.progress import progress_bar
from frazil.cli.propagate import propagate
from frazil.cli.report import report
from frazil.cli.say import say, say_json
from frazil.cli.study import study
from frazil.errors import FrazilError, printable

if TYPE_CHECKING:
    from frazil.conventions import Check

DENOISE = click.Choice(["esa", "balanced", "none"])


def _shared(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that several commands share, declared once."""
    options = {
        "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        "overwrite": click.option("--overwrite", is_flag=True, help="Replace an output that is there already."),
        "crs": click.option(
            "--crs",
            help="Projection of the output, in metres.  [default: EPSG:3413 or EPSG:3031; below 60° a UTM zone]",
        ),
        "check": click.option(
            "--check",
            type=click.Choice(["full", "quick", "none"]),
            default="full",
            show_default=True,
            help="Whether files of PRODUCT belong together: with checksums of all measurement files, of small ones, or "
            "not at all.",
        ),
        "image": click.option("--image", help="Which image of a wave-mode or SLC product, for instance 003 or IW1."),
    }

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = options[name](command)
        return command

    return add


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="frazil")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="More of what is being done.")
@click.pass_context
def cli(context: click.Context, quiet: bool, verbose: bool) -> None:
    """Radar products to maps of sea ice, and of the sea and the air above it.

    On a terminal a bar shows the progress of a command; in a log file there is a line a minute.
    """
    if quiet and verbose:
        raise click.UsageError("-q and -v exclude each other.")
    context.ensure_object(dict)["verbosity"] = 1 if verbose else -1 if quiet else 0
    if verbose:
        handler = logging.StreamHandler()  # to stderr
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logging.getLogger("frazil").addHandler(handler)
        logging.getLogger("frazil").setLevel(logging.INFO)


@cli.command()
@click.argument("product", type=click.Path())
@_shared("json")
def info(product: str, as_json: bool) -> None:
    """Say what PRODUCT is, from its metadata alone (folder or zip; Sentinel-1 or RADARSAT)."""
    from frazil.products import describe

    _print(describe(product), as_json)


@cli.command()
@click.argument("product", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="File to write: .nc, .zarr or .tif (geocoded).")
@click.option("--polarization", "polarizations", multiple=True, help="Which polarisation; repeat for several.")
@click.option(
    "--denoise",
    type=DENOISE,
    default="esa",
    show_default=True,
    help="How thermal noise is removed; balanced: of Sentinel-1 alone.",
)
@click.option("--looks", type=int, default=1, show_default=True, help="Average looks x looks blocks in power.")
@click.option("--boxcar", is_flag=True, help="3 x 3 moving average at full resolution.")
@click.option("--spacing", type=float, help="Pixel size of a .tif in metres.  [default: that of the scene]")
@_shared("check", "image", "crs", "overwrite", "json")
def scene(
    product: str, output: str, polarizations: tuple[str, ...], spacing: float | None, crs: str | None, overwrite: bool,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Calibrate PRODUCT and write it as a file."""
    from frazil.files import refuse_existing
    from frazil.products import open_scene
    from frazil.scene.save import save_scene

    refuse_existing(output, overwrite=overwrite)
    with progress_bar("calibrating") as progress:
        opened = open_scene(product, polarizations=polarizations or None, **options)
        path = save_scene(opened, output, crs=crs, spacing_m=spacing, overwrite=overwrite, progress=progress)
    if opened.attrs.get("note"):
        say(f"Note: {opened.attrs['note']}", err=True)
    if crs is None and output.endswith(".tif"):
        say_crs(opened)
    said = {name: opened.attrs[name] for name in ("product", "noise", "checks") if name in opened.attrs}
    _print({"scene": str(path), **said}, as_json)


@cli.command("map")
@click.argument("product", type=click.Path())
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to write.")
@click.option("--spacing", type=float, help="Pixel size of the map in metres.  [default: that of the model]")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
    help="Arithmetic of the network.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True,
    help="What runs the network; auto: OpenVINO on the CPU where it is installed and knows the network.",
)  # fmt: skip
@click.option(
    "--function", type=click.Choice(["auto", "dense", "patchwise"]), default="auto", show_default=True,
    help="Of patch classifiers: the whole scene at once, or patch by patch; auto: at once where that is the same.",
)  # fmt: skip
@click.option("--stride", type=int, help="Of patch classifiers: pixels between results.  [default: 8, patchwise 10]")
@click.option(
    "--coast", "coast_m", type=float, default=2000.0, show_default=True, help="Flag sea this close to land, m."
)
@click.option(
    "--min-confidence", "confidence_percent", type=float, default=80.0, show_default=True,
    help="Undecided where neither ice nor water is so probable, %.",
)  # fmt: skip
@prior_options
@click.option("--adapt", is_flag=True, help="Let the scene teach the model its signatures (of every-pixel models).")
@phenomena_options
@_shared("check", "crs", "overwrite", "json")
def map_command(
    product: str, check: Check, model: str, output: str, spacing: float | None, precision: str, coast_m: float,
    confidence_percent: float, crs: str | None, overwrite: bool, as_json: bool, tiling: str, drop: tuple[str, ...],
    ice_model: str | None, prior: str | None, **options: Any,
) -> None:  # fmt: skip
    """Map the sea ice of PRODUCT, or with a model of phenomena those of sea and air, into one folder.

    GeoTIFFs, NetCDF, picture and summary; of sea ice vectors, too.
    """
    import time

    from frazil.conventions import PHENOMENA_SCHEMES
    from frazil.files import refuse_existing
    from frazil.learn.checkpoint import load_model
    from frazil.learn.predict.flags import FlagSettings
    from frazil.learn.predict.ice import predict
    from frazil.maps.export import export
    from frazil.maps.prior import fuse_prior
    from frazil.products import open_product

    details = {name: options.pop(name) for name in DETAILS}
    if prior is None:
        refuse_given(DETAILS, "without --prior")
    refuse_existing(output, overwrite=overwrite)
    loaded = load_model(model)
    of_phenomena = loaded.card.class_scheme in PHENOMENA_SCHEMES
    if of_phenomena:
        refuse_given(("prior", *DETAILS), "with a model of phenomena: a prior is of sea ice")
        refuse_given(("function", "stride", "engine", "confidence_percent", "adapt"), "with a model of phenomena")
    else:
        refuse_given(("tiling", "drop", "ice_model"), "with a model of sea ice")
    opened = open_product(product, check=check)
    if of_phenomena:
        from frazil.cli.imagettes import map_phenomena

        map_phenomena(
            opened, loaded, output, spacing=spacing, precision=precision, crs=crs, coast_m=coast_m, tiling=tiling,
            drop=drop, ice_model=ice_model, overwrite=overwrite, as_json=as_json,
        )  # fmt: skip
        return
    known = None if prior is None else check_prior(prior, opened, details)
    started = time.perf_counter()
    with progress_bar("mapping") as progress:
        ice_map = predict(
            opened, loaded, crs=crs or "auto", spacing_m=spacing, precision=precision,
            flags=FlagSettings(coast_m=coast_m, confidence_percent=confidence_percent),
            progress=lambda fraction, what: progress(0.7 * fraction, what), **options,
        )  # fmt: skip
        timings = {"predict_s": round(time.perf_counter() - started, 2)}
        if known is not None:
            started = time.perf_counter()
            progress(0.7, "adding the prior")
            ice_map = fuse_prior(ice_map, known[0], **known[1])
            timings["prior_s"] = round(time.perf_counter() - started, 2)
        progress(0.7, "writing")
        files = export(
            ice_map, output, overwrite=overwrite, timings=timings,
            progress=lambda what: progress(0.8, what),
        )  # fmt: skip
    say_notes(ice_map.attrs, ice_map["ice_class"].values)
    if crs is None:
        say_crs(ice_map)
    _print({name: str(path) for name, path in files.items()}, as_json)


@cli.command()
@click.argument("map_folder", metavar="MAP", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="File to write: .gpkg, .geojson or .fgb.")
@click.option("--threshold", type=float, default=50.0, show_default=True, help="Ice probability at the edge, %.")
@click.option("--min-area", type=float, default=None, help="Drop ice and water patches smaller than this, km².")
@_shared("overwrite", "json")
def edge(
    map_folder: str, output: str, threshold: float, min_area: float | None, overwrite: bool, as_json: bool
) -> None:
    """Draw the ice edge of MAP (a folder made by `frazil map`) at another threshold."""
    from frazil.files import refuse_existing
    from frazil.maps.edges import ice_edge
    from frazil.maps.netcdf import open_map
    from frazil.maps.vectors import write_vector

    refuse_existing(output, overwrite=overwrite)
    options = {} if min_area is None else {"min_area_km2": min_area}
    lines = ice_edge(open_map(map_folder), threshold_percent=threshold, **options)
    path = write_vector(lines, output, overwrite=overwrite)
    _print({"edge": str(path), "lines": len(lines), "length_km": round(float(lines["length_km"].sum()), 1)}, as_json)


@cli.command()
@click.argument("output", type=click.Path())
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--sample", is_flag=True, help="The bundled real product, its pixels rebuilt from its quick-look.")
@click.option("--template", default="ew", show_default=True, help="Product whose metadata to use: ew, or a path.")
@click.option("--lines", type=int, nargs=2, help="Only these lines of the template: first, one past the last.")
@click.option("--pixels", type=int, nargs=2, help="Only these pixels.")
@click.option("--open-sea", is_flag=True, help="No land, wherever the template lies.")
@click.option("--compress", is_flag=True, help="Deflate the measurement files.")
@_shared("overwrite", "json")
def simulate(
    output: str, seed: int, sample: bool, template: str, lines: tuple[int, int] | None,
    pixels: tuple[int, int] | None, open_sea: bool, compress: bool, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write a simulated SAFE product with its truth into the folder OUTPUT."""
    from frazil.simulate.product import simulate_product
    from frazil.simulate.quicklook import sample_product

    shared: dict[str, Any] = {"template": template, "seed": seed, "compress": compress, "overwrite": overwrite}
    with progress_bar("simulating", known=False):
        if sample:
            path = sample_product(output, **shared)
        else:
            land: Literal["gshhg"] | None = None if open_sea else "gshhg"
            path = simulate_product(output, **shared, lines=lines, pixels=pixels, land=land)
    _print({"product": str(path)}, as_json)


for command in (patches, train, evaluate, study):
    cli.add_command(command)
cli.add_command(compare)
cli.add_command(report)
cli.add_command(peers)
cli.add_command(propagate)
cli.add_command(imagettes)
cli.add_command(segment)


def _print(result: dict[str, Any], as_json: bool) -> None:
    """A result on stdout: JSON, or one line a key."""
    if as_json:
        say_json(result)
        return
    width = max(map(len, result))
    for key, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                say(f"{key:<{width}}  " + ", ".join(f"{k} {v}" for k, v in item.items()))
        elif key != "footprint":  # many numbers: for machines
            text = (
                ", ".join(map(str, value.values() if isinstance(value, dict) else value))
                if isinstance(value, (dict, list))
                else str(value)
            )
            say(f"{key:<{width}}  {text}")


_AGAIN_S = 3.0


def _stop(_signal: int, _frame: Any) -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, so that half-written outputs are removed.

    Python swallows what is raised inside a callback of its garbage collector, and the signal with it: it is raised
    again every few seconds until the program has ended.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
    raise KeyboardInterrupt


def main() -> None:
    """The entry point of the ``frazil`` command."""
    signal.signal(signal.SIGTERM, _stop)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, _stop)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr's abandoned writes are told of by the error itself
    try:
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except FrazilError as error:
        _end(f"frazil: {printable(' '.join(str(error).split()))}", 1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        _end("frazil: interrupted; nothing was left half-written.", 130)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        _end(f"frazil: not enough memory{why}. Close other programs, or take a smaller or coarser piece.", 1)
    except BrokenPipeError:
        _end(None, 1)
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        _end(f"frazil: cannot write to standard output: {error.strerror}. Free the space.", 1)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def _end(words: str | None, status: int) -> NoReturn:
    """End with words on standard error; what standard output has not taken so far is let go."""
    if words is not None:
        click.echo(words, err=True)
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
