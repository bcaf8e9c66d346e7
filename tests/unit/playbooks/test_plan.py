"""plan.yml of hosts that nobody can reach, from a fact cache: what is printed, and that a question that cannot be meant asks nobody."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fleets
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HOSTS = ("server-with-a-long-name-1.example.com", "server-with-a-long-name-2.example.com")
MODEL = "a-model-whose-name-takes-much-of-a-line-instruct"


def lock() -> str:
    """A lock of one model, as text."""
    model = {
        "source": "hf://a/b", "repository": "a/b", "commit": "c" * 40, "files": [{"path": "m.gguf", "size": 800 << 20, "sha256": "ab" * 32, "url": None}],
        "quant": "Q4_K_M", "license": "mit", "architecture": "llama", "chat_template_sha256": None, "header": fleets.header().as_dict(),
        "resolved_at": "2026-11-23T04:00:00Z", "resolved_by": "localai.fleet 0.1.0"}
    return yaml.safe_dump({"schema": 1, "images": {}, "models": {MODEL: model}})


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A folder with an inventory, its lock, and a fact cache of its hosts, whose address leads nowhere."""
    servers = {"hosts": dict.fromkeys(HOSTS, {"ansible_host": "127.0.0.1", "ansible_port": 1})}
    variables = {"models_wanted": [{"name": MODEL, "source": "hf://a/b", "slots": 2}]}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"localai": {"children": {"localai_server": servers}, "vars": variables}}))
    (tmp_path / "fleet.lock.yml").write_text(lock())
    (tmp_path / "facts").mkdir()
    for name in HOSTS:
        facts = {"localai_capacity": {**fleets.host().as_dict(), "read_at": "2026-11-22T11:00:00Z"}}
        (tmp_path / "facts" / f"s1_{name}").write_text(json.dumps({"__payload__": json.dumps(facts)}))
    return tmp_path


def plan(fleet: Path, *given: str, book: str = "plan", **environment: str) -> tuple[int, str]:
    """Exit code and all output."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", fleet / "hosts.yml", ROOT / "playbooks" / f"{book}.yml"]
    done = subprocess.run(
        command + [part for text in given for part in ("-e", text)], cwd=ROOT, check=False, capture_output=True, text=True, timeout=240,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true", "ANSIBLE_CACHE_PLUGIN": "jsonfile",
             "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet / "facts"), "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "0", **environment})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_table_is_printed_line_by_line_in_either_form(fleet: Path, form: str) -> None:
    code, output = plan(fleet, "offline=true", ANSIBLE_CALLBACK_RESULT_FORMAT=form)
    assert code == 0 and "changed=1" not in output, output[-4000:]
    rows = [line.strip(' ",') for line in output.splitlines() if MODEL in line and "GiB" in line]
    assert [row.split()[:5] for row in rows] == [[name, MODEL, "7", "4096", "2"] for name in HOSTS] and all(row.endswith("GiB") for row in rows), rows
    assert {path.name for path in fleet.iterdir()} == {"hosts.yml", "fleet.lock.yml", "facts", "fleet.plan.json", "fleet.plan.html"}


def test_a_question_that_cannot_be_meant_asks_no_host(fleet: Path) -> None:
    code, output = plan(fleet, "offline=true", "context=abc")
    assert code != 0 and "A whole number is wanted (context): got abc. Give digits alone, as 4096. Nothing was changed." in output
    assert "UNREACHABLE" not in output and not (fleet / "fleet.plan.json").exists()


@pytest.mark.parametrize("wanted, sentence", [
    ([], "No model is wanted (models_wanted is empty or not set for the group localai)"), ({"name": "m"}, "no list of models: got a mapping. Begin"),
    ([{"name": "m"}], "A wanted model has no source (models_wanted[0], m)")])
def test_without_a_model_that_is_one_the_lock_stays(fleet: Path, wanted: Any, sentence: str) -> None:
    code, output = plan(fleet, "offline=true", json.dumps({"models_wanted": wanted}))
    assert code != 0 and sentence in output and "Nothing was changed." in output and "Traceback" not in output, output[-4000:]
    assert (fleet / "fleet.lock.yml").read_text() == lock() and not (fleet / "fleet.plan.json").exists()


def test_a_what_if_that_takes_the_only_server_of_the_last_model_is_answered(fleet: Path) -> None:
    wanted = [{"name": MODEL, "source": "hf://a/b", "hosts": [HOSTS[0]]}]
    code, output = plan(fleet, "offline=true", f"remove_hosts={HOSTS[0]}", json.dumps({"models_wanted": wanted}))
    assert code == 0 and f"{MODEL}, pinned there alone" in " ".join(output.split()), output[-4000:]
    assert (fleet / "fleet.lock.yml").read_text() == lock()


def test_a_server_like_another_has_its_labels_and_its_reserved_cores(fleet: Path) -> None:
    inventory = yaml.safe_load((fleet / "hosts.yml").read_text())
    group = inventory["localai"]["children"]["localai_server"]
    group["hosts"][HOSTS[0]] = {**group["hosts"][HOSTS[0]], "common_labels": ["fast"], "common_reserved_cores": 3}
    inventory["localai"]["vars"]["models_wanted"][0]["labels"] = ["fast"]
    (fleet / "hosts.yml").write_text(yaml.safe_dump(inventory))
    code, output = plan(fleet, "offline=true", f"add_hosts=2x{HOSTS[0]}")
    made = json.loads((fleet / "fleet.plan.what-if.json").read_text()) if code == 0 else {}
    assert code == 0 and made["placement"] == {MODEL: ["new1", "new2", HOSTS[0]]}, output[-4000:]
    cores = {name: host["budget_cores"] for name, host in made["hosts"].items()}
    assert cores["new1"] == cores["new2"] == cores[HOSTS[0]] < cores[HOSTS[1]]


@pytest.mark.parametrize("given, sentence", [
    ("fleet_lock_store=primry", "fleet_lock_store must be controller, primary or git: got primry. Nothing was changed."),
    ("common_root=opt", "common_root must be an absolute path: got opt."), ("common_placement=tight", "common_placement must be spread or pack: got tight.")])
def test_a_value_that_cannot_be_meant_names_its_variable(fleet: Path, given: str, sentence: str) -> None:
    code, output = plan(fleet, "offline=true", given)
    assert code != 0 and sentence in output, output[-4000:]


def test_a_choice_that_cannot_be_meant_asks_no_host(fleet: Path) -> None:
    code, output = plan(fleet, "choose_sort=stars", book="choose_models")
    assert code != 0 and "sort is unknown (choose_sort): got stars. Known are trending" in " ".join(output.split()), output[-4000:]
    assert "UNREACHABLE" not in output
