"""`frazil get`: products from an archive to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from frazil.cli.options import output, shared
from frazil.cli.progress import progress_bar
from frazil.cli.say import say, say_json
from frazil.errors import FrazilError

if TYPE_CHECKING:
    from frazil.providers.found import Found


@click.command(short_help="Fetch products from an archive.")
@click.argument("products", metavar="ID...|NAME...|SEARCH.json", nargs=-1, required=True)
@output("Folder; every product gets one of its own in it.")
@click.option(
    "--source",
    type=click.Choice(["cdse", "asf", "planetary"]),
    default="cdse",
    show_default=True,
    help="Archive of ids and names; a search knows its own.",
)
@click.option(
    "--via",
    type=click.Choice(["auto", "https", "s3"]),
    default="auto",
    show_default=True,
    help="Of the Copernicus Data Space: its servers, or its bucket; auto: the bucket where its keys are set.",
)
@click.option(
    "--connections", type=click.IntRange(1, 4), default=4, show_default=True, help="At a time; archives allow four."
)
@shared("json")
def get(products: tuple[str, ...], output: str, source: str, via: str, connections: int, as_json: bool) -> None:
    """Fetch products by id, by name, or all of a search (frazil find … -o search.json), into a folder.

    Of each the files that a map needs, compared with the checksums of its manifest. A product gets its name when it is
    whole. What was begun, also by a run that was killed, is gone on with by the same command; what is there already is
    left as it is.
    """
    from frazil.providers.get import get_product, resolve
    from frazil.providers.shipments import Archive

    archive = Archive(via=via)  # type: ignore[arg-type]
    chosen = resolve(products, source, archive.client)
    told: list[dict[str, Any]] = []
    failed: list[str] = []
    with progress_bar("fetching") as progress:
        for n, one in enumerate(chosen):

            def move(share: float, what: str, n: int = n) -> None:
                progress((n + share) / len(chosen), f"{what}… ({n + 1} of {len(chosen)})")

            try:
                done = get_product(one, output, archive=archive, connections=connections, progress=move)
                told.append({"product": done.name, "path": str(done.path), "bytes": done.bytes,
                             "fetched": done.fetched, "verified": done.verified})  # fmt: skip
            except FrazilError as error:
                told.append({"product": one.name, "error": str(error)})
                failed.append(_line(one, error))
    if as_json:
        say_json(told)
    else:
        for line in told:
            if "error" not in line:
                say(str(line["path"]))
        whole = [line for line in told if "error" not in line]
        fetched = sum(line["fetched"] for line in whole)
        say(f"{len(whole)} of {len(chosen)} products there, {fetched / 1e9:.2f} GB fetched", err=True)
    for words in failed:
        say(f"frazil: {words}", err=True)
    if failed:
        click.get_current_context().exit(1)


def _line(one: Found, error: FrazilError) -> str:
    text = " ".join(str(error).split())
    return text if one.name in text else f"{one.name}: {text}"
