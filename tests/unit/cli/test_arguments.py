"""What people type: read exactly, or refused with the fix and exit code 2."""

import pytest

from toolorchestra.cli.commands.keys import read_limits
from toolorchestra.cli.commands.tools import read_arguments
from toolorchestra.cli.main import FAILURE, USAGE, run
from toolorchestra.core.errors import InvalidRequestError


def test_arguments_of_a_call_are_text_json_or_a_whole_object():
    words = ["expression=2 + 2 = 4", "n:=3", 'deep:={"a": [1]}', '{"flag": true, "n": 4}']
    assert read_arguments(words) == {"expression": "2 + 2 = 4", "n": 4, "deep": {"a": [1]}, "flag": True}


@pytest.mark.parametrize("word", ["expression", "=3", ":=3", "n:=three", "{broken"])
def test_arguments_that_cannot_be_read_are_named(word):
    with pytest.raises(InvalidRequestError) as refused:
        read_arguments([word])
    assert word in refused.value.message
    assert refused.value.hint


def test_limits_of_a_key_are_dollars_per_window():
    assert read_limits(["day=5.00", "total=20"]) == {"day": "5.00", "total": "20"}


@pytest.mark.parametrize("word", ["week=5", "day", "day=", "day=-1", "day=much"])
def test_limits_that_cannot_be_read_are_refused(word):
    with pytest.raises(InvalidRequestError):
        read_limits([word])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", "  "], "the question is empty"),
        (["ask", "hi", "--max-cost", "cheap"], "'cheap' is not an amount in US dollars"),
        (["ask", "hi", "--timeout", "soon"], "--timeout: 'soon"),
        (["ask", "hi", "--max-turns", "51"], "--max-turns"),
        (["usage", "--by", "colour"], "'colour' is not a group"),
        (["usage", "--by", "metadata:"], "'metadata:' is not a group"),
        (["usage", "--csv", "--json"], "exclude each other"),
        (["usage", "--since", "yesterday"], "neither a day nor a moment"),
        (["tools", "call", "calculator", "17"], "'17' is not an argument"),
        (["keys", "create", "k", "--limit", "week=1"], "'week=1' is not a limit"),
        (["up", "--allow-egress", "not a host/x"], "is not a host"),
        (["up", "--manifests", "no-such-folder"], "no-such-folder"),
        (["up", "--port", "70000"], "--port"),
        (["runs", "forget"], "forget"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_names_what_is_wrong(arguments, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == USAGE
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "command", [["ask", "hi"], ["models"], ["runs", "list"], ["tools", "list"], ["budget", "show"], ["usage"]]
)
def test_without_a_platform_every_command_says_how_to_start_one(command, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(command) == FAILURE
    assert "`toolorchestra up`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_asking_without_a_platform_offers_to_start_one(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run(["ask", "hi"])
    assert "--up" in capsys.readouterr().err


def test_stopping_what_does_not_run_is_no_failure(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["down"]) == 0
    assert "was not running" in capsys.readouterr().err


def test_without_a_key_for_a_named_platform_the_options_are_told(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["models", "--url", "http://127.0.0.1:1"]) == FAILURE
    assert "--key" in capsys.readouterr().err
    assert run(["budget", "show", "--url", "http://127.0.0.1:1"]) == FAILURE
    assert "--admin-token-file" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("toolorchestra 0.")


@pytest.mark.parametrize(
    "arguments",
    [[], *[[name] for name in ("up", "down", "ask", "quickstart", "models", "runs", "tools", "budget", "usage", "keys")]],
)
def test_every_command_explains_itself(arguments, capsys):
    assert run([*arguments, "--help"]) == 0
    assert "Usage: toolorchestra" in capsys.readouterr().out


def test_commands_are_completed(capsys, monkeypatch):
    monkeypatch.setenv("_TOOLORCHESTRA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "toolorchestra qu")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run([]) == 0
    assert capsys.readouterr().out.split() == ["quickstart"]
