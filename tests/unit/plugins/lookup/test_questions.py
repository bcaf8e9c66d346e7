"""The questions of a run: extra variables only, and the files that they name."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.utils.context_objects import CLIArgs
from ansible.utils.vars import load_extra_vars
from ansible_collections.localai.fleet.plugins.lookup.questions import LookupModule


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The lookup's answer in a run with these `-e` arguments."""

    def run(*given: str) -> dict[str, Any]:
        monkeypatch.setattr(context, "CLIARGS", CLIArgs({"extra_vars": given}))
        monkeypatch.setattr(load_extra_vars, "extra_vars", None, raising=False)
        (answer,) = LookupModule(loader=DataLoader()).run([], {"explain": "from the inventory", "context": 1})
        return json.loads(json.dumps(answer))

    return run


def test_without_extra_variables_nothing_is_asked(ask) -> None:
    assert ask() == {"names": [], "explain": "", "offline": False, "topology": "", "what_if": False, "variables": {}, "files": {}, "slips": [], "refused": ""}


def test_questions_are_told_apart_from_other_variables(ask) -> None:
    answer = ask("explain=m offline=true", '{"ansible_port": 1, "slots": 4}', "contxt=3")
    assert (answer["names"], answer["explain"], answer["offline"], answer["what_if"]) == (["explain", "offline", "slots"], "m", True, True)
    assert answer["variables"] == {"explain": "m", "offline": "true", "slots": 4} and answer["slips"] == [
        "The variable contxt asks nothing: did you mean context?"]


@pytest.mark.parametrize("text", ['{"a": {"schema": 1}}', "a:\n  schema: 1\n"])
def test_files_of_capacities_are_read(ask, tmp_path: Path, text: str) -> None:
    path = tmp_path / "more.yml"
    path.write_text(text)
    assert ask(f"add_hosts={path}")["files"] == {str(path): {"a": {"schema": 1}}}


@pytest.mark.parametrize("given, sentence", [
    ("context=many", "A whole number is wanted (context): got many"),
    ("add_hosts=/absent/more.yml", "cannot be read (add_hosts /absent/more.yml): got No such file")])
def test_what_cannot_be_meant_is_a_sentence(ask, given: str, sentence: str) -> None:
    answer = ask(given)
    assert sentence in answer["refused"] and answer["names"]


def test_a_file_that_is_no_yaml_is_a_sentence(ask, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("a: [1\n b: {")
    refused = ask(f"add_hosts={tmp_path}/bad.yml")["refused"]
    assert f"neither JSON nor YAML (add_hosts {tmp_path}/bad.yml)" in refused and "line 2" in refused and "path" not in refused and "\n" not in refused
