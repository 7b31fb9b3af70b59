"""Options that commands share: every command that takes them takes them all, in the words of the library."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.cli.options import label_options, pairs, study_options
from frazil.labels.classes import LabelOptions


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda t: "=" not in t), st.text(), max_size=5))
def test_pairs_are_split_at_their_first_equals_sign(wanted: dict[str, str]) -> None:
    """Values may hold more of them."""
    assert pairs(tuple(f"{k}={v}" for k, v in wanted.items()), "--class", "VALUE=NAME") == wanted
    assert pairs(("a=b=c", "d=", "=e"), "--class", "VALUE=NAME") == {"a": "b=c", "d": "", "": "e"}


def test_the_first_word_that_is_no_pair_is_named() -> None:
    with pytest.raises(click.BadParameter, match="'b' is not VALUE=NAME") as error:
        pairs(("a=1", "b", "c"), "--class", "VALUE=NAME")
    assert error.value.param_hint == "--class"


def test_label_options_begin_where_those_of_the_library_do() -> None:
    """A default that differs would label the same chart otherwise from the command line than from Python."""
    found: dict[str, object] = {}

    @click.command()
    @label_options
    def command(**given: object) -> None:
        found.update(given)

    assert CliRunner().invoke(command, []).exit_code == 0
    library = LabelOptions()
    assert found.pop("dominance") == library.chart.dominance
    assert found.pop("unknown_codes") == library.unknown
    assert dict(found.pop("classes")) == dict(library.classes)  # type: ignore[call-overload]
    assert found == {name: getattr(library, name) for name in found}
    assert len(found) == 5


def test_label_options_that_are_no_choice_are_refused() -> None:
    @click.command()
    @label_options
    def command(**given: object) -> None: ...

    for words in (["--dialect", "2005"], ["--unknown-codes", "guess"], ["--dominance", "most"], ["--klass", "1=a"]):
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 2
        assert words[0] in done.output


def test_study_options_ask_for_data_and_a_place() -> None:
    @click.command()
    @study_options("sets of patches")
    def command(stores: tuple[str, ...], output: str, page: str | None, overwrite: bool, as_json: bool) -> None:
        click.echo(f"{stores} {output} {page} {overwrite} {as_json}")

    for words, missing in (([], "--data"), (["--data", "a"], "--output")):
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 2
        assert missing in done.output
    done = CliRunner().invoke(command, ["--data", "a", "--data", "b", "-o", "c"])
    assert done.output.strip() == "('a', 'b') c None False False"
    assert "sets of patches" in CliRunner().invoke(command, ["--help"]).output
