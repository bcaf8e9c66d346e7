"""Roles: one shape, names that tell the owner, the spec is the interface (design sections 5 and 12)."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tree import PHASES, ROOT, load, roles, service_roles, short, tasks, under

PREFIX = {"awx": ("awx_fleet_",), "docker": ("docker_engine_",), "common": ("common_", "fleet_lock_")}


def prefixes(role: str) -> tuple[str, ...]:
    """What the public variables of a role start with."""
    return PREFIX.get(role, (f"{role}_",))


def spec(role: str) -> dict[str, Any]:
    """The options of the role's main entry point."""
    return load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})


def defaults(role: str) -> dict[str, Any]:
    """The public variables of a role with their defaults."""
    return load(ROOT / "roles" / role / "defaults" / "main.yml") or {}


@pytest.mark.parametrize("role", service_roles())
def test_main_only_dispatches_the_phases(role: str) -> None:
    main = load(ROOT / "roles" / role / "tasks" / "main.yml")
    assert [task["ansible.builtin.import_tasks"] for task in main] == [f"{phase}.yml" for phase in PHASES]
    assert all(set(task) <= {"name", "ansible.builtin.import_tasks", "tags"} for task in main)


@pytest.mark.parametrize("role", service_roles())
def test_a_role_can_be_removed(role: str) -> None:
    assert load(ROOT / "roles" / role / "tasks" / "remove.yml")


@pytest.mark.parametrize("role", roles())
def test_defaults_and_spec_name_the_same_options(role: str) -> None:
    optional = {name for name, option in spec(role).items() if not option.get("required")}
    assert set(defaults(role)) == optional


@pytest.mark.parametrize("role", roles())
def test_defaults_and_spec_agree_on_values(role: str) -> None:
    told = {name: option["default"] for name, option in spec(role).items() if "default" in option}
    real = {name: value for name, value in defaults(role).items() if name in told}
    assert told == real
    silent = {name for name, value in defaults(role).items() if name not in told and value not in (None, "")}
    assert not silent, "these have a default that the spec does not tell"


@pytest.mark.parametrize("role", roles())
def test_what_a_role_computes_is_no_name_that_a_task_fills(role: str) -> None:
    """A registered result or a fact hides the expression of vars/main.yml without a word."""
    computed = ROOT / "roles" / role / "vars" / "main.yml"
    filled = {task["register"] for path in under(f"roles/{role}/tasks") for task in tasks(load(path)) if "register" in task}
    filled |= {name for path in under(f"roles/{role}/tasks") for task in tasks(load(path)) for name in task.get("ansible.builtin.set_fact", {})}
    assert filled.isdisjoint(load(computed) if computed.exists() else {})


@pytest.mark.parametrize("role", roles())
def test_every_option_is_typed_and_described(role: str) -> None:
    def walk(options: dict[str, Any], where: str) -> list[str]:
        found = []
        for name, option in options.items():
            if not option.get("type") or not option.get("description"):
                found.append(f"{where}{name}")
            if option.get("type") == "list" and not option.get("elements"):
                found.append(f"{where}{name} (elements)")
            found += walk(option.get("options", {}), f"{where}{name}.")
        return found

    assert not walk(spec(role), "")


@pytest.mark.parametrize("role", roles())
def test_public_names_tell_their_owner(role: str) -> None:
    assert not [name for name in defaults(role) if not name.startswith(prefixes(role))]


@pytest.mark.parametrize("role", roles())
def test_private_names_tell_their_owner(role: str) -> None:
    names = set()
    for path in under(f"roles/{role}/tasks", f"roles/{role}/handlers", suffix=".yml"):
        for task in tasks(load(path)):
            names.update([task["register"]] if "register" in task else [])
            names.update(task.get("ansible.builtin.set_fact") or {})
    for path in under(f"roles/{role}/vars", suffix=".yml"):
        names.update(load(path) or {})
    names.discard("cacheable")
    assert not {name for name in names if not name.startswith((f"__{role}_", *(f"__{start}" for start in prefixes(role))))}


@pytest.mark.parametrize("path", [path for path in under("roles", suffix=".yml") if "tasks" in path.parts], ids=short)
def test_task_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120
    assert len(tasks(load(path))) <= 15


@pytest.mark.parametrize("path", under("roles", suffix=".yml"), ids=short)
def test_roles_meet_in_the_playbook(path: Path) -> None:
    """The internal role `common` is the one exception: it is entered by tasks_from."""
    used = re.findall(r"localai\.fleet\.(\w+)", path.read_text(encoding="utf-8"))
    assert not set(used) & set(service_roles()) - {path.relative_to(ROOT / "roles").parts[0]}


@pytest.mark.parametrize("role", roles())
def test_a_role_has_a_page(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    missing = [name for name in spec(role) if f"`{name}`" not in text]
    assert not missing, f"roles/{role}/README.md does not name these options"
