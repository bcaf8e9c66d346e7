# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters through which the roles print what the engines decide."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import yaml

from ansible_collections.localai.fleet.plugins.module_utils._compose import env_text, image_reference, redact
from ansible_collections.localai.fleet.plugins.module_utils._daemon import merge, text, unchanged
from ansible_collections.localai.fleet.plugins.module_utils._modelyaml import links, render_all, targets
from ansible_collections.localai.fleet.plugins.module_utils._variables import known_names, prefixes, unknown_names
from ansible_collections.localai.fleet.plugins.plugin_utils._filters import told

MANAGED = "# managed by localai.fleet\n"


def daemon_settings(hardened: Mapping[str, Any], existing: str, user: Mapping[str, Any], mirrors: Sequence[str] = ()) -> str:
    """Text of daemon.json; the existing one as it is when it says the same."""
    settings = merge(_plain(hardened), existing, _plain(user), _plain(mirrors))
    return existing if unchanged(settings, existing) else text(settings)


def model_yaml(instances: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], lock: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What the settings folder of each instance holds, and what its LocalAI must know of it."""
    return [_settings(instance, _plain(wanted), _plain(lock or {})) for instance in _plain(instances)]


def _settings(instance: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], lock: Mapping[str, Any]) -> dict[str, Any]:
    rendered = render_all(instance, wanted, lock)
    names = targets(rendered)
    parts = {path: target for model in instance["models"] for path, target in links(model).items()}
    return {
        "name": instance["name"], "names": names, "files": _files(rendered),
        "links": [{"path": path, "target": target} for path, target in parts.items()],
        "load": instance.get("residency") != "on_demand" and not instance.get("max_active"),
        "needs": {names[model["name"]]: (model.get("memory") or {}).get("anonymous", 0) for model in instance["models"]},
    }


def _files(rendered: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": f"{name}.yaml", "content": MANAGED + yaml.safe_dump(settings, sort_keys=False, width=1000), "mode": "0640"}
        for name, settings in rendered.items()
    ]


def unknown_variables(names: Sequence[str], folder: str) -> list[str]:
    """A sentence for each variable that starts as a role of `folder` does and that none of them knows."""
    paths = sorted(Path(folder).glob("*/meta/argument_specs.yml"))
    specs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return unknown_names(names, known_names(specs), prefixes(path.parts[-3] for path in paths))


def _plain(value: Any) -> Any:
    """The same data without the marks that Ansible puts on it."""
    return json.loads(json.dumps(value))


class FilterModule:
    """Names by which the roles call them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "compose_env": told(env_text),
            "daemon_settings": told(daemon_settings),
            "image_reference": told(image_reference),
            "model_yaml": told(model_yaml),
            "redact": redact,
            "unknown_variables": unknown_variables,
        }
