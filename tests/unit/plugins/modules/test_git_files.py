"""git_files against a real bare repository."""
from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _git
from git_server import BareRepository, serving

NAMES = ["fleet.lock.yml", "models.yml"]
LINES = ["model tiny: added, acme/Tiny-GGUF@aaaaaaaaaaaa Q4_K_M", "image nginx: added"]


@pytest.fixture
def args(repository: BareRepository) -> dict[str, Any]:
    return {"url": repository.url, "path": "inv", "names": NAMES}


def test_quartet(run_module, args, repository) -> None:
    read = run_module("git_files", args)
    assert not read["changed"] and read["files"] == {"fleet.lock.yml": "one\n"}
    change = {**args, "files": {"fleet.lock.yml": "two\n"}, "revision": read["revision"], "changes": LINES}
    predicted = run_module("git_files", change, check=True)
    assert predicted["changed"] and predicted["commit"] == "" and repository.count() == 1
    real = run_module("git_files", change)
    assert {**real, "commit": ""} == predicted and repository.count() == 2 and repository.text("inv/fleet.lock.yml") == "two\n"
    assert repository.text("README.md") == "hello\n" and repository.git("rev-parse", "main").strip() == real["commit"]
    for check in (True, False):
        again = run_module("git_files", change, check=check)
        assert not again["changed"] and again["revision"] == real["revision"] and repository.count() == 2


def test_the_commit_says_what_it_changes_and_who_made_it(run_module, args, repository) -> None:
    given = {**args, "files": {"fleet.lock.yml": "two\n"}, "changes": LINES, "author_name": "Ann", "author_email": "ann@example.com"}
    result = run_module("git_files", given)
    assert repository.git("log", "-1", "--format=%an <%ae> %cn%n%B", "main") == (
        f"Ann <ann@example.com> Ann\nChange model tiny, image nginx\n\n- {LINES[0]}\n- {LINES[1]}\n\n")
    assert result["diff"]["prepared"].splitlines() == [f"{repository.url}, branch main, folder inv:", *(f"  {line}" for line in LINES)]


def test_diff_mode_shows_texts_without_lines(run_module, args) -> None:
    result = run_module("git_files", {**args, "files": {"models.yml": "a: 1\n", "fleet.lock.yml": "one\n"}})
    assert [(each["before"], each["after"]) for each in result["diff"]] == [("", "a: 1\n")] and result["written"] == ["models.yml"]


def test_a_file_that_someone_else_changed_is_not_overwritten(run_module, args, repository) -> None:
    read = run_module("git_files", args)
    repository.push({"inv/fleet.lock.yml": "theirs\n"})
    result = run_module("git_files", {**args, "files": {"fleet.lock.yml": "mine\n"}, "revision": read["revision"]})
    assert result["failed"] and "changed by someone else since it was read, so nothing was written" in result["msg"] and "Run again" in result["msg"]
    assert repository.text("inv/fleet.lock.yml") == "theirs\n" and repository.count() == 2


def test_a_commit_of_other_files_does_not_matter(run_module, args, repository) -> None:
    read = run_module("git_files", args)
    repository.push({"README.md": "hello again\n"})
    assert run_module("git_files", {**args, "files": {"fleet.lock.yml": "mine\n"}, "revision": read["revision"]})["changed"]
    assert repository.text("README.md") == "hello again\n" and repository.text("inv/fleet.lock.yml") == "mine\n" and repository.count() == 3


def test_a_lost_race_changes_nothing(run_module, args, repository, someone_faster) -> None:
    result = run_module("git_files", {**args, "files": {"fleet.lock.yml": "mine\n"}})
    assert result["failed"] and "Someone else pushed to the branch at the same time, so nothing was changed" in result["msg"]
    assert repository.text("inv/fleet.lock.yml") == "one\n" and repository.count() == 2


def test_a_refused_push_says_what_the_server_says(run_module, args, repository) -> None:
    hook = repository.folder / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho main is protected: open a merge request >&2\nexit 1\n")
    hook.chmod(0o755)
    result = run_module("git_files", {**args, "files": {"fleet.lock.yml": "mine\n"}})
    assert "The Git server refuses the commit" in result["msg"] and "main is protected: open a merge request" in result["msg"]
    assert repository.count() == 1


def test_the_text_before_the_last_change(run_module, args, repository) -> None:
    repository.push({"inv/fleet.lock.yml": "two\n"})
    repository.push({"README.md": "other\n"})
    read = run_module("git_files", {**args, "previous": ["fleet.lock.yml", "models.yml"]})
    assert read["files"] == {"fleet.lock.yml": "two\n"} and read["previous"] == {"fleet.lock.yml": "one\n"}
    put = run_module("git_files", {**args, "previous": ["fleet.lock.yml"], "files": {"fleet.lock.yml": "three\n"}})
    assert put["previous"] == {"fleet.lock.yml": "two\n"}
    assert run_module("git_files", {**args, "previous": ["fleet.lock.yml"]})["previous"] == {"fleet.lock.yml": "two\n"}


@pytest.mark.parametrize("later", [0, 2, 3, 6])
def test_the_text_before_a_change_long_ago(run_module, args, repository, monkeypatch, later) -> None:
    monkeypatch.setattr(_git, "RECENT", 3)
    for text in ("two", "three"):
        repository.push({"inv/fleet.lock.yml": f"{text}\n"})
    for number in range(later):
        repository.push({"README.md": f"{number}\n"})
    assert run_module("git_files", {**args, "previous": NAMES})["previous"] == {"fleet.lock.yml": "two\n"}


def test_a_file_is_taken_away(run_module, args, repository) -> None:
    result = run_module("git_files", {**args, "files": {"fleet.lock.yml": None, "models.yml": "m\n"}})
    assert result["changed"] and result["files"] == {"models.yml": "m\n"} and result["written"] == ["fleet.lock.yml", "models.yml"]
    assert repository.git("ls-tree", "-r", "--name-only", "main").split() == ["README.md", "inv/models.yml"]
    assert not run_module("git_files", {**args, "files": {"fleet.lock.yml": None}})["changed"] and repository.count() == 2


def test_a_repository_without_a_branch_gets_its_first_commit(run_module, tmp_path) -> None:
    empty = BareRepository(tmp_path / "empty.git")
    given = {"url": empty.url, "names": NAMES, "previous": NAMES}
    read = run_module("git_files", given)
    assert read["files"] == {} and read["previous"] == {} and not read["changed"]
    result = run_module("git_files", {**given, "files": {"fleet.lock.yml": "one\n", "models.yml": "m\n"}, "revision": read["revision"]})
    assert result["changed"] and empty.count() == 1 and empty.text("models.yml") == "m\n"
    assert empty.git("log", "--format=%s", "main") == "Change fleet.lock.yml, models.yml\n"


@pytest.mark.parametrize("change, words", [
    ({"branch": "trunk"}, ("no such branch", "trunk", "Its branches are main")),
    ({"branch": "-x"}, ("no usable name", "-x")),
    ({"url": "file:///nonexistent/fleet.git"}, ("does not exist, or may not be seen", "/nonexistent/fleet.git")),
    ({"url": "ext::sh -c id"}, ("no known form", "ssh://USER@HOST/PATH")),
    ({"url": "https://ann:pa55word@git.example.com/x.git"}, ("holds a password", "https://git.example.com/x.git", "as token")),
    ({"url": "https://127.0.0.1:1/x.git"}, ("cannot be reached", "127.0.0.1")),
    ({"path": "../x"}, ("not one inside the repository", "x")), ({"path": "/inv"}, ("not one inside",)), ({"path": ".git"}, ("not one inside",)),
    ({"names": ["inv/x"]}, ("not the name of a file", "inv/x")), ({"files": {"other.yml": ""}}, ("not looked at", "other.yml")),
    ({"files": {"models.yml": {"a": 1}}}, ("content is not text", "models.yml")),
    ({"path": "", "names": ["inv"]}, ("no plain file", "mode 040000")),
])
def test_bad_input_is_a_sentence(run_module, args, repository, change, words) -> None:
    result = run_module("git_files", {**args, "token": "hidden-word", **change})
    assert result["failed"] and repository.count() == 1 and "hidden-word" not in str(result) and "pa55word" not in str(result)
    for word in words:
        assert word in result["msg"]


def test_a_missing_git_is_told(run_module, args, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is missing" in run_module("git_files", args)["msg"]


def test_nothing_stays_behind_and_no_secret_is_an_argument(run_module, args, tmp_path, monkeypatch) -> None:
    """A git that notes its arguments, its environment and the permissions of the file that holds the token."""
    log, folder = tmp_path / "log", tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(
        f'#!/bin/sh\necho "$*" >> {log}\nenv >> {log}\nstat -c "%a %n" "$PWD/credential" >> {log}\ngrep -c hidden-word "$PWD/credential" >> {log}\n'
        f'exec /usr/bin/git "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    result = run_module("git_files", {**args, "token": "hidden-word", "files": {"fleet.lock.yml": "two\n"}})
    told = log.read_text()
    assert result["changed"] and "hidden-word" not in told and "hidden-word" not in str(result)
    held = [line for line in told.splitlines() if line.endswith("/credential") and line[:3].isdigit()]
    assert held and all(line.startswith("600 ") for line in held) and "\n1\n" in told
    assert not Path(held[0].split()[1]).parent.exists()


def test_a_token_opens_the_server(run_module, args, repository) -> None:
    with serving(repository, "ann", "hidden-word") as address:
        given = {**args, "url": f"http://ann@{address}/fleet.git", "files": {"fleet.lock.yml": "two\n"}}
        assert run_module("git_files", {**given, "token": "hidden-word"})["changed"] and repository.text("inv/fleet.lock.yml") == "two\n"
        for wrong in ({}, {"token": "another-word"}):
            refused = run_module("git_files", {**given, **wrong})
            assert "The Git server refuses access" in refused["msg"] and "token" in refused["msg"] and "another-word" not in str(refused)


def test_a_token_stays_with_its_server(run_module, args, repository) -> None:
    """A server that sends on to another one, which would take the token; and one that corrects the path only."""
    with serving(repository, "git", "hidden-word") as other:
        given = {**args, "token": "hidden-word", "files": {"fleet.lock.yml": "two\n"}}
        with serving(repository, "git", "hidden-word", moved_to=f"http://{other}/fleet.git") as address:
            assert "refuses access" in run_module("git_files", {**given, "url": f"http://{address}/fleet.git"})["msg"]
        with serving(repository, "git", "hidden-word", moved_to="/fleet.git") as address:
            assert run_module("git_files", {**given, "url": f"http://{address}/fleet"})["changed"]


def test_a_server_that_is_silent_leaves_no_process(run_module, args, repository, tmp_path, monkeypatch) -> None:
    folder, told = tmp_path / "bin", tmp_path / "pid"
    folder.mkdir()
    (folder / "ssh").write_text(f"#!/bin/sh\necho $$ > {told}\nexec sleep 60\n")
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    result = run_module("git_files", {**args, "url": f"bot@git.example.com:{repository.folder}", "timeout": 1})
    assert "The Git server does not answer" in result["msg"]
    end = time.monotonic() + 5
    while runs(told.read_text().strip()):
        assert time.monotonic() < end, "ssh still runs"
        time.sleep(0.02)


def runs(pid: str) -> bool:
    """Whether a process is there; one that only waits to be forgotten is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
