"""What is said in commits and of failures of git. The commands themselves are proven with the module git_files."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _git
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

LONG = [f"model a-model-with-a-long-name-{number}: added" for number in range(3)]


@pytest.mark.parametrize("changes, text", [
    ([], "Change fleet.lock.yml\n"),
    (["model tiny: added, acme/Tiny"], "Change model tiny\n\n- model tiny: added, acme/Tiny\n"),
    (["image nginx: a -> b", "model tiny: removed"], "Change image nginx, model tiny\n\n- image nginx: a -> b\n- model tiny: removed\n"),
    (LONG, "Change fleet.lock.yml: 3 entries\n\n" + "".join(f"- {line}\n" for line in LONG)),
])
def test_the_message_of_a_commit(changes, text):
    assert _git.message(changes, ["fleet.lock.yml"]) == text


@pytest.mark.parametrize("url", [
    "https://h.example.com/a/b.git", "https://ann@h.example.com:8443/a", "ssh://git@h/x.git", "git@h.example.com:a/b.git", "file:///srv/x.git",
    "/srv/x.git", "http://h/x"])
@pytest.mark.parametrize("branch", ["main", "fleet/lock-1", "v1.2+x"])
def test_what_can_be_reached(url, branch):
    _git.check_remote(_git.Remote(url, branch, "inv/a"))


@pytest.mark.parametrize("change", [
    {"url": "--upload-pack=x"}, {"url": "ext::sh -c id"}, {"url": "fd::3"}, {"url": "https://u:p@h/x"}, {"url": "h/x"}, {"url": ""},
    {"url": "https://h/a b"}, {"url": "https://[/x"},
    {"branch": "-b"}, {"branch": "a..b"}, {"branch": "a b"}, {"branch": "a.lock"}, {"branch": "a/"}, {"branch": "x@{1}"}, {"branch": ""},
    {"folder": "/a"}, {"folder": "a/"}, {"folder": "a/../b"}, {"folder": "."}, {"folder": ".git"},
])
def test_what_cannot(change):
    with pytest.raises(FleetError) as error:
        _git.check_remote(_git.Remote(**{"url": "file:///srv/x.git", **change}))
    assert ":p@" not in str(error.value)


@pytest.mark.parametrize("said, words", [
    ("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.\nfatal: Could not read", "known_hosts"),
    ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "refuses access"),
    ("fatal: Authentication failed for 'https://h/x.git/'", "refuses access"),
    ("fatal: could not read Username for 'https://h': terminal prompts disabled", "refuses access"),
    ("fatal: unable to access 'https://h/x/': The requested URL returned error: 403", "refuses access"),
    ("remote: Repository not found.\nfatal: repository 'https://h/x/' not found", "does not exist"),
    ("fatal: '/srv/x.git' does not appear to be a git repository", "does not exist"),
    ("fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate", "not trusted"),
    ("ssh: Could not resolve hostname h: Name or service not known", "cannot be reached"),
    ("fatal: unable to access 'https://h/': Failed to connect to h port 443", "cannot be reached"),
    ("fatal: something odd with hidden-word in it", "git failed"),
    ("kex: Connection closed by remote host\nfatal: Could not read from remote repository.", "got kex: Connection closed by remote host"),
    ("odd\nfatal: no\n\nPlease make sure you have the correct access rights\nand the repository exists.", "got odd fatal: no"),
    ("", "no reason given"),
])
def test_what_git_says_in_words(tmp_path, said, words):
    repository = object.__new__(_git.Repository)
    repository.remote = _git.Remote("https://h/x.git", token="hidden-word")
    error = str(repository._explained(said))
    assert words in error and "hidden-word" not in error and "https://h/x.git, branch main" in error


def test_the_environment_leads_git_nowhere_else(monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    found = _git._environment(_git.Remote("ssh://git@h/x", ssh_key="/k e", known_hosts="/known", ca="/ca.pem"))
    assert "GIT_DIR" not in found and found["GIT_SSL_CAINFO"] == "/ca.pem" and found["GIT_TERMINAL_PROMPT"] == "0"
    assert found["GIT_SSH_COMMAND"] == (
        "ssh -o BatchMode=yes -i '/k e' -o IdentitiesOnly=yes -o UserKnownHostsFile=/known -o StrictHostKeyChecking=yes")
