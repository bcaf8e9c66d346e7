# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The lock's text: YAML that is the same for the same data, reads well in a diff and passes yamllint."""
from __future__ import annotations

from typing import Any

from ._errors import FleetError

try:
    import yaml
except ImportError:  # only the controller needs it, and Ansible itself brings it there
    yaml = None


class Unsafe(str):
    """A text that Ansible must not take for a template of its own when it reads the file."""


TOP = "---\n# managed by localai.fleet; commit me\n"


def parse(text: str, where: str, what: str = "The lock", do: str = "Correct it, or take the version of the last commit.") -> Any:
    """Data of the text, None when it is empty. FleetError with the line for bad YAML and for a key that is given twice; `what` names the file."""
    _need_yaml()
    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise FleetError(f"{what} cannot be read", f"{where}{line}", problem, do) from error


def render(data: Any) -> str:
    """The data as text: keys sorted, lists indented, lists of plain values and tensor groups on one line each."""
    return TOP + block(data)


def block(data: Any, in_order: bool = False) -> str:
    """The data alone, with sorted keys or in its own order."""
    _need_yaml()
    return yaml.dump(data, Dumper=_dumper(), sort_keys=not in_order, default_flow_style=False, width=150, allow_unicode=True)


def _need_yaml() -> None:
    if yaml is None:
        raise FleetError("PyYAML is missing", "the controller's Python", do="Install PyYAML there; Ansible needs it too.")


def _loader() -> Any:
    """A safe loader that refuses a mapping with the same key twice, as a bad merge leaves it."""

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(node.value))
    return Loader


def _dumper() -> Any:
    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))
    Dumper.add_representer(list, _sequence)
    Dumper.add_representer(tuple, _sequence)
    return Dumper


def _sequence(dumper: Any, items: Any) -> Any:
    node = dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=not any(isinstance(item, (list, dict)) for item in items))
    for item in node.value:
        if isinstance(item, yaml.MappingNode) and not {"sha256", "source"} & {key.value for key, _value in item.value}:
            item.flow_style = all(isinstance(value, yaml.ScalarNode) for _key, value in item.value)
    return node
