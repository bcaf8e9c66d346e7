"""Modules: thin, documented, with check and diff mode, each proven by a quartet (design section 7)."""
from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from tree import ROOT, load, modules, parse, short

VERSION = load(ROOT / "galaxy.yml")["version"]


def text_of(path: Path, name: str) -> str:
    """The text assigned to DOCUMENTATION, EXAMPLES or RETURN."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    return ""


@pytest.mark.parametrize("path", modules(), ids=short)
def test_a_module_documents_what_it_takes_and_returns(path: Path) -> None:
    documentation = yaml.safe_load(text_of(path, "DOCUMENTATION"))
    assert documentation["module"] == path.stem
    assert tuple(map(int, documentation["version_added"].split("."))) <= tuple(map(int, VERSION.split(".")))
    assert "localai.fleet.attributes" in documentation["extends_documentation_fragment"]
    assert f"localai.fleet.{path.stem}:" in text_of(path, "EXAMPLES")
    assert yaml.safe_load(text_of(path, "RETURN"))


@pytest.mark.parametrize("path", modules(), ids=short)
def test_a_module_supports_check_mode(path: Path) -> None:
    calls = [n for n in ast.walk(parse(path)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "AnsibleModule"]
    flags = [k.value for call in calls for k in call.keywords if k.arg == "supports_check_mode"]
    assert len(calls) == 1
    assert [flag.value for flag in flags] == [True]


@pytest.mark.parametrize("path", modules(), ids=short)
def test_a_module_is_proven_by_a_quartet(path: Path) -> None:
    tests = ROOT / "tests" / "unit" / "plugins" / "modules" / f"test_{path.stem}.py"
    names = [n.name for n in ast.walk(parse(tests)) if isinstance(n, ast.FunctionDef)]
    assert any("quartet" in name for name in names), f"{short(tests)} has no quartet test (check, real, check, real)"


def test_the_action_group_names_every_module() -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    assert groups["fleet"] == [path.stem for path in modules()]


def test_no_sanity_rule_is_ignored() -> None:
    assert not list((ROOT / "tests" / "sanity").glob("ignore*"))
