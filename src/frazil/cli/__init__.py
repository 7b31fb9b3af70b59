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
from contextlib import suppress
from typing import Any, Literal, NoReturn

import click

from frazil import __version__
from frazil.cli.archive import catalogue, mosaic, series
from frazil.cli.batch import batch, watch
from frazil.cli.chart import chart
from frazil.cli.concentration import concentration
from frazil.cli.desk import desk
from frazil.cli.drift import drift
from frazil.cli.find import find
from frazil.cli.get import get
from frazil.cli.guard import Guarded, refuse_given
from frazil.cli.imagettes import imagettes, segment
from frazil.cli.labels import patches
from frazil.cli.learning import evaluate, train
from frazil.cli.map import edge, map_command
from frazil.cli.maps import compare
from frazil.cli.notes import say_crs
from frazil.cli.occurrences import occurrences
from frazil.cli.options import output, shared
from frazil.cli.peers import peers
from frazil.cli.progress import progress_bar
from frazil.cli.propagate import propagate
from frazil.cli.report import report
from frazil.cli.risk import risk
from frazil.cli.say import say, say_result
from frazil.cli.serve import serve
from frazil.cli.study import study
from frazil.errors import FrazilError, printable


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


@cli.command(short_help="Say what a product is, from its metadata.")
@click.argument("product", type=click.Path())
@shared("json")
def info(product: str, as_json: bool) -> None:
    """Say what PRODUCT is, from its metadata alone (folder or zip; Sentinel-1 or RADARSAT)."""
    from frazil.products import describe

    say_result(describe(product), as_json)


@cli.command(short_help="Calibrate a product and write it as a file.")
@click.argument("product", type=click.Path())
@output("File to write: .nc, .zarr or .tif (geocoded).")
@click.option("--polarization", "polarizations", multiple=True, help="Which polarisation; repeat for several.")
@shared("denoise", "looks", "boxcar")
@click.option("--spacing", type=float, help="Pixel size of a .tif in metres.  [default: that of the scene]")
@shared("check", "image", "crs", "attribute", "overwrite", "json")
def scene(
    product: str,
    output: str,
    polarizations: tuple[str, ...],
    spacing: float | None,
    crs: str | None,
    attributes: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Calibrate PRODUCT and write it as a file."""
    from frazil.files import refuse_existing
    from frazil.products import open_scene
    from frazil.scene.discovery import own_attrs, with_own
    from frazil.scene.save import save_scene

    own = own_attrs(attributes)
    refuse_existing(output, overwrite=overwrite)
    with progress_bar("calibrating") as progress:
        opened = open_scene(product, polarizations=polarizations or None, **options)
        opened.attrs = with_own(opened.attrs, own)
        path = save_scene(opened, output, crs=crs, spacing_m=spacing, overwrite=overwrite, progress=progress)
    if opened.attrs.get("note"):
        say(f"Note: {opened.attrs['note']}", err=True)
    if crs is None and output.endswith(".tif"):
        say_crs(opened)
    said = {name: opened.attrs[name] for name in ("product", "noise", "checks") if name in opened.attrs}
    say_result({"scene": str(path), **said}, as_json)


@cli.command(short_help="Write a simulated product with its truth.")
@click.argument("output", type=click.Path())
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--sample", is_flag=True, help="The bundled real product, its pixels rebuilt from its quick-look.")
@click.option(
    "--phenomena", is_flag=True, help="A wide VV scene of the open sea with phenomena of sea and air, in place of ice."
)
@click.option("--phenomenon", "names", multiple=True, metavar="NAME", help="Of --phenomena: one to draw; repeat.")
@click.option("--template", help="Product whose metadata to use: ew, iw or a path.  [default: ew; iw of --phenomena]")
@click.option("--lines", type=int, nargs=2, help="Only these lines of the template: first, one past the last.")
@click.option("--pixels", type=int, nargs=2, help="Only these pixels.")
@click.option("--open-sea", is_flag=True, help="No land, wherever the template lies.")
@click.option("--compress", is_flag=True, help="Deflate the measurement files.")
@click.option("--date", metavar="YYYY-MM-DD", help="Of the scene.  [default: drawn, within the season of its ice]")
@shared("overwrite", "json")
def simulate(
    output: str,
    seed: int,
    sample: bool,
    phenomena: bool,
    names: tuple[str, ...],
    template: str | None,
    lines: tuple[int, int] | None,
    pixels: tuple[int, int] | None,
    open_sea: bool,
    compress: bool,
    date: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a simulated SAFE product with its truth into the folder OUTPUT.

    Of sea ice; with --phenomena of fronts, slicks, calms, cells, swell, rain and streaks.
    """
    from frazil.simulate.phenomena import PhenomenaConfig
    from frazil.simulate.product import simulate_product
    from frazil.simulate.quicklook import sample_product
    from frazil.simulate.sea_product import simulate_sea_product

    if sample:
        refuse_given(("date",), "with --sample, which has its own")
    if phenomena:
        refuse_given(("sample", "open_sea"), "with --phenomena, which are at sea")
    else:
        refuse_given(("names",), "without --phenomena")
    usual = "iw" if phenomena else "ew"
    shared: dict[str, Any] = {"template": template or usual, "seed": seed, "compress": compress, "overwrite": overwrite}
    with progress_bar("simulating", known=False):
        if sample:
            path = sample_product(output, **shared)
        elif phenomena:
            config = PhenomenaConfig(names=names)
            path = simulate_sea_product(output, **shared, lines=lines, pixels=pixels, config=config, date=date)
        else:
            land: Literal["gshhg"] | None = None if open_sea else "gshhg"
            path = simulate_product(output, **shared, lines=lines, pixels=pixels, land=land, date=date)
    say_result({"product": str(path)}, as_json)


for command in (
    find,
    get,
    map_command,
    batch,
    watch,
    catalogue,
    mosaic,
    series,
    edge,
    patches,
    imagettes,
    segment,
    occurrences,
    train,
    serve,
    evaluate,
    compare,
    concentration,
    drift,
    chart,
    risk,
    desk,
    report,
    propagate,
    peers,
    study,
):
    cli.add_command(command)


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
        status = cli.main(standalone_mode=False)
        sys.stdout.flush()
        if isinstance(status, int) and status:  # of a command that ended by itself: click gives it back
            sys.exit(status)
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
