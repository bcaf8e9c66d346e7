"""What the role awx sends: every argument is one of its module's, every survey asks for a variable that its playbook knows, every playbook is there."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.module_utils._choice import ASKED
from ansible_collections.localai.fleet.plugins.module_utils._what_if import QUESTIONS

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "awx"


def calls(block: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Module and arguments of every task that asks AWX by a module."""
    for task in block:
        yield from calls(task.get("block", []))
        yield from ((name, task[name]) for name in task if name.startswith("awx.awx."))


CALLS = [(path.name, *call) for path in sorted((ROLE / "tasks").glob("*.yml")) for call in calls(yaml.safe_load(path.read_text(encoding="utf-8")))]
TEMPLATES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__awx_templates"]


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """Options of each module that the role calls, as ansible-doc knows them."""
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-doc", "-j", "-t", "module", *sorted({module for _file, module, _arguments in CALLS})],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    return {name: page["doc"]["options"] for name, page in json.loads(done.stdout).items()}


@pytest.mark.parametrize(("file", "module", "arguments"), CALLS, ids=[f"{file} {module}" for file, module, _arguments in CALLS])
def test_arguments_are_those_of_the_module(documented: dict[str, Any], file: str, module: str, arguments: dict[str, Any]) -> None:
    options = documented[module]
    assert not set(arguments) - set(options), file
    assert not [name for name, option in options.items() if option.get("required") and name not in arguments], file
    for name, value in arguments.items():
        choices = options[name].get("choices")
        assert not choices or "{{" in str(value) or value in choices, f"{file}: {name}"


@pytest.mark.parametrize("template", TEMPLATES, ids=[template["verb"] for template in TEMPLATES])
def test_a_survey_asks_for_what_the_playbook_knows(template: dict[str, Any]) -> None:
    assert (ROOT / "playbooks" / template.get("playbook", f"{template['verb']}.yml")).is_file()
    specs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    options = {name for spec in specs for name in spec["argument_specs"]["main"].get("options", {})}
    known = {"plan": set(QUESTIONS), "choose": set(ASKED)}.get(template["verb"], options)
    asked = [question["variable"] for question in template.get("survey", [])]
    assert not set(asked) - known
    assert len(asked) == len(set(asked))
