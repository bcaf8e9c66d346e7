"""git_files over SSH: a real sshd, real keys, a real bare repository."""
from __future__ import annotations

from typing import Any, Iterator

import pytest
import ssh_server
from git_server import BareRepository


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.SshServer]:
    with ssh_server.running(tmp_path_factory.mktemp("ssh")) as found:
        yield found


@pytest.fixture
def args(server: ssh_server.SshServer, repository: BareRepository) -> dict[str, Any]:
    return {"url": server.url(repository.folder), "path": "inv", "names": ["fleet.lock.yml"], "previous": ["fleet.lock.yml"],
            "ssh_key": server.key(), "known_hosts": server.known_hosts()}


def test_read_commit_and_push(run_module, args, repository) -> None:
    read = run_module("git_files", args)
    assert read["files"] == {"fleet.lock.yml": "one\n"}, read
    change = {**args, "files": {"fleet.lock.yml": "two\n"}, "revision": read["revision"]}
    assert run_module("git_files", change, check=True)["changed"] and repository.count() == 1
    done = run_module("git_files", change)
    assert done["changed"] and done["commit"] == repository.git("rev-parse", "main").strip() and repository.text("inv/fleet.lock.yml") == "two\n"
    again = run_module("git_files", {**change, "revision": done["revision"]})
    assert (again["changed"], again["previous"], repository.count()) == (False, {"fleet.lock.yml": "one\n"}, 2)


def test_a_push_that_comes_second_changes_nothing(run_module, args, repository, someone_faster) -> None:
    result = run_module("git_files", {**args, "files": {"fleet.lock.yml": "mine\n"}})
    assert "Someone else pushed to the branch at the same time, so nothing was changed" in result["msg"]
    assert repository.text("inv/fleet.lock.yml") == "one\n" and repository.count() == 2


def test_a_server_that_hides_behind_the_address_is_refused(run_module, args, server) -> None:
    """Another key than the known one, and no known one at all."""
    for known, got in ((server.known_hosts("stranger"), "Host key verification failed"), ("/dev/null", "No ED25519 host key is known for")):
        result = run_module("git_files", {**args, "known_hosts": known})
        assert "The host key of the Git server is not known" in result["msg"] and got in result["failure"]["got"], result


def test_who_may_not_and_what_is_not_there(run_module, args, server, repository) -> None:
    refused = run_module("git_files", {**args, "ssh_key": server.key("stranger")})
    assert "The Git server refuses access" in refused["msg"] and "Permission denied (publickey)" in refused["failure"]["got"], refused
    absent = run_module("git_files", {**args, "url": server.url(repository.folder.with_name("other.git"))})
    assert "does not exist" in absent["msg"] and "does not appear to be a git repository" in absent["failure"]["got"], absent
