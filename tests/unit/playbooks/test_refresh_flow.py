"""The order of a refresh over hosts: the real playbook, with a line in the place of each role that works on a host.

What decides who does what (proceed, only_*, together, fault, tell) is the role's own.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE, RUN = "localai.fleet.refresh", "refresh_run.yml"
KEPT = {"proceed", "only_first", "only_others", "only_drained", "only_begun", "reached", "together", "fault", "tell"}
PLAYS = ("First host", "Blobs of the other hosts", "The other hosts, one by one", "Names", "Lock", "Way back of a host that is drained",
         "Way back of the other hosts, one by one", "Outcome")
FACTS = {"Drain it": "true", "Ask it again": "false"}
NOTHING = {"mode": "none", "canary": False, "models": []}
HOSTS = {
    "a": {"mode": "beside", "canary": True, "models": ["m"]}, "b": {"mode": "beside", "canary": False, "models": ["m"]},
    "c": {"mode": "swap", "canary": False, "models": ["m"]}, "d": NOTHING,
}


def stub(task: dict[str, Any]) -> dict[str, Any]:
    """A role that decides stays; another is told, keeps the note of a drained host, and fails where it is asked to."""
    for key in ("block", "rescue"):
        if key in task:
            return {**task, **{part: [stub(inner) for inner in task[part]] for part in ("block", "rescue") if part in task}}
    how = next(key for key in task if key.endswith(("_role", "_tasks")))
    role = task[how]
    if how.endswith("_tasks") and not role.endswith(RUN):
        inner = yaml.safe_load((ROOT / "playbooks" / role).read_text(encoding="utf-8"))
        return {"name": task["name"], "block": [stub(part) for part in inner], **{key: task[key] for key in ("vars", "when") if key in task}}
    if how.endswith("_role") and role["name"] == ROLE and role.get("tasks_from") in KEPT:
        return {"name": task["name"], how: role}
    name = task["name"].split(" | ")[-1]
    told: list[dict[str, Any]] = [{"name": name, "ansible.builtin.debug": {"msg": f"did {name} on {{{{ inventory_hostname }}}}"}}]
    if name in FACTS:
        told.append({"name": name, "ansible.builtin.set_fact": {"__refresh_drained": f"{{{{ {FACTS[name]} }}}}"}})
    told.append({"name": name, "ansible.builtin.fail": {"msg": "it broke"}, "when": f"failing == '{name}/' ~ inventory_hostname"})
    return {"name": name, "block": told, **({"when": task["when"]} if "when" in task else {})}


def book(apply: bool) -> list[dict[str, Any]]:
    """The plays after the proposal."""
    plays = yaml.safe_load((ROOT / "playbooks" / "refresh_models.yml").read_text(encoding="utf-8"))
    facts = {
        "__refresh_run": {"names": ["m"], "apply": apply, "back": False, "hosts": HOSTS},
        "__refresh_old_state": {"instances": [], "mode": "{{ __refresh_run.hosts[inventory_hostname].mode }}"},
        "__refresh_journal_file": {"content": "{{ __refresh_old_state | to_json | b64encode }}"}}
    start = {"name": "Facts", "hosts": "localai_server", "gather_facts": False, "tasks": [
        {"name": "Set", "ansible.builtin.set_fact": {key: value}} for key, value in facts.items() if key != "__refresh_journal_file"] + [
        {"name": "Set", "ansible.builtin.set_fact": {"__refresh_journal_file": facts["__refresh_journal_file"]}}]}
    chosen = [play for play in plays if play["name"] in PLAYS]
    assert [play["name"] for play in chosen] == list(PLAYS)
    return [start] + [{**play, "become": False, "tasks": [stub(task) for task in play["tasks"]]} for play in chosen]


def done(tmp_path: Path, failing: str = "", apply: bool = True) -> tuple[int, list[str], str]:
    """Exit code, what was done in order, and all output."""
    inventory, path = tmp_path / "hosts.yml", tmp_path / "book.yml"
    inventory.write_text(yaml.safe_dump({"localai_server": {"hosts": dict.fromkeys(HOSTS, {"ansible_connection": "local"})}}))
    path.write_text(yaml.safe_dump(book(apply), sort_keys=False))
    run = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, "-e", json.dumps({"failing": failing}), path], cwd=ROOT, check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}, capture_output=True, text=True, timeout=240)
    return run.returncode, re.findall(r"msg: did (.*) on (?=[a-d]$)([a-d])", run.stdout, re.MULTILINE), run.stdout + run.stderr


TRY = "Try the new models, and judge them"
BACK = "Run what it is to run"


def test_a_good_model_goes_to_one_host_then_to_the_others_then_the_names_move(tmp_path: Path) -> None:
    code, steps, output = done(tmp_path)
    assert code == 0, output
    tried = [host for what, host in steps if what == TRY]
    assert tried == ["a", "b", "c"]
    assert [what for what, host in steps if host == "c"] == [
        "Write down what runs now", "Provide the blobs", "Share the internal key", "Drain it", TRY,
        "Have the names of a drained host point to them", "Ask it again", "Share the internal key", "Run the plan with the new models",
        "Keep the lock, and forget the proposal", "End what was for the time of the refresh"]
    brought = [index for index, (what, host) in enumerate(steps) if what == "Provide the blobs" and host != "a"]
    assert len(brought) == 2 and brought[1] - brought[0] == 1, "in one turn, for they get them from each other"
    moved = [index for index, (what, _host) in enumerate(steps) if what == "Run the plan with the new models"]
    kept = [index for index, (what, _host) in enumerate(steps) if what.startswith("Keep the lock")]
    assert max(index for index, (what, _host) in enumerate(steps) if what == TRY) < min(moved) < max(moved) < min(kept)
    assert len(moved) == 4 and not [what for what, _host in steps if what == BACK]


@pytest.mark.parametrize("failing, tried, back", [
    (f"{TRY}/a", ["a"], ["a", "b", "c", "d"]),
    (f"{TRY}/c", ["a", "b", "c"], ["c", "a", "b", "d"]),
    ("Run the plan with the new models/b", ["a", "b", "c"], ["a", "b", "c", "d"]),
], ids=["gate of the first host", "a drained host", "the move of the names"])
def test_whatever_fails_every_host_is_put_back_the_drained_first(tmp_path: Path, failing: str, tried: list[str], back: list[str]) -> None:
    code, steps, output = done(tmp_path, failing)
    assert code != 0 and "it broke" in output
    assert "everything is as it was before" in " ".join(output.split())
    assert [host for what, host in steps if what == TRY] == tried
    assert [host for what, host in steps if what == BACK] == back
    assert not [what for what, _host in steps if what.startswith("Keep the lock")]


def test_a_proposal_alone_does_nothing_on_a_host(tmp_path: Path) -> None:
    code, steps, output = done(tmp_path, apply=False)
    assert (code, steps) == (0, []), output
