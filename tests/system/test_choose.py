"""choose_models.yml against the deployed site: it shows what fits, asks or is told, writes models_wanted and the lock, and changes no host."""
from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import hub_shop
import pytest
import yaml
from deployed import BIN, INVENTORY, ROOT, STATE, Run, environment, groups, hub, on, recap_of
from testinfra.host import Host

SERVERS = groups().get("localai_server", []) if INVENTORY.exists() else []
SMALL, FRESH = "bartowski/Llama-3.2-1B-Instruct-GGUF", "acme/Fresh-2B-Instruct-GGUF"
LIKE = "acme/Fresh-2B-Instruct-i1-GGUF"


class Loader(yaml.SafeLoader):
    """Reads the file as Ansible does: a text that is marked unsafe is a text."""


Loader.add_constructor("!unsafe", lambda loader, node: node.value)


@pytest.fixture(scope="module", autouse=True)
def shop() -> Iterator[None]:
    """A preset, a model that only a search finds, and a robot's re-upload of it, in the lab's hub."""
    root = STATE / "hub"
    hub_shop.add(root, SMALL)
    hub_shop.add(root, FRESH, trendingScore=50, **hub_shop.based_on("acme/Fresh-2B-Instruct"))
    hub_shop.add(root, LIKE, trendingScore=60, **hub_shop.based_on("acme/Fresh-2B-Instruct"))
    yield
    for name in (SMALL, FRESH, LIKE):
        shutil.rmtree(root / name)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy of the instance's inventory with its lock, as a user keeps it."""
    folder = tmp_path / "inventory"
    (folder / "group_vars" / "localai").mkdir(parents=True)
    shutil.copy(INVENTORY, folder / "hosts.yml")
    shutil.copy(INVENTORY.parent / "group_vars" / "localai.yml", folder / "group_vars" / "localai" / "main.yml")
    shutil.copy(INVENTORY.with_name("fleet.lock.yml"), folder)
    return folder


def command(inventory: Path, playbook: str, *more: str, **variables: Any) -> list[str]:
    given = {"common_cache_path": str(inventory.parent / "cache"), **variables}
    return [str(BIN / "ansible-playbook"), "-i", str(inventory / "hosts.yml"), f"playbooks/{playbook}.yml", "-e", json.dumps(given), *more]


@pytest.fixture
def choose(inventory: Path) -> Callable[..., Run]:
    """`choose(*arguments, **variables) -> Run`; no host changes by it."""

    def run(*more: str, playbook: str = "choose_models", **variables: Any) -> Run:
        done = subprocess.run(
            command(inventory, playbook, *more, **variables), cwd=ROOT, env=environment(), check=False, timeout=600, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return Run(done.returncode, done.stdout, recap_of(done.stdout))

    return run


def wanted(inventory: Path) -> list[dict[str, Any]]:
    return yaml.load((inventory / "group_vars/localai/models.yml").read_text(encoding="utf-8"), Loader=Loader)["models_wanted"]  # a SafeLoader


def kept(inventory: Path) -> dict[str, str]:
    """Every file of the inventory."""
    return {str(path.relative_to(inventory)): path.read_text(encoding="utf-8") for path in inventory.rglob("*") if path.is_file()}


def deployed() -> list[str]:
    return [on(name).check_output("sha256sum /opt/localai/state/*; docker ps --no-trunc --format '{{.ID}} {{.Names}}'") for name in SERVERS]


def test_by_variables_as_a_survey_sends_them(choose: Callable[..., Run], inventory: Path) -> None:
    before, files = deployed(), kept(inventory)
    asked = {"choose_models": "llama-3.2-1b-instruct, fresh-2b-instruct", "choose_aliases": "gpt-4=fresh-2b-instruct",
             "choose_presets": "llama-3.2-1b-instruct",
             "choose_category": "chat", "choose_licenses": "apache-2.0,gemma", "choose_context": "2048", "choose_language": "", "choose_slots": ""}
    predicted = choose("--check", **asked)
    assert predicted.code == 0 and kept(inventory) == files, predicted.output[-4000:]
    hub("/__requests__", method="DELETE")
    run = choose(**asked)
    assert run.code == 0 and run.changed == 2, run.output[-6000:]
    asking = {entry["client"] for entry in hub("/__requests__")}
    assert asking and not asking & {groups()["variables"][name]["ansible_host"] for name in SERVERS}
    calls = hub("/__calls__")
    assert calls["list"] == 1 and calls["repository"] <= 7
    text = run.told
    for part in ("1 llama-3.2-1b-instruct", f"{', '.join(SERVERS)}".replace(", ", ","), "2 fresh-2b-instruct (acme)", "fresh-2b-instruct: added",
                 "answers to gpt-4 too",
                 "model fresh-2b-instruct: added", "fresh-2b-instruct starts on", "ansible-playbook localai.fleet.site"):
        assert part in text, part
    found = wanted(inventory)
    old = groups()["variables"][SERVERS[0]]["models_wanted"][0]
    assert [item["name"] for item in found] == [old["name"], "llama-3.2-1b-instruct", "fresh-2b-instruct"]
    assert found[0]["aliases"] == ["gpt-3.5-turbo"] and found[2] == {
        "name": "fresh-2b-instruct", "source": f"hf://{FRESH}", "quant": "Q4_K_M", "context": 2048, "aliases": ["gpt-4"]}
    assert found[0]["template"]["chat"].startswith("{{ .Input }}") and "!unsafe" in kept(inventory)["group_vars/localai/models.yml"]
    assert set(yaml.safe_load(kept(inventory)["fleet.lock.yml"])["models"]) == {item["name"] for item in found}
    files = kept(inventory)
    again = choose(**asked)
    assert again.code == 0 and again.changed == 0 and kept(inventory) == files, again.output[-4000:]
    plan = choose(playbook="plan", common_plan_path="")
    assert plan.code == 0 and plan.changed == 0 and "fresh-2b-instruct" in plan.output
    assert deployed() == before


def test_without_a_terminal_nothing_is_chosen(choose: Callable[..., Run], inventory: Path) -> None:
    files = kept(inventory)
    run = choose(choose_presets="llama-3.2-1b-instruct")
    assert run.code == 0 and run.changed == 0 and "Nothing was chosen and nothing was changed" in run.told and kept(inventory) == files


@pytest.mark.parametrize("variables, words", [
    ({"choose_modles": "1"}, "Did you mean choose_models?"), ({"choose_models": "qwen9"}, "not among those to choose from"),
    ({"choose_models": "1", "choose_context": 16_777_216, "choose_slots": 64}, "not shown: llama-3.2-1b-instruct: It fits on no host"),
    ({"choose_models": "1", "context": 8192}, "Here every variable begins with choose_"),
])
def test_what_cannot_be_meant_changes_nothing(choose: Callable[..., Run], inventory: Path, variables: dict[str, Any], words: str) -> None:
    files = kept(inventory)
    run = choose(**{"choose_presets": "llama-3.2-1b-instruct", **variables})
    assert run.code != 0 and words in run.told and run.changed == 0 and kept(inventory) == files, run.output[-4000:]


def at_a_terminal(arguments: list[str], answers: dict[str, str]) -> str:
    """What a run prints at a terminal where somebody answers each of these prompts once."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execve(arguments[0], arguments, environment(COLUMNS="200"))
    output, seen, left, answer = b"", 0, dict(answers), b""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 3)[0]:
            os.write(terminal, answer)  # Ansible drops what was typed before it listens, so an answer may have to be given again
            continue
        try:
            output += os.read(terminal, 65536)
        except OSError:  # the run has ended
            break
        prompt = next((text for text in left if text.encode() in output[seen:]), None)
        if prompt and output.rstrip(b"\r\n").endswith(b":"):
            answer = left.pop(prompt).encode() + b"\r"
            os.write(terminal, answer)
            seen = len(output)
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return output.decode(errors="replace")


def test_at_a_prompt(inventory: Path) -> None:
    arguments = command(inventory, "choose_models", choose_presets="llama-3.2-1b-instruct")
    files = kept(inventory)
    text = at_a_terminal(arguments, {"Which models?": "1", "yes or no": "no"})
    assert "Nothing was written" in text and kept(inventory) == files, text[-4000:]
    text = at_a_terminal(arguments, {"Which models?": "1", "yes or no": "yes"})
    assert "hold what was chosen" in " ".join(text.split()) and wanted(inventory)[-1]["source"] == f"hf://{SMALL}", text[-4000:]


def test_a_file_by_hand_and_one_that_would_be_hidden(choose: Callable[..., Run], inventory: Path) -> None:
    asked = {"choose_models": "1", "choose_presets": "llama-3.2-1b-instruct"}
    path = inventory / "group_vars/localai/models.yml"
    path.write_text("models_wanted: []\n")
    run = choose(**asked)
    assert run.code != 0 and "written by hand, so it is not overwritten" in run.told and path.read_text() == "models_wanted: []\n"
    run = choose(**asked, choose_overwrite=True)
    assert run.code == 0 and path.with_name("models.yml.previous").read_text() == "models_wanted: []\n", run.output[-4000:]
    path.unlink()
    (inventory / "group_vars/localai/main.yml").rename(inventory / "group_vars/localai.yml")
    shutil.rmtree(inventory / "group_vars/localai")
    run = choose(**asked)
    assert run.code != 0 and "Ansible would no longer read the file beside it" in run.told and not (inventory / "group_vars/localai").exists()


def test_kept_with_the_lock_on_the_primary_host(choose: Callable[..., Run], inventory: Path, gateway: Host) -> None:
    main = inventory / "group_vars/localai/main.yml"
    asked = {"choose_models": "1", "choose_presets": "llama-3.2-1b-instruct", "fleet_lock_store": "primary"}
    run = choose(**asked)
    assert run.code != 0 and "count only while the inventory sets no models_wanted" in run.told
    text = main.read_text()
    main.write_text(text[:text.index("models_wanted:")])
    files = kept(inventory)
    state = "/opt/localai/state"
    try:
        run = choose(**asked)
        assert run.code == 0 and run.changed == 1 and kept(inventory) == files, run.output[-4000:]
        assert yaml.safe_load(gateway.file(f"{state}/models.yml").content)["models_wanted"][0]["source"] == f"hf://{SMALL}"
        assert list(yaml.safe_load(gateway.file(f"{state}/fleet.lock.yml").content)["models"]) == ["llama-3.2-1b-instruct"]
        assert choose(**asked).changed == 0
        plan = choose(playbook="plan", common_plan_path="", fleet_lock_store="primary")
        assert plan.code == 0 and plan.changed == 0 and "llama-3.2-1b-instruct" in plan.output, plan.output[-4000:]
    finally:
        gateway.check_output(f"rm -f {state}/models.yml {state}/fleet.lock.yml {state}/*.previous*")
