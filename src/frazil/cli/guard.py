"""What holds for every command, seen to in one place before it begins.

No output takes the place of an input, outputs can be written where they are asked for, numbers are numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from frazil.errors import is_utf8, printable

OUTPUTS = ("output", "sheet", "picture", "figure", "page", "explain", "stac")
"""Parameters that name what a command writes."""
#: Commands whose output is a folder that they add to, by rules of its own: by name, or by that of their group.
_FOLDERS_TO_FILL = ("batch", "desk", "get", "serve", "simulate", "study", "train", "watch")
#: Inputs of commands that make a folder of each.
_ONE_FOLDER_EACH = ("products", "map_folders")


class Guarded(click.Group):
    """A group whose commands are all checked as `guarded` says."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, guarded."""
        super().add_command(cmd if isinstance(cmd, click.Group) else guarded(cmd), name)


class Grouped(Guarded):
    """A group of commands of one noun, whose options differ by kind.

    An option that another command of the group has is told to be that one's, not to be unknown.

    Args:
        formerly: of a noun that was a command once: which command of the group such words mean now.
    """

    def __init__(self, *args: Any, formerly: Callable[[list[str]], str | None] | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.formerly = formerly

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; words of a time when this was a command are answered with what to write now."""
        known = {*self.commands, *ctx.help_option_names}
        if self.formerly is not None and args and args[0] not in known:
            now = self.formerly(args)
            raise click.UsageError(
                f"No such command '{args[0]}'. `{ctx.command_path}` wants to know what kind: write "
                f"`{ctx.command_path} {now} …` (or {', '.join(c for c in self.commands if c != now)}).",
                ctx,
            )
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called, by its name."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            own = {o for p in command.params for o in p.opts}
            others = {o for c in self.commands.values() for p in c.params for o in p.opts} - own
            strange = [word.split("=")[0] for word in rest if word.split("=")[0] in others]
            if strange:
                words = ", ".join(dict.fromkeys(strange))
                raise click.UsageError(
                    f"{words} {'does' if len(set(strange)) == 1 else 'do'} not apply to `{ctx.command_path} {name}`. "
                    "Leave out.",
                    ctx,
                )
        return name, command, rest


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its name in full: ``study channels``."""
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from leaves(command, full)
        else:
            yield full, command


def guarded(command: click.Command) -> click.Command:
    """A command that first refuses outputs which are or hold something that it reads, also with ``--overwrite``.

    Where it turns out to need a package of an extra that is not installed, it says so.
    """
    inner = command.callback
    assert inner is not None

    @functools.wraps(inner)
    def call(*args: Any, **values: Any) -> Any:
        _refuse_strange_numbers(command, values)
        _refuse_strange_names(values)
        _refuse_places(values)
        if values.get("overwrite"):
            _refuse_inputs(values)
        try:
            return inner(*args, **values)
        except ModuleNotFoundError as error:
            from frazil.extras import missing

            raise missing(error) or error from error

    command.callback = call
    return command


def _refuse_strange_numbers(command: click.Command, values: dict[str, object]) -> None:
    """Python reads "nan" and "inf" as numbers, and every comparison with them goes astray."""
    for p in command.params:
        given = values.get(str(p.name))
        for number in given if isinstance(given, (tuple, list)) else [given]:
            if isinstance(number, float) and not math.isfinite(number):
                raise click.BadParameter(f"{number} is not a number to work with.", param_hint=max(p.opts, key=len))


def _refuse_strange_names(values: dict[str, object]) -> None:
    """The libraries that write GeoTIFF, GeoPackage and NetCDF take none but UTF-8: said before the work, not after."""
    for name in OUTPUTS:
        given = values.get(name)
        if isinstance(given, str) and not is_utf8(given):
            raise click.BadParameter(f"{printable(given)} is not UTF-8. Choose another name.", param_hint=f"--{name}")


def _refuse_places(values: dict[str, object]) -> None:
    """A place that takes nothing is told before the work, not after."""
    from frazil.files import refuse_unwritable

    for name in OUTPUTS:
        if isinstance(given := values.get(name), str):
            refuse_unwritable(given, inside=name == "output" and _fills_a_folder(values))


def _fills_a_folder(values: dict[str, object]) -> bool:
    """Also commands of several inputs, whose results lie in the output by name: those look at each place themselves."""
    several = any(isinstance(given := values.get(name), tuple) and len(given) > 1 for name in _ONE_FOLDER_EACH)
    return several or bool(set(click.get_current_context().command_path.split()) & set(_FOLDERS_TO_FILL))


def refuse_given(names: Iterable[str], why: str) -> None:
    """Refuse options that were given and do not apply: one that is passed over in silence would be believed.

    Args:
        names: of parameters of the running command.
        why: what they do not apply to, as the end of a sentence: "with a model of sea ice".

    Raises:
        click.UsageError: naming them as they are written.
    """
    context = click.get_current_context()
    given = [
        max(p.opts, key=len)
        for p in context.command.params
        if p.name in set(names) and context.get_parameter_source(str(p.name)) == ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} {'does' if len(given) == 1 else 'do'} not apply {why}. Leave out.")


def _refuse_inputs(values: dict[str, object]) -> None:
    from frazil.files import refuse_existing

    inputs = [path for name, value in values.items() if name not in OUTPUTS for path in _paths(value)]
    for name in OUTPUTS:
        if isinstance(given := values.get(name), str) and not (name == "output" and _fills_a_folder(values)):
            refuse_existing(given, overwrite=True, inputs=inputs)


def _paths(value: Any) -> Iterator[str]:
    """The existing paths among a parameter's values, ``NAME=PATH`` and lists with commas included."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str):
        for text in {value, value.partition("=")[2], *value.partition("=")[2].split(",")}:
            if text and len(text) < 4096 and "\0" not in text and Path(text).exists():
                yield text
