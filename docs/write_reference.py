"""Write docs/reference/cli.md from the commands themselves. A test fails when the page is out of date."""

from pathlib import Path

import click

from frazil.cli import cli

TARGET = Path(__file__).parent / "reference" / "cli.md"


def page() -> str:
    """The reference page as Markdown."""
    parts = ["# Command line\n", "Written by `make docs` from the commands themselves.\n"]
    # With the settings of the command itself: a process that has run it before remembers its help option with them.
    root = click.Context(cli, info_name="frazil", terminal_width=110, **cli.context_settings)
    parts.append(f"```text\n{cli.get_help(root)}\n```\n")
    parts += [part for name in cli.list_commands(root) for part in _parts(root, cli.get_command(root, name), name, 2)]
    return "\n".join(parts)


def _parts(parent: click.Context, command: click.Command, name: str, level: int) -> list[str]:
    """The help of a command, and of those below it."""
    command._help_option = None  # one that was called without its parent remembers another
    context = click.Context(command, info_name=name, parent=parent, max_content_width=110, terminal_width=110)
    parts = [f"{'#' * level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            parts += _parts(context, command.get_command(context, inner), inner, level + 1)
    return parts


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page(), encoding="utf-8")
