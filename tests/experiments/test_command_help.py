"""`--help` of every command shows each text as it is written: nothing in brackets is taken for markup."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from experiments.cli import command

WORDS = {"adapt": "[[tasks]]", "simulate": "[sequence]", "plan start": "[start]", "server run": "[start]"}


def _below(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), group
    for name, one in group.commands.items() if isinstance(group, click.Group) else ():
        yield from _below(one, (*path, name))


EVERY = dict(_below(command()))


def _plain(text: str) -> str:
    """Without frames, code marks and line breaks."""
    return " ".join(text.translate(str.maketrans("│╭╮╰╯─", " " * 6, "`")).split())


@pytest.mark.parametrize("name", EVERY)
def test_every_text_is_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)
    done = CliRunner().invoke(command(), [*name.split(), "--help"], env={"TERMINAL_WIDTH": "400"})
    assert done.exit_code == 0, done.output
    shown = _plain(done.output)
    texts = [EVERY[name].help, *(getattr(parameter, "help", None) for parameter in EVERY[name].params)]
    assert any(texts)
    for text in filter(None, texts):
        assert _plain(text) in shown, text
    assert WORDS.get(name, "") in shown


def test_the_words_are_those_that_were_lost() -> None:
    assert WORDS.keys() <= EVERY.keys() and len(EVERY) > 30
    for name in EVERY:
        for parameter in EVERY[name].params:
            assert not isinstance(parameter, click.Argument) or parameter.help, f"{name} {parameter.name}"
