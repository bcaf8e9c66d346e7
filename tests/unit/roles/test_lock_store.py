"""The entries lock_fetch and lock_store with each store, run by Ansible on this machine."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from git_server import BareRepository

ROOT = Path(__file__).resolve().parents[3]
OLD = "fleet.lock.previous.yml"


def entry(name: str) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.import_role": {"name": "localai.fleet.common", "tasks_from": name}}


def made(text: str, *lines: str) -> dict[str, Any]:
    return {"name": "made", "ansible.builtin.set_fact": {"__common_lock": {"text": text, "changes": list(lines)}}}


class Site:
    """A controller whose only host is itself; `run(tasks, variables)` gives (what lock_fetch read last, changed tasks, output)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = BareRepository(folder / "fleet.git")
        self.repository.push({"README.md": "hello\n"})
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        groups = {name: {"hosts": {"here": host}} for name in ("localai_gateway", "localai_server")}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"localai": {"children": groups}}))
        self.variables = {"common_root": str(folder / "opt"), "fleet_lock_git": {"url": self.repository.url, "path": "inv"}}

    def run(self, store: str, *tasks: dict[str, Any], check: bool = False, **variables: Any) -> tuple[dict[str, Any], int, str]:
        tell = {"name": "tell", "ansible.builtin.copy": {"content": "{{ __common_lock_kept | to_json }}", "dest": str(self.folder / "told.json")},
                "check_mode": False, "changed_when": False, "no_log": True}
        play = {"hosts": "localai_server", "gather_facts": False, "become": True, "tasks": [*tasks, tell]}
        (self.folder / "play.yml").write_text(yaml.safe_dump([play]))
        values = {**self.variables, "fleet_lock_store": store, **variables}
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", self.folder / "hosts.yml", self.folder / "play.yml", "-e", json.dumps(values),
             "--diff", "-vvv", *(["--check"] if check else [])],
            cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}, check=False, capture_output=True, text=True,
            timeout=120)
        told = json.loads((self.folder / "told.json").read_text()) if done.returncode == 0 else {}
        return told, done.stdout.count("\nchanged: "), done.stdout + done.stderr

    def kept(self, store: str) -> dict[str, str]:
        """The store's files, looked at without the product."""
        if store == "git":
            names = self.repository.git("ls-tree", "-r", "--name-only", "main", "inv/").split()
            return {name.rpartition("/")[2]: self.repository.text(name) for name in names}
        folder = self.folder / "opt" / "state" if store == "primary" else self.folder
        return {path.name: path.read_text() for path in folder.glob("*.yml") if path.name not in ("hosts.yml", "play.yml")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("store", ["controller", "primary", "git"])
def test_a_lock_is_fetched_stored_and_fetched_again(site: Site, store: str) -> None:
    change = entry("lock_fetch"), made("one\n", "model tiny: added"), entry("lock_store")
    _read, changed, output = site.run(store, *change, check=True)
    assert changed == 1 and site.kept(store) == {} and "  model tiny: added" in output
    store_it = entry("lock_store")
    more = made("one\n"), store_it, made("two\n", "model tiny: moved"), store_it, made("three\n", "model tiny: again"), store_it
    read, changed, output = site.run(store, *change, *more, entry("lock_fetch"), fleet_lock_git_token="hidden-word")
    assert changed == 3 and "hidden-word" not in output
    assert (read["files"], read["previous"]) == ({"fleet.lock.yml": "three\n"}, {"fleet.lock.yml": "two\n"})
    assert site.kept(store) == {"fleet.lock.yml": "three\n", **({} if store == "git" else {OLD: "two\n"})}
    if store != "controller":
        assert not [path for path in site.folder.iterdir() if "lock" in path.name]
    if store == "git":
        assert site.repository.git("log", "--format=%s", "main").splitlines() == ["Change model tiny"] * 3 + ["by hand"]


def test_chosen_models_are_kept_beside_the_lock_and_wanted_where_the_inventory_wants_none(site: Site) -> None:
    models = '---\nmodels_wanted:\n  - name: tiny\n    source: hf://acme/Tiny-GGUF\n    template: {chat: !unsafe "{{.Input}}\\nOutput:"}\n'
    (site.folder / "chosen").write_text(models)
    read = {"name": "read", "ansible.builtin.slurp": {"src": str(site.folder / "chosen")}, "register": "chosen"}
    put = {**entry("lock_store"), "vars": {"common_lock_files": "{{ {'models.yml': chosen.content | b64decode, 'fleet.lock.yml': 'one\n'} }}",
                                           "common_lock_changes": ["models.yml: tiny"]}}
    show = {"name": "show", "ansible.builtin.debug": {
        "msg": "wanted {{ __common_wanted | map(attribute='name') | join(',') }}.{{ __common_wanted[0].template.chat | default('') }}"}}
    own = {**show, "vars": {"models_wanted": [{"name": "other"}]}}
    _read, changed, output = site.run("git", entry("lock_fetch"), read, put, show, own)
    assert changed == 1 and site.kept("git") == {"models.yml": models, "fleet.lock.yml": "one\n"}
    assert "wanted tiny.{{.Input}}" in output and "wanted other." in output


def test_what_someone_else_stored_in_between_stays(site: Site) -> None:
    theirs = site.folder / "opt" / "state" / "fleet.lock.yml"
    other = {"name": "other", "ansible.builtin.command": {"cmd": f"sh -c 'mkdir -p {theirs.parent} && echo theirs > {theirs}'"}}
    _read, _changed, output = site.run("primary", entry("lock_fetch"), other, made("mine\n", "model tiny: added"), entry("lock_store"))
    assert "changed by someone else since it was read, so nothing was written" in " ".join(output.split())
    assert site.kept("primary") == {"fleet.lock.yml": "theirs\n"}


def test_a_lock_on_a_host_is_not_read_when_no_host_may_be_asked(site: Site) -> None:
    output = " ".join(site.run("primary", entry("lock_fetch"), offline=True)[2].split())
    assert "The lock is kept on here" in output and "fleet_lock_store=controller" in output


def test_what_ansible_loads_after_a_choice_is_compared_and_not_told(site: Site) -> None:
    """It holds every variable of the host, decrypted, while `-v` prints what a task returned."""
    inventory = yaml.safe_load((site.folder / "hosts.yml").read_text())
    inventory["localai"]["vars"] = {"a_password": "hidden-word"}
    (site.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    tiny = {"name": "tiny", "source": "hf://acme/Tiny-GGUF"}
    choice = {"models": "tiny", "aliases": {}, "options": {}, "only": False, "overwrite": False}
    chosen = {"__common_choice": choice, "__common_before": [], "__common_new": {"wanted": [tiny], "text": "", "changes": []},
              "__common_found": {"candidates": [{"name": "tiny", "repository": "acme/Tiny-GGUF", "categories": ["chat"], "wanted": tiny}]}}
    output = site.run("controller", entry("lock_fetch"), made("one\n", "model tiny: added"), entry("choose_write"), **chosen)[2]
    assert "hold what was chosen" in output and "hidden-word" not in output
    (site.folder / "host_vars").mkdir()
    (site.folder / "host_vars" / "here.yml").write_text("models_wanted: []\n")
    again = site.run("controller", entry("lock_fetch"), made("one\n"), entry("choose_write"), **chosen)[2]
    assert "models_wanted comes from elsewhere" in " ".join(again.split()) and "hidden-word" not in again
