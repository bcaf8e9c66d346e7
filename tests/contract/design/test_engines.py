"""Decide in Python: engines are pure, small, and the only place of a decision (design sections 4 and 7)."""
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tree import engines, parse, short, under

PRODUCT_PYTHON = under("plugins", suffix=".py")


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of every absolute import, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", engines(), ids=short)
def test_an_engine_imports_nothing_of_ansible(path: Path) -> None:
    assert not imported(parse(path)) & {"ansible", "ansible_collections"}


@pytest.mark.parametrize("path", under("plugins/module_utils", "plugins/modules", suffix=".py"), ids=short)
def test_what_runs_on_hosts_needs_nothing_of_the_controller(path: Path) -> None:
    """Ansible ships module_utils to hosts, and plugin_utils never."""
    named = [node.module or "" for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in named if "plugin_utils" in name.split(".")]


@pytest.mark.parametrize("path", engines(), ids=short)
def test_public_functions_of_an_engine_say_what_they_do(path: Path) -> None:
    nodes = [n for n in parse(path).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    bare = [n.name for n in nodes if not n.name.startswith("_") and not ast.get_docstring(n)]
    assert not bare


@pytest.mark.parametrize("path", engines(), ids=short)
def test_public_functions_of_an_engine_are_typed(path: Path) -> None:
    bare = [
        node.name
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        and (node.returns is None or any(a.annotation is None and a.arg not in {"self", "cls"} for a in node.args.args))
    ]
    assert not bare


def test_threads_are_decided_in_the_placement_engine_alone() -> None:
    callers = {
        short(path)
        for path in PRODUCT_PYTHON
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "plan_threads"
    }
    assert callers == {"plugins/module_utils/_placement.py"}


def test_the_placement_engine_is_called_by_fleet_plan_alone() -> None:
    callers = {
        short(path)
        for path in PRODUCT_PYTHON
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "plan_fleet"
    }
    # _fits asks the same engine what if, for people to read: nothing deploys its answer.
    assert callers == {"plugins/modules/fleet_plan.py", "plugins/module_utils/_fits.py"}


GUESSES = re.compile(r"ansible_processor|ansible_memtotal|ansible_memory_mb|vcpus|\bnproc\b|cpu_count\(")


@pytest.mark.parametrize("path", under("roles", "playbooks"), ids=short)
def test_no_role_sizes_anything_by_itself(path: Path) -> None:
    assert not GUESSES.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PRODUCT_PYTHON, ids=short)
def test_functions_fit_a_screen(path: Path) -> None:
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long


@pytest.mark.parametrize("path", under("plugins", "tests", suffix=".py"), ids=short)
def test_files_stay_below_40_kb(path: Path) -> None:
    assert path.stat().st_size < 40_000


def parts(path: Path) -> set[str]:
    """Files that a file is made of: engines beside an engine, and what the controller's plugins share."""
    nodes = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom) and node.module]
    beside = {node.module.split(".")[0] for node in nodes if node.level == 1}
    return beside | {node.module.split(".")[-1] for node in nodes if "plugin_utils" in node.module.split(".")}


def covered() -> set[str]:
    """Names of Python files that a unit test names, and of the files that those are made of."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in under("tests/unit", suffix=".py"))
    found = {path.stem for path in PRODUCT_PYTHON if re.search(rf"\b{path.stem}\b", text)}
    while True:
        more = set().union(*(parts(path) for path in PRODUCT_PYTHON if path.stem in found))
        if more <= found:
            return found
        found |= more


def test_every_engine_module_and_plugin_has_unit_tests() -> None:
    carry_nothing = {"__init__", "_glue", "_errors"} | {path.stem for path in under("plugins/doc_fragments", suffix=".py")}
    assert not {path.stem for path in PRODUCT_PYTHON} - covered() - carry_nothing
