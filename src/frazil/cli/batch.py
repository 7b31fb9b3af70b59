"""`frazil batch` and `frazil watch`: many products to an archive of maps, once or as they come."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frazil.cli.guard import refuse_given
from frazil.cli.map_options import map_options, options_of_map
from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_result
from frazil.errors import FrazilError

if TYPE_CHECKING:
    from frazil.archive.engine import ClusterSettings, Engine
    from frazil.archive.folder import Archive
    from frazil.conventions import Check

_PLACE: tuple[Callable[[Any], Any], ...] = (
    click.option("--workers", type=int, default=1, show_default=True, help="Processes here, or jobs of Slurm."),
    click.option(
        "--dask",
        default="local",
        show_default=True,
        metavar="local|slurm|ADDRESS",
        help="Where workers run: on this machine, as jobs of Slurm, or those of a dask scheduler.",
    ),
    click.option(
        "--memory", "memory_gib", type=float, default=4.0, show_default=True, help="Of each worker at most, GiB."
    ),
    click.option("--cores", type=int, default=2, show_default=True, help="Of each job of Slurm."),
    click.option("--queue", help="Partition of Slurm.  [default: that of the cluster]"),
    click.option("--account", help="Of Slurm."),
    click.option("--walltime", default="04:00:00", show_default=True, help="Of each job of Slurm."),
    click.option("--shell", multiple=True, help="Command that each job of Slurm runs first; repeat for several."),
    click.option(
        "--tries", type=int, default=3, show_default=True, help="Of a scene that fails before it is quarantined."
    ),
    click.option(
        "--timeout", "timeout_s", type=float, default=3600.0, show_default=True, help="That a scene may take, seconds."
    ),
)
_KEEP = click.option("--keep-products", "keep", is_flag=True, help="Of a search: keep products when they are mapped.")
_OF_PLACE = ("workers", "dask", "memory_gib", "cores", "queue", "account", "walltime", "shell")


def _place_options(command: Any) -> Any:
    for option in reversed(_PLACE):
        command = option(command)
    return command


@click.command(short_help="Map many products into an archive, on one machine or many.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=click.Path())
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@output("Archive: a folder that is filled, and gone on with.")
@_place_options
@click.option("--shard", metavar="NUMBER/OF", help="Map this part of the products alone: 2/8 of a job array of eight.")
@click.option("--resume", is_flag=True, help="Go on with the archive: its model, its options, and its sources.")
@click.option("--retry", is_flag=True, help="Try again what was quarantined.")
@click.option("--status", is_flag=True, help="Say how the archive stands, write its status.html, and end.")
@_KEEP
@click.option("--job-script", is_flag=True, help="Print what a job of Slurm would run, and end.")
@map_options
@shared("check", "attribute", "json")
def batch(
    sources: tuple[str, ...],
    model: str,
    output: str,
    shard: str | None,
    resume: bool,
    retry: bool,
    status: bool,
    job_script: bool,
    keep: bool,
    tries: int,
    timeout_s: float,
    check: Check,
    attributes: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Map the products of SOURCE... into an archive: products, folders of them, lists (.txt), searches (.json).

    One scene is one task of one worker. Products of a search (frazil find … -o search.json) are fetched, mapped, and
    removed. Scenes that have a map are left as they are, so that the same command goes on
    after whatever ended it. What is refused, or fails again and again, is quarantined, told at the end (exit status 1),
    and kept with the reason in the archive's journal.
    """
    from frazil.archive.batch import BatchSettings, run_batch
    from frazil.archive.engine import job_script as script_of
    from frazil.archive.folder import open_archive
    from frazil.archive.sources import Shard, find_products, remember_sources, remembered_sources

    place = _place(given)
    if job_script:
        say(script_of(place))
        return
    if status:
        _say_status(output, as_json)
        return
    part = Shard() if shard is None else Shard.parse(shard)
    settings = BatchSettings(tries=tries, timeout_s=timeout_s, retry=retry, shard=part)
    if resume:
        archive = open_archive(output)
        named = sources or remembered_sources(archive.root)
    elif not sources:
        raise click.UsageError("Missing argument 'SOURCE...'; with --resume the archive knows them.")
    else:
        named = sources
    tasks, notes = find_products(named, connections=max(4 // place.workers, 1), keep=keep)
    if not resume:
        archive = _begin(output, model, given, check, attributes)
    remember_sources(archive.root, named)
    for note in notes:
        say(f"Note: {note}", err=True)
    with _engine(archive, place) as engine, progress_bar("mapping") as progress:
        done = run_batch(archive, tasks, engine, settings, progress=progress)
    for name, why in done.quarantined.items():
        say(f"frazil: quarantined {name}: {why}", err=True)
    told = {
        "archive": str(archive.root),
        "mapped": len(done.made),
        "were_there": len(done.there),
        "quarantined": done.quarantined if as_json else len(done.quarantined),
        "seconds": done.seconds,
    }
    say_result(told, as_json)
    if done.quarantined:
        click.get_current_context().exit(1)


@click.command(short_help="Map products as they arrive in a folder.")
@click.argument("sources", metavar="FOLDER...", nargs=-1, type=click.Path())
@click.option("--model", default="ice-measured", show_default=True, help="Model folder, or name of a bundled model.")
@output("Archive: a folder that is filled, and gone on with.")
@click.option("--every", "every_s", type=float, default=60.0, show_default=True, help="From one look to the next, s.")
@click.option(
    "--settle", "settle_s", type=float, default=30.0, show_default=True, help="That a product has to be unchanged, s."
)
@click.option(
    "--area", metavar="W,S,E,N|FILE|@NAME", help="In place of FOLDER: ask an archive of products for new ones."
)
@click.option("--days", type=float, help="Of --area: how far back.  [default: 2]")
@click.option("--mode", type=click.Choice(["EW", "IW", "SM", "WV"]), help="Of --area: of the radar.  [default: EW]")
@click.option("--pol", metavar="HH+HV", help="Of --area: polarisations.  [default: any]")
@click.option(
    "--source", type=click.Choice(["cdse", "asf", "planetary"]), help="Of --area: the archive.  [default: cdse]"
)
@_KEEP
@click.option("--once", is_flag=True, help="Look once and end: for cron. Products that have just arrived are left.")
@_place_options
@map_options
@shared("check", "attribute", "json")
def watch(
    sources: tuple[str, ...],
    model: str,
    output: str,
    every_s: float,
    settle_s: float,
    area: str | None,
    days: float | None,
    mode: str | None,
    pol: str | None,
    source: str | None,
    keep: bool,
    once: bool,
    tries: int,
    timeout_s: float,
    check: Check,
    attributes: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Map products as they arrive, in FOLDER... or in an archive of products, until interrupted; one watch an archive.

    The archive's watch.json is written at every look and while scenes are mapped: a watch whose heartbeat is older
    than its pauses is dead. Its exit status is 0 when it was interrupted.
    """
    from frazil.archive.batch import BatchSettings
    from frazil.archive.folder import JOURNAL
    from frazil.archive.lock import held
    from frazil.archive.watch import Watch, WatchSettings, in_an_area, in_folders

    if (area is None) == (not sources):
        raise click.UsageError("Give either FOLDER... or --area.")
    if area is None:
        refuse_given(("days", "mode", "pol", "source", "keep"), "without --area")
    how = WatchSettings(every_s=every_s, settle_s=settle_s)
    settings = BatchSettings(tries=tries, timeout_s=timeout_s)
    place = _place(given)
    for source in sources:
        if not Path(source).exists():
            raise click.UsageError(f"{source} is not there. Make the folder that products will arrive in.")
    archive = _begin(output, model, given, check, attributes)
    with held(archive.root / JOURNAL / "watch.lock", "A watch works on") as lock, _engine(archive, place) as engine:
        look = (
            in_folders(sources)
            if area is None
            else in_an_area(
                archive,
                area,
                days=2.0 if days is None else days,
                mode=mode or "EW",
                polarization=pol,
                source=source or "cdse",
                connections=max(4 // place.workers, 1),
                keep=keep,
                say=lambda line: say(line, err=True),
            )
        )
        watching = Watch(archive, look, engine, how, settings)

        def beat() -> bool:
            lock.beat()
            return False

        if once:
            watching.look()
        else:
            say(f"Watching {area or ', '.join(sources)} every {every_s:g} s; Ctrl C ends it.", err=True)
            try:
                with progress_bar("watching") as progress:
                    watching.run(beat, progress=progress)
            except KeyboardInterrupt:  # its ordinary end
                signal.setitimer(signal.ITIMER_REAL, 0)
                say("Ended.", err=True)
    say_result({"archive": str(archive.root), "mapped": watching.mapped, "quarantined": len(watching.aside)}, as_json)


def _begin(output: str, model: str, given: dict[str, Any], check: Check, attributes: tuple[str, ...]) -> Archive:
    from frazil.archive.folder import begin_archive, describe_archive
    from frazil.learn.checkpoint import load_model
    from frazil.scene.discovery import own_attrs

    own = own_attrs(attributes)
    loaded = load_model(model)
    options = options_of_map(given, loaded.card.scheme.kind)
    if options.ice_model:
        load_model(options.ice_model)
    return begin_archive(describe_archive(output, model, loaded, options, check=check, attributes=own))


def _place(given: dict[str, Any]) -> ClusterSettings:
    from frazil.archive.engine import GIB, ClusterSettings
    from frazil.memory import available_bytes

    read = {name: given.pop(name) for name in _OF_PLACE}
    place = ClusterSettings(memory_bytes=int(read.pop("memory_gib") * GIB), **read)
    free, most = available_bytes(), place.workers * place.memory_bytes
    if place.dask == "local" and free is not None and most > free:
        say(f"Note: the workers may take {most / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free.", err=True)
    return place


@contextmanager
def _engine(archive: Archive, place: ClusterSettings) -> Iterator[Engine]:
    """Workers that are ended at the end, however it comes; what they were writing is removed."""
    from frazil.archive.engine import Engine
    from frazil.files import sweep

    engine = Engine(place, str(archive.root), archive.token)
    try:
        yield engine
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)  # an interrupt is told once: workers end in their own time
        engine.close()
        sweep(archive.maps)


def _say_status(root: str, as_json: bool) -> None:
    from dataclasses import asdict

    from frazil.archive.folder import open_archive
    from frazil.archive.status import lines_of, status_of, write_status_page

    archive = open_archive(root)
    status = status_of(archive, running=_at_work(archive))
    try:
        page: Path | None = write_status_page(status, archive.root)
    except FrazilError:  # of an archive that may only be read
        page = None
    if as_json:
        say_result(asdict(status) | {"waiting": status.waiting, "page": str(page)}, True)
        return
    for line in lines_of(status):
        say(line)
    if page is not None:
        say(f"page         {page}")


def _at_work(archive: Archive) -> bool:
    from frazil.archive.lock import is_held

    return any(is_held(path) for path in (archive.root / "journal").glob("*.lock"))
