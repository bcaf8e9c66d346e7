"""The project as a whole: playbooks, pins, what ships, what product code may know (design sections 3, 6 and 11)."""
from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tree import ROOT, load, short, tasks, tracked, under

PRODUCT = under("roles", "plugins", "playbooks", "inventories", "meta")
PLAYBOOKS = [path for path in under("playbooks", suffix=".yml") if path.parent.name == "playbooks"]
SHARED = [path for path in under("playbooks", suffix=".yml") if path not in PLAYBOOKS]
CALLS = {f"ansible.builtin.{how}_{what}" for how in ("import", "include") for what in ("role", "tasks")}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=short)
def test_a_playbook_can_be_named_by_its_collection(path: Path) -> None:
    """A dash makes a playbook unreachable as localai.fleet.NAME."""
    assert re.fullmatch(r"[a-z][a-z_]*\.yml", path.name)


@pytest.mark.parametrize("path", PLAYBOOKS, ids=short)
def test_a_playbook_holds_roles_only(path: Path) -> None:
    for play in load(path):
        if "ansible.builtin.import_playbook" in play:
            continue
        assert "hosts" in play and "gather_facts" in play, play.get("name")
        for task in tasks(play.get("tasks", [])):
            assert CALLS & set(task), task


@pytest.mark.parametrize("path", SHARED, ids=short)
def test_what_plays_share_holds_roles_only(path: Path) -> None:
    assert path.parent.relative_to(ROOT).as_posix() == "playbooks/tasks"
    for task in tasks(load(path)):
        assert CALLS & set(task), task


@pytest.mark.parametrize("path", PRODUCT, ids=short)
def test_product_code_knows_no_lab(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"stand-?in|\blab\b|tests/", text, re.IGNORECASE)


LEFT_OPEN = re.compile("|".join(rf"(?<![A-Za-z]){word}(?![A-Za-z])" for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X")))


@pytest.mark.parametrize("path", [p for p in tracked() if p.suffix in {".py", ".yml", ".j2", ".sh", ".js", ".md"}], ids=short)
def test_nothing_is_left_open(path: Path) -> None:
    assert not LEFT_OPEN.search(path.read_text(encoding="utf-8"))


def test_images_are_pinned_by_exact_version() -> None:
    images = load(ROOT / "roles" / "common" / "vars" / "main.yml")["__common_images"]
    assert {"localai", "llama_cpp", "nginx"} <= set(images)
    for image in images.values():
        assert re.fullmatch(r"v?\d+\.\d+\.\d+[a-z0-9.-]*", image["version"])


def test_requirements_are_pinned() -> None:
    for path in [*under("requirements", suffix=".txt"), ROOT / "meta" / "requirements.txt"]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("#", "-r"))]
        assert all("==" in line for line in lines), short(path)


def test_the_execution_environment_is_this_collection_with_the_same_pins() -> None:
    definition, version = load(ROOT / "meta" / "execution-environment.yml"), load(ROOT / "galaxy.yml")["version"]
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    assert definition["dependencies"]["ansible_core"]["package_pip"] in runtime
    assert "==" in definition["dependencies"]["ansible_runner"]["package_pip"]
    assert {Path(entry["src"]).name for entry in definition["additional_build_files"]} == {f"localai-fleet-{version}.tar.gz"}
    assert [entry["name"] for entry in definition["dependencies"]["galaxy"]["collections"]] == [f"collections/localai-fleet-{version}.tar.gz"]
    assert definition["options"]["tags"] == [f"localai-fleet-ee:{version}"]
    # A build of another environment looks for these two names in the root of the installed collection.
    for kind in ("python", "system"):
        name = definition["dependencies"][kind]
        assert (ROOT / name).resolve() == ROOT / "meta" / name


@pytest.mark.parametrize("inventory", sorted((ROOT / "inventories").iterdir()), ids=short)
@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=short)
def test_example_inventories_pass_a_syntax_check(inventory: Path, playbook: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", "-i", inventory / "hosts.yml", playbook],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr


def test_the_artifact_ships_what_users_need_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [Path(sys.executable).parent / "ansible-galaxy", "collection", "build", "--output-path", tmp_path, "."],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )
    with tarfile.open(next(tmp_path.glob("localai-fleet-*.tar.gz"))) as artifact:
        top = {name.split("/")[0] for name in artifact.getnames()}
    needed = {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles"}
    allowed = needed | {"bindep.txt", "requirements.txt", "CHANGELOG.rst", "CONTRIBUTING.md", "FILES.json", "MANIFEST.json",
                        "changelogs", "docs", "inventories"}
    assert needed <= top
    assert not top - allowed
