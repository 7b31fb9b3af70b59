"""Commands by themselves: what they refuse before any work, what they print, and words that become settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil.cli import cli
from frazil.cli.imagettes import _formerly as imagettes_formerly
from frazil.cli.imagettes import _numbers, imagettes, segment
from frazil.cli.labels import _formerly as patches_formerly
from frazil.cli.labels import patches
from frazil.cli.learning import evaluate, train
from frazil.cli.map import edge, map_command
from frazil.cli.maps import _for_each, _signed, compare
from frazil.cli.peers import _bytes, _time, peers
from frazil.cli.prior import DETAILS, prior_options
from frazil.cli.propagate import propagate
from frazil.cli.report import report
from frazil.cli.serve import serve
from frazil.cli.study import study
from frazil.cli.study_phenomena import phenomena_study
from frazil.cli.study_workers import workers
from frazil.errors import FrazilError, OptionError, OutputExistsError
from frazil.learn.config import RunConfig, run_config
from frazil.learn.predict.mapping import drop_rule


def asked(command: click.Command, *words: object) -> Result:
    return CliRunner().invoke(command, [*map(str, words)])


def refused(result: Result, words: str, code: int = 2) -> str:
    """As click prints it: usage, and one line that says what is wrong."""
    assert result.exit_code == code, result.output
    last = " ".join(result.output.split("Error:")[-1].split())
    assert words in last, result.output
    assert "Traceback" not in result.output
    return last


def raised(result: Result, kind: type[FrazilError], words: str) -> None:
    """What the main entry prints as one line."""
    assert isinstance(result.exception, kind), result.output
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)


OF_THIS_FILE = {
    "train": train,
    "serve": serve,
    "evaluate": evaluate,
    "map": map_command,
    "edge": edge,
    "compare": compare,
    "peers": peers,
    "propagate": propagate,
    "report": report,
    "study": study,
    "patches": patches,
    "imagettes": imagettes,
    "segment": segment,
}


def test_commands_are_found_under_their_names() -> None:
    context = click.Context(cli)
    for name, command in OF_THIS_FILE.items():
        assert cli.get_command(context, name) is command


def commands() -> list[tuple[str, click.Command]]:
    out: list[tuple[str, click.Command]] = []

    def walk(name: str, command: click.Command) -> None:
        if isinstance(command, click.Group):
            for inner in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), inner)
                assert found is not None
                walk(f"{name} {inner}".strip(), found)
        else:
            out.append((name, command))

    walk("", cli)
    return out


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_option_says_what_it_does_and_no_two_are_one(name: str, command: click.Command) -> None:
    words: list[str] = []
    for parameter in command.params:
        words += parameter.opts + parameter.secondary_opts
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"
            assert parameter.help.rstrip().endswith((".", "]", ")", "…", "%", "²")), parameter.help
    assert len(words) == len(set(words))
    assert command.help or command.callback is None
    unknown = asked(command, "--no-such-option")
    refused(unknown, "--no-such-option")


# Words of `frazil map`


@settings(deadline=None)
@given(
    name=st.sampled_from(["iceberg", "rain_cells"]),
    latitude=st.none() | st.integers(0, 90),
    months=st.lists(st.integers(1, 12), max_size=4, unique=True),
)
def test_a_rule_that_drops_phenomena_comes_back_from_its_words(
    name: str, latitude: int | None, months: list[int]
) -> None:
    text = name + ("" if latitude is None and not months else f":{'' if latitude is None else latitude}")
    text += f":{','.join(map(str, months))}" if months else ""
    rule = drop_rule(text)
    assert rule.name == name
    assert rule.equatorward_of == (90 if latitude is None else latitude)
    assert rule.months == tuple(months)


@pytest.mark.parametrize("text", ["iceberg:north", "iceberg:55:June", "iceberg:55:6;7", "iceberg:5 5", "iceberg::1.5"])
def test_rules_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="--drop '.*' is not NAME"):
        drop_rule(text)


def test_details_of_a_prior_are_options_of_their_own() -> None:
    """All begin with --prior, and those that only matter with one are known."""

    @prior_options
    def nothing(**_: Any) -> None:
        return

    options = [p for p in nothing.__click_params__ if isinstance(p, click.Option)]  # type: ignore[attr-defined]
    assert all(p.opts[0].startswith("--prior") for p in options)
    names = {p.name for p in options}
    assert set(DETAILS) <= names
    assert names - set(DETAILS) == {"prior"}


# Words of `frazil compare`


@pytest.mark.parametrize("n", [1, 2, 5])
def test_an_option_once_for_all_or_once_for_each(n: int) -> None:
    assert _for_each((), n, "--kind") == [None] * n
    assert list(_for_each(("a",), n, "--kind")) == ["a"] * n
    each = tuple("abcde"[:n])
    assert tuple(_for_each(each, n, "--kind")) == each
    with pytest.raises(click.BadParameter, match=f"given {n + 1} times for {n} references"):
        _for_each(("a",) * (n + 1), n, "--kind")


@settings(deadline=None)
@given(st.floats(-1e4, 1e4))
def test_hours_have_a_sign_but_for_a_zero(hours: float) -> None:
    text = _signed(hours)
    assert float(text) == pytest.approx(hours, abs=0.0501)
    assert text == "0.0" or text[0] in "+-"
    assert text != "-0.0"


# Words of `frazil peers`


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_a_time_is_told_within_a_third(seconds: float) -> None:
    """In a unit of which there are two at least."""
    number, unit = _time(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86_400}[unit]
    assert float(number) * size == pytest.approx(seconds, rel=0.26, abs=0.51)
    assert unit == "s" or float(number) >= 2
    assert _time(-seconds) == "0 s"


@settings(deadline=None)
@given(st.floats(0, 1e15))
def test_bytes_are_told_to_two_digits(number: float) -> None:
    value, unit = _bytes(number).split()
    size = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert float(value) * size == pytest.approx(number, rel=0.06, abs=0.51)


def test_a_figure_of_no_logs_is_asked_for_some(tmp_path: Path) -> None:
    refused(asked(peers, tmp_path, "--figure", tmp_path / "a.png"), "Name some")


# Words of `frazil train`


def test_settings_are_shown_and_can_be_trained_from_again(tmp_path: Path) -> None:
    """Without PyTorch: they are read by anybody, and come back the same."""
    words = ["patches:adhoc", "-o", tmp_path / "run", "--set", "optim.lr=0.5", "--set", "data.patches=a.zarr", "--show"]
    shown = asked(train, *words)
    assert shown.exit_code == 0, shown.output
    values = json.loads(shown.output)
    config = run_config(values)
    assert isinstance(config, RunConfig)
    assert config.optim.lr == 0.5
    (tmp_path / "again.json").write_text(shown.output)
    again = asked(train, tmp_path / "again.json", "-o", tmp_path / "run", "--show")
    assert json.loads(again.output) == values
    assert not (tmp_path / "run").exists()


def test_words_of_workers_need_a_place_to_meet(tmp_path: Path) -> None:
    for words in (("--worker", "a"), ("--every", "5")):
        refused(asked(train, "patches:adhoc", "-o", tmp_path / "r", *words), f"{words[0]} is for workers. Pass --peers")
    shown = asked(
        train, "patches:adhoc", "-o", tmp_path / "r", "--peers", "2018", "--worker", "7", "--every", "5", "--show"
    )
    made = json.loads(shown.output)["peers"]
    assert (made["path"], made["worker"], made["every"]) == ("2018", "7", 5), "names may look like numbers"


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["nowhere:x"], OptionError, "There is no recipe 'nowhere:x'"),
        (["patches:adhoc", "--set", "optim.lr=fast"], OptionError, "optim.lr"),
        (["patches:adhoc", "--set", "optim.colour=red"], OptionError, "optim.colour is not a setting"),
        (["patches:adhoc", "--set", "strategy.label_smoothing=2"], OptionError, "label_smoothing"),
        (["metocean:categoriser", "--set", "strategy.label_smoothing=2"], OptionError, "label_smoothing"),
    ],
)
def test_settings_that_are_none_stop_before_anything_is_made(
    words: list[str], kind: type[FrazilError], said: str, tmp_path: Path
) -> None:
    raised(asked(train, *words, "-o", tmp_path / "run"), kind, said)
    assert list(tmp_path.iterdir()) == []


# Words of `frazil study`


@pytest.mark.parametrize("labels", ["", "15,", "a", "15;30", "1.5", "-3", "²", "15,③", "1e2"])
def test_numbers_of_labels_are_numbers(labels: str, tmp_path: Path) -> None:
    """Also where a character is a digit to Unicode and no number to Python."""
    result = asked(study, "few-labels", "--data", tmp_path / "a.zarr", "-o", tmp_path / "out", "--labels", labels)
    refused(result, "is not a list of numbers")


def test_methods_that_are_none_are_told_those_that_there_are(tmp_path: Path) -> None:
    words = ["few-labels", "--data", tmp_path / "a.zarr", "-o", tmp_path / "out", "--methods", "tslp,guessing"]
    said = refused(asked(study, *words), "'guessing' is not one of")
    assert "'tslp'" in said
    assert not (tmp_path / "out").exists()


def test_a_page_that_is_there_stops_a_study_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("mine")
    words = ["few-labels", "--data", tmp_path / "a.zarr", "-o", tmp_path / "out", "--page", tmp_path / "page.md"]
    raised(asked(study, *words), OutputExistsError, "page.md")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--seeds", "--draws"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_repeats_are_one_or_more(option: str, value: str, tmp_path: Path) -> None:
    words = ["few-labels", "--data", tmp_path / "a.zarr", "-o", tmp_path / "out", option, value]
    refused(asked(study, *words), option)


def test_studies_of_workers_are_of_data_that_are_known(tmp_path: Path) -> None:
    refused(asked(workers, "--data", "fish=x", "-o", tmp_path / "out"), "'fish' is not one of")
    assert not (tmp_path / "out").exists()
    assert asked(study, "workers", "--help").exit_code == 0


def test_studies_of_phenomena_are_of_three_sets() -> None:
    for name in study.list_commands(click.Context(study)):
        command = study.get_command(click.Context(study), name)
        assert command is not None
        assert command.get_short_help_str()
    assert callable(phenomena_study)


# Words of the makers of sets


@pytest.mark.parametrize(
    ("words", "numbers"), [(None, []), ("7,1,3", [7, 1, 3]), ("0.5,.25,1e-1", [0.5, 0.25, 0.1]), ("1", [1])]
)
def test_numbers_with_commas(words: str | None, numbers: list[float]) -> None:
    assert _numbers(words) == numbers


@pytest.mark.parametrize("words", ["", "a", "1,,2", "1;2", "1,2,"])
def test_words_that_are_no_numbers(words: str) -> None:
    with pytest.raises(click.BadParameter, match="three numbers"):
        _numbers(words)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["a.SAFE"], "product"),
        (["a.csv"], "multilabel"),
        (["x", "--from", "colin"], "colin"),
        (["a.csv", "--from", "masks"], "masks"),
        (["x", "--from"], "product"),
    ],
)
def test_the_former_way_to_name_a_set(words: list[str], kind: str) -> None:
    assert imagettes_formerly(words) == kind
    if words[0] != "a.csv" and "--from" not in words[1:]:
        assert patches_formerly(words) == "cut"


@pytest.mark.parametrize("name", ["patches", "imagettes"])
def test_kinds_of_sets_refuse_a_source_that_is_not_there(name: str, tmp_path: Path) -> None:
    """One line, and no output begun."""
    group: Any = OF_THIS_FILE[name]
    for kind in group.list_commands(click.Context(group)):
        if kind == "simulated":
            continue
        command = group.get_command(click.Context(group), kind)
        needs = [p.opts[0] for p in command.params if isinstance(p, click.Option) and p.required and p.name != "output"]
        more = [word for option in needs for word in (option, str(tmp_path / "labels"))]
        result = asked(command, tmp_path / "nowhere", *more, "-o", tmp_path / "out.zarr")
        assert isinstance(result.exception, FrazilError), (kind, result.output, result.exception)
        assert "\n" not in str(result.exception)
        assert "nowhere" in str(result.exception) or "labels" in str(result.exception), kind
        assert list(tmp_path.iterdir()) == []


# Spreading labels and reports


def test_labels_are_spread_from_a_table_and_told_as_json(tmp_path: Path) -> None:
    """Two clusters far from each other, one label in each."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 30)
    np.save(tmp_path / "f.npy", rng.normal(0, 0.05, (60, 3)) + np.eye(3)[truth])
    given_labels = np.full(60, -1)
    given_labels[[0, 30]] = [0, 1]
    np.save(tmp_path / "l.npy", given_labels)
    words = [tmp_path / "f.npy", "--labels", tmp_path / "l.npy", "-o", tmp_path / "out.csv", "--k", "5"]
    result = asked(propagate, *words, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["samples"], told["labels"], told["unreached"]) == (60, 2, 0)
    found = np.genfromtxt(tmp_path / "out.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(found["label"], truth)
    raised(asked(propagate, *words), OutputExistsError, "out.csv")
    spoken = asked(propagate, *words, "--overwrite")
    assert "samples      60, 2 with a label" in spoken.output
    assert "coverage     100.00 %" in spoken.output


@pytest.mark.parametrize(
    ("option", "value"), [("--k", "0"), ("--alpha", "1"), ("--gamma", "-1"), ("--iterations", "0")]
)
def test_ways_to_spread_that_are_none(option: str, value: int, tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.eye(3))
    result = asked(propagate, tmp_path / "f.npy", "-o", tmp_path / "out.csv", option, value)
    raised(result, OptionError, option.strip("-"))


def test_reports_and_edges_of_nothing(tmp_path: Path) -> None:
    for command, words in (
        (report, [tmp_path / "nowhere", "-o", tmp_path / "out"]),
        (edge, [tmp_path / "nowhere", "-o", tmp_path / "out.gpkg"]),
        (compare, [tmp_path / "nowhere", tmp_path / "chart.shp"]),
        (evaluate, [tmp_path / "nowhere", tmp_path / "a.zarr"]),
    ):
        result = asked(command, *words)
        assert isinstance(result.exception, FrazilError), (command.name, result.output)
        assert "nowhere" in str(result.exception)
        assert list(tmp_path.iterdir()) == []
    refused(asked(report, "-o", tmp_path / "out"), "Missing argument 'RUN...'")


def test_help_of_all_commands_loads_no_torch() -> None:
    """Asked in one process of its own."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom frazil.cli import cli\n"
        "for name in ('train', 'evaluate', 'map', 'segment', 'peers', 'report', 'propagate', 'compare'):\n"
        "    assert CliRunner().invoke(cli, [name, '--help']).exit_code == 0\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
