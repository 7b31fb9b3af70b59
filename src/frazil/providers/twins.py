"""Products that belong together: an original and its Cloud-Optimised twin, and the slices of one data take.

The Copernicus Data Space keeps for many products a copy with Cloud-Optimised GeoTIFFs. Its name differs in the last
four hexadecimal digits and ends in ``_COG``. One of the two is shown: the original, unless the copy is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from frazil.providers.found import Found

_GAP = timedelta(seconds=3)  # between slices: they touch, or overlap


def one_of_each(products: Iterable[Found], *, cog: bool = False) -> list[Found]:
    """Products in their order, each id once, and of every pair one, which names the other.

    Args:
        products: of one archive.
        cog: take the copy with Cloud-Optimised GeoTIFFs where there is one.
    """
    scenes: dict[str, list[Found]] = {}
    for one in {p.id: p for p in products}.values():
        scenes.setdefault(one.scene, []).append(one)
    chosen = []
    for found in scenes.values():
        plain, copies = [p for p in found if not p.cog], [p for p in found if p.cog]
        keep, other = (copies, plain) if copies and (cog or not plain) else (plain, copies)
        chosen += [p.paired(other[0].name) if other else p for p in keep]
    return chosen


def slices(products: Sequence[Found]) -> dict[str, tuple[int, int]]:
    """Which one of how many consecutive slices of one data take a product is, by id; single ones are left out."""
    takes: dict[tuple[str, str, str], list[Found]] = {}
    for one in products:
        takes.setdefault((one.platform, one.data_take, one.letters), []).append(one)
    told: dict[str, tuple[int, int]] = {}
    for members in takes.values():
        run: list[Found] = []
        ordered: list[Found | None] = [*sorted(members, key=lambda p: (p.start, p.name)), None]
        for following in ordered:
            if following is not None and (not run or run[-1].start < following.start <= run[-1].stop + _GAP):
                run.append(following)
                continue
            if len(run) > 1:
                told |= {p.id: (n, len(run)) for n, p in enumerate(run, 1)}
            run = [] if following is None else [following]
    return told
