# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Reads files of a Git repository's branch and commits new ones, without a work tree: objects are fetched, made and pushed.

So no filter, hook or link of the repository takes part, and nothing lasts on the machine. Secrets reach git through files that only
this user can read, never through arguments.
"""
from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from typing import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from ._errors import FleetError

_URL = re.compile(r"(?:https?|ssh|file)://[^\s]+|[\w.-]+@[\w.-]+:[^\s]+|/[^\s]*")
_BRANCH = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9._/+-]*(?<![./])")
_HEAD = "refs/heads/kept"
RECENT = 100
"""Commits that are fetched where the text before the last change is asked for."""
# stderr of git and ssh in the C locale → what it means. The first that is found wins.
_MEANINGS = (
    (r"Host key verification failed|No \w+ host key is known", "The host key of the Git server is not known", "Give known_hosts, a file with its key."),
    (r"Permission denied|Authentication failed|could not read (?:Username|Password)|error: 40[13]|Access denied|not allowed to",
     "The Git server refuses access", "Check the token or the SSH key, and its right to read and to push."),
    (r"[Rr]epository .*not found|does not appear to be a git repository|error: 404|does not exist", "The Git repository does not exist, or may not be seen",
     "Check its URL, and the right of the token or the key."),
    (r"certificate|SSL", "The certificate of the Git server is not trusted", "Give its authority as ca."),
    (r"[Cc]ould not resolve|[Cc]onnection (?:refused|timed out|reset|closed)|Failed to connect|No route to host|unable to access|unreachable",
     "The Git server cannot be reached", "Check the URL and the network."),
)
_RACES = re.compile(r"\[rejected\]|\(fetch first\)|non-fast-forward|cannot lock ref|failed to update ref|incorrect old value")
_ADVICE = ("Please make sure you have the correct access rights", "and the repository exists.")
"""What git says last over SSH, whatever was wrong."""
_LONGEST_SUBJECT = 72
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Remote:
    """A branch of a repository and how it is reached; `folder` is where the files are in it. `timeout` seconds a command.

    `ssh_key`, `known_hosts` and `ca` are files. Without `ssh_key` the user's own keys are used.
    """

    url: str
    branch: str = "main"
    folder: str = ""
    token: str = field(default="", repr=False)
    ssh_key: str | None = None
    known_hosts: str | None = None
    ca: str | None = None
    timeout: float = 60.0

    @property
    def shown(self) -> str:
        """The place for people."""
        return f"{self.url}, branch {self.branch}" + (f", folder {self.folder}" if self.folder else "")

    def path(self, name: str) -> str:
        """A file's path in the repository."""
        return f"{self.folder}/{name}" if self.folder else name


@dataclass(frozen=True)
class Author:
    """Who commits."""

    name: str
    email: str


def check_remote(remote: Remote) -> None:
    """FleetError for a URL that git would take for something else or that holds a secret, and for unusable names."""
    if not remote.url:
        raise FleetError("No Git repository is named", "url", do="Give its URL.")
    if not _URL.fullmatch(remote.url) or not _splits(remote.url):
        raise FleetError("The URL of the Git repository has no known form", "url", _without_secret(remote.url),
                         "The forms that work are https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH and file:///PATH.")
    if password_of(remote.url):
        raise FleetError("The URL of the Git repository holds a password, which would show in output", "url", _without_secret(remote.url),
                         "Leave it out, and give it as token.")
    if not _BRANCH.fullmatch(remote.branch):
        raise FleetError("The branch has no usable name", "branch", repr(remote.branch), "An example is main.")
    if remote.folder and any(step in ("", ".", "..", ".git") for step in remote.folder.split("/")):
        raise FleetError("The folder is not one inside the repository", "path", repr(remote.folder), "Name it from the root, without a slash at its ends.")


def password_of(url: str) -> str:
    """The password in a URL; empty without one."""
    found = re.match(r"\w+://[^/@:]*:([^/@]*)@", url)
    return found[1] if found else ""


def message(changes: Sequence[str], names: Iterable[str]) -> str:
    """The text of a commit: what changes as the subject, then a line for each change."""
    told = [change.partition(":")[0] for change in changes]
    subject = f"Change {', '.join(told or sorted(names))}"
    if len(subject) > _LONGEST_SUBJECT:
        subject = f"Change {', '.join(sorted(names))}: {len(told)} entries"
    return "\n".join([subject, *([""] if changes else []), *(f"- {change}" for change in changes)]) + "\n"


class Repository:
    """A branch of a remote repository as it was fetched into `scratch`, an empty folder that only this user can read."""

    def __init__(self, remote: Remote, scratch: str, history: bool = False) -> None:
        """Fetch the branch, and its recent history when that is asked for. FleetError says why it could not be had.

        A repository without any branch counts as one whose branch is empty.
        """
        check_remote(remote)
        self.remote, self._scratch = remote, scratch
        self._git_dir = os.path.join(scratch, "kept.git")
        self._options = ["-c", "credential.helper=", "-c", "gc.auto=0", *self._credential()]
        self._environment = _environment(remote)
        self._run("init", "--quiet", "--bare", "--template=", self._git_dir, bare=True)
        self.empty = not self._fetch(f"--depth={RECENT if history else 1}")

    def read(self, names: Iterable[str], commit: str = _HEAD) -> dict[str, str]:
        """The texts of those files that are in the branch, or in one of its commits. FleetError for what is no plain file of text."""
        found = {}
        for name in [] if self.empty else names:
            text = self._text(name, commit)
            if text is not None:
                found[name] = text
        return found

    def before_last(self, names: Iterable[str]) -> dict[str, str]:
        """The text of each file before the last commit that changed it, where there was one. The whole history is fetched only where that is long ago."""
        found = {}
        for name in [] if self.empty else names:
            commits = self._changes_of(name)
            if len(commits) < 2 and self._run("rev-parse", "--is-shallow-repository").strip() == "true":
                self._fetch("--unshallow")
                commits = self._changes_of(name)
            found.update(self.read([name], commits[1]) if len(commits) > 1 else {})
        return found

    def _changes_of(self, name: str) -> list[str]:
        """The last two commits of a file. The oldest commit that was fetched counts as one: it has the text from before the one after it."""
        return self._run("log", "--format=%H", "-n2", _HEAD, "--", self.remote.path(name)).split()

    def commit(self, files: Mapping[str, str | None], author: Author, text: str) -> str:
        """Commit files on top of the branch, those that are None as removed, and push; returns the commit.

        FleetError when someone else pushed in between or the server refuses; nothing is changed then.
        """
        if not self.empty:
            self._run("read-tree", _HEAD)
        entries = "".join(f"{self._entry(content)}\t{self.remote.path(name)}\0" for name, content in files.items())
        self._run("update-index", "-z", "--index-info", given=entries)
        tree = self._run("write-tree").strip()
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", author.name), ("EMAIL", author.email))}
        made = self._run("commit-tree", tree, *([] if self.empty else ["-p", _HEAD]), given=text, more=who).strip()
        self._push(made)
        return made

    # git

    def _fetch(self, depth: str) -> bool:
        wanted = f"refs/heads/{self.remote.branch}:{_HEAD}"
        code, _out, said = self._call(["fetch", "--quiet", "--no-tags", depth, "--", self.remote.url, wanted])
        if code == 0:
            return True
        if "couldn't find remote ref" not in said:
            raise self._explained(said)
        heads = self._run("ls-remote", "--heads", "--", self.remote.url)
        if heads.strip():
            there = sorted(line.rpartition("refs/heads/")[2] for line in heads.splitlines())
            raise FleetError("The Git repository has no such branch", self.remote.url, self.remote.branch, f"Its branches are {', '.join(there[:12])}.")
        return False

    def _text(self, name: str, commit: str) -> str | None:
        path = self.remote.path(name)
        entry = self._run("ls-tree", "-z", commit, "--", path)
        if not entry:
            return None
        mode, _kind, blob = entry.partition("\t")[0].split()
        if not mode.startswith("100"):
            raise FleetError("The path in the Git repository is no plain file", f"{self.remote.shown}, {name}", f"mode {mode}", "Choose another path.")
        return self._run("cat-file", "blob", blob)

    def _entry(self, content: str | None) -> str:
        """Mode and object of a file in the index; mode 0 takes it out."""
        if content is None:
            return f"0 {'0' * 40}"
        return f"100644 {self._run('hash-object', '-w', '--no-filters', '--stdin', given=content).strip()}"

    def _push(self, commit: str) -> None:
        code, out, said = self._call(["push", "--porcelain", "--", self.remote.url, f"{commit}:refs/heads/{self.remote.branch}"])
        if code == 0:
            return
        told = f"{out}\n{said}"
        refused = re.search(r"\[remote rejected\] \((.*)\)", told)
        if _RACES.search(told):
            raise FleetError("Someone else pushed to the branch at the same time, so nothing was changed", self.remote.shown,
                             do="Run again: it starts from what is there now.")
        if refused:
            words = [line.partition("remote:")[2].strip() for line in said.splitlines() if line.startswith("remote:")]
            raise FleetError("The Git server refuses the commit", self.remote.shown, self._clean(" ".join([refused[1], *filter(None, words)])),
                             "Allow this user to push to the branch, or choose a branch that it may push to.")
        raise self._explained(said)

    def _run(self, *arguments: str, given: str | None = None, more: Mapping[str, str] | None = None, bare: bool = False) -> str:
        code, out, said = self._call(arguments, given, more, bare)
        if code:
            raise self._explained(said)
        return out

    def _call(
        self, arguments: Sequence[str], given: str | None = None, more: Mapping[str, str] | None = None, bare: bool = False,
    ) -> tuple[int, str, str]:
        command = ["git", *([] if bare else ["--git-dir", self._git_dir]), *self._options, *arguments]
        try:
            code, out, said = _ended(command, (given or "").encode(), self.remote.timeout, {**self._environment, **(more or {})}, self._scratch)
            return code, out.decode(), said.decode("utf-8", "replace")
        except FileNotFoundError as error:
            raise FleetError("git is missing", "the controller", do="Install it, or keep the lock elsewhere.") from error
        except subprocess.TimeoutExpired as error:
            raise FleetError("The Git server does not answer", self.remote.shown, f"nothing within {self.remote.timeout:g} seconds",
                             "Check the URL and the network, or give it more time.") from error
        except UnicodeDecodeError as error:
            raise FleetError("The file in the Git repository is not text", self.remote.shown, str(error.reason), "Take its last good version.") from error

    # secrets and errors

    def _credential(self) -> list[str]:
        """A helper that prints the token from a file; it needs no program of its own, so the folder may forbid to run any.

        It is asked for the URL's own server only: a redirect may lead to one that has no right to the token.
        """
        if not self.remote.token:
            return []
        path = os.path.join(self._scratch, "credential")
        parts = urlsplit(self.remote.url)
        user = parts.username or "git"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(f"username={user}\npassword={self.remote.token}\n")
        return ["-c", f"credential.{parts.scheme}://{parts.netloc.rpartition('@')[2]}.helper=!cat {shlex.quote(path)} #"]

    def _explained(self, said: str) -> FleetError:
        lines = [line for line in map(str.strip, self._clean(said).splitlines()) if line and line not in _ADVICE]
        for pattern, what, do in _MEANINGS:
            telling = next((line for line in lines if re.search(pattern, line)), None)
            if telling:
                return FleetError(what, self.remote.shown, telling, do)
        return FleetError("git failed", self.remote.shown, " ".join(lines)[:_LONGEST_REASON] or "no reason given", "Try the same with git by hand.")

    def _clean(self, text: str) -> str:
        return text.replace(self.remote.token, "***") if self.remote.token else text


def _ended(command: Sequence[str], given: bytes, timeout: float, environment: Mapping[str, str], folder: str) -> tuple[int, bytes, bytes]:
    """Exit code and output of a command. When its time is over, ssh and the helpers that git started end with it."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=folder,
                          start_new_session=True) as process:
        try:
            out, said = process.communicate(given, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, said


def _environment(remote: Remote) -> dict[str, str]:
    """This process's environment without what would lead git elsewhere, and never a question at a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ssh = ["ssh", "-o", "BatchMode=yes", *(["-i", remote.ssh_key, "-o", "IdentitiesOnly=yes"] if remote.ssh_key else []),
           *(["-o", f"UserKnownHostsFile={remote.known_hosts}", "-o", "StrictHostKeyChecking=yes"] if remote.known_hosts else [])]
    found = {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:http:https:ssh", "GIT_SSH_COMMAND": shlex.join(ssh)}
    return {**found, "GIT_SSL_CAINFO": remote.ca} if remote.ca else found


def _splits(url: str) -> bool:
    try:
        return bool(urlsplit(url))
    except ValueError:
        return False


def _without_secret(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
