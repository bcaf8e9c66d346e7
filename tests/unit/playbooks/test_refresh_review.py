"""What is kept for review: when it is kept, when it goes, and what a review says of it. The real plays, with the lock in a folder and no Hub."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.filter.refresh import proposal_text
from ansible_collections.localai.fleet.plugins.module_utils import _lock
from fleets import MIB, header

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = "a" * 64, "b" * 64
VARIABLES = str(ROOT / "roles" / "refresh" / "vars" / "main.yml")
NOTHING = "There is no proposal to review."
KEEPS = "Keep the proposal for review, or forget one that nothing newer is behind"


def text(digest: str) -> str:
    """A lock of one model whose file has the digest."""
    head = header()
    return _lock.dump(_lock.validate({"schema": 1, "images": {}, "models": {"m": {
        "source": "hf://a/b", "repository": "a/b", "commit": "c" * 40, "files": [{"path": "m.gguf", "size": 800 * MIB, "sha256": digest, "url": None}],
        "quant": "Q4_K_M", "license": None, "architecture": head.architecture, "chat_template_sha256": None, "header": head.as_dict(),
        "resolved_at": "2026-01-01T00:00:00Z", "resolved_by": "test", "projector": None}}}))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The proposal beside a lock."""
    (tmp_path / "fleet.lock.yml").write_text(text(OLD))
    return tmp_path / "fleet.lock.proposal.yml"


def played(folder: Path, book: Path, *tags: str, **variables: Any) -> "subprocess.CompletedProcess[str]":
    inventory = {"localai": {"children": {"localai_server": {"hosts": dict.fromkeys(("a", "b"), {"ansible_connection": "local"})}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    given = {"ansible_become": False, "fleet_lock_store": "controller", "common_lock_path": str(folder / "fleet.lock.yml"),
             "models_hub_endpoint": "http://127.0.0.1:9", **variables}
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", "-e", json.dumps(given), book, *tags], cwd=ROOT, check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true"}, capture_output=True, text=True, timeout=240)


def review(kept: Path, tags: str = "review", **variables: Any) -> "subprocess.CompletedProcess[str]":
    return played(kept.parent, ROOT / "playbooks" / "refresh_models.yml", "--tags", tags, **variables)


def proposed(kept: Path, names: list[str]) -> "subprocess.CompletedProcess[str]":
    """The part of the playbook that keeps what was found: `names` have newer files."""
    plays = yaml.safe_load((ROOT / "playbooks" / "refresh_models.yml").read_text(encoding="utf-8"))
    play = next(play for play in plays if play["name"] == "Proposal")
    steps = {task["name"]: task for task in play["tasks"]}
    found = {"names": names, "apply": False, "text": text(NEW if names else OLD), "changes": [f"model {name}: newer" for name in names]}
    told = {"name": "Found", "ansible.builtin.set_fact": {"__refresh_run": found}}
    book = kept.parent / "book.yml"
    shown = {**play, "become": False, "vars_files": [VARIABLES], "tasks": [steps["Read the lock"], told, steps[KEEPS]]}
    book.write_text(yaml.safe_dump([shown], sort_keys=False))
    return played(kept.parent, book)


def test_a_review_shows_what_is_proposed_and_asks_nobody(kept: Path) -> None:
    kept.write_text(proposal_text(text(NEW), text(OLD)))
    done = review(kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model m: " in done.stdout and NEW[:12] in done.stdout and "changed=0" in done.stdout


def test_a_review_of_nothing_fails_and_says_so(kept: Path) -> None:
    done = review(kept)
    assert done.returncode != 0 and NOTHING in done.stdout, done.stdout + done.stderr
    kept.write_text(proposal_text(text(OLD), text(OLD)))
    done = review(kept)
    assert done.returncode != 0 and NOTHING in done.stdout, done.stdout + done.stderr


def test_nothing_is_applied_unreviewed(kept: Path) -> None:
    done = review(kept, "all,review", refresh_apply=True, common_root=str(kept.parent))
    assert done.returncode != 0 and NOTHING in done.stdout, done.stdout + done.stderr
    assert "TASK [localai.fleet.refresh : unfinished" in done.stdout and "PLAY [Proposal]" not in done.stdout


def test_a_proposal_of_another_lock_is_not_reviewed(kept: Path) -> None:
    kept.write_text(proposal_text(text(NEW), "an earlier lock\n"))
    done = review(kept)
    assert done.returncode != 0 and "The lock moved since the proposal was made" in " ".join((done.stdout + done.stderr).split())


def test_what_is_found_is_kept_and_stays_the_same(kept: Path) -> None:
    first = proposed(kept, ["m"])
    assert first.returncode == 0 and kept.read_text() == proposal_text(text(NEW), text(OLD)), first.stdout + first.stderr
    assert "changed=1" in first.stdout
    assert "changed=0" in proposed(kept, ["m"]).stdout


def test_a_proposal_that_nothing_newer_is_behind_goes(kept: Path) -> None:
    kept.write_text(proposal_text(text(NEW), text(OLD)))
    gone = proposed(kept, [])
    assert gone.returncode == 0 and not kept.exists(), gone.stdout + gone.stderr
    again = proposed(kept, [])
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout + again.stderr


@pytest.mark.parametrize(("said", "names"), [("m, n,", ["m", "n"]), ("", []), ([], []), (["m"], ["m"])])
def test_models_may_be_named_in_one_text(tmp_path: Path, said: Any, names: list[str]) -> None:
    book = tmp_path / "book.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars_files": [VARIABLES], "tasks": [
        {"name": "Tell", "ansible.builtin.debug": {"msg": "read {{ __refresh_models | join('+') or 'none' }} of {{ __refresh_models | type_debug }}"}}]}]))
    done = played(tmp_path, book, refresh_models=said)
    assert f"msg: read {'+'.join(names) or 'none'} of list" in done.stdout, done.stdout + done.stderr
