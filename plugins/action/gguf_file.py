# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module gguf_file in the background of the host and prints how far the download is.

Most runs find the blob in place: they cost one module call, in check mode. Only when something is to be done does the
module run again for real, asynchronously. Its progress is read from one stable file beside the unfinished
blob, so a run that waits for another one, whose controller may have died, shows how far that one is.

A file of the controller (`src`) goes over Ansible's own connection in pieces, each of which the module adds to what is there.
"""
from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.localai.fleet.plugins.module_utils._pace import Pacer, parse_rate

POLL = 1.0
TIME_LIMIT = 48 * 3600
LOST_LIMIT = 10
SILENCE = 60.0
LINE_EVERY = 5.0
LINE_EVERY_LONG = 60.0
STEP = 10.0
PIECE, BLOCK = 1 << 25, 1 << 20
QUIET = ("connecting", "failed")
MARK = "--8<-- job"
JOB_KEYS = ("ansible_job_id", "results_file", "started", "finished")


@dataclass(frozen=True)
class Line:
    """When a line was printed, in monotonic seconds, and at how many percent and in which phase."""

    at: float = -LINE_EVERY
    percent: float = 0.0
    phase: str = ""


def is_due(now: float, percent: float, phase: str, eta: float | None, last: Line) -> bool:
    """Whether to print: on a step of ten percent, on a new phase, or after a while that grows with what is left.

    Every line is an event that a database may keep, so a download of hours gets some dozens of them.
    """
    if now - last.at < 1.0:
        return False
    if percent - last.percent >= STEP or phase != last.phase:
        return True
    pause = min(LINE_EVERY_LONG, max(LINE_EVERY, (eta or 0.0) / 20))
    return percent != last.percent and now - last.at >= pause


def line(host: str, progress: dict[str, Any]) -> str:
    """One whole line about a progress, as in `ai1: gemma-3-270m 43 % of 0.24 GiB, 21.0 MiB/s, ETA 7 s`."""
    share = f"{host}: {progress['name']} {percent_of(progress):.0f} % of {progress['total'] / (1 << 30):.2f} GiB"
    if progress["phase"] == "retrying":
        return f"{share}, trying again: {progress['message']}"
    if progress["phase"] == "waiting":
        return f"{share}, waiting for {progress['message']}"
    if progress["phase"] != "fetching":
        return f"{share}, {progress['phase']}"
    eta = "" if progress["eta"] is None else f", ETA {duration(progress['eta'])}"
    giver = f", {progress['message']}" if progress["message"] else ""
    return f"{share}, {progress['rate'] / (1 << 20):.1f} MiB/s{eta}{giver}"


def percent_of(progress: dict[str, Any]) -> float:
    """How far, in percent."""
    return 100.0 * progress["bytes"] / max(progress["total"], 1)


def duration(seconds: float) -> str:
    """Seconds for people."""
    whole = int(seconds + 0.5)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def ended(host: str, path: str, got: str) -> str:
    """The sentence about a process that was killed."""
    return f"The download ended on {host} without a result ({path}): got {got}. What was fetched is kept. Run again to resume."


def parse(text: str) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_finished(job: dict[str, Any]) -> bool:
    """Whether the text of a job's file is the module's result: until then it says that the job is started only."""
    return bool(job) and ("started" not in job or bool(job.get("finished")))


def piece_size(rate: float) -> int:
    """Bytes to send at once: 32 MiB, or what a second may carry, so that the flow is even."""
    return int(max(BLOCK // 4, min(PIECE, rate or PIECE)))


def sent(name: str, have: int, size: int, began: tuple[float, int], now: float) -> dict[str, Any]:
    """The progress of a file that the controller sends since `began` (monotonic seconds, bytes), as the module tells its own."""
    passed, gained = now - began[0], have - began[1]
    rate = gained / passed if passed > 0 else 0.0
    return {"phase": "fetching", "name": name, "bytes": have, "total": size, "rate": rate, "eta": (size - have) / rate if rate else None,
            "message": "from the controller"}


class ActionModule(ActionBase):
    """See the module's documentation."""

    _supports_async = False
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Predict; when a download is ahead, do it in the background and watch."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        args = dict(self._task.args)
        predicted = self._predict(args, task_vars)
        if self._task.check_mode or predicted.get("failed") or not predicted.get("changed"):
            return {**result, **predicted}
        if not predicted.get("bytes_fetched"):
            return {**result, **self._execute_module(module_args=args, task_vars=task_vars)}
        if args.get("src"):
            return {**result, **self._send(args, predicted, task_vars)}
        return {**result, **self._fetch(args, predicted["path"], task_vars)}

    def _send(self, args: dict[str, Any], predicted: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Send what the host lacks, piece by piece: an interrupted run goes on after the last piece."""
        path, size, have = os.path.expanduser(str(args["src"])), int(args["size"]), int(predicted["resumed_from"])
        if not os.path.isfile(path) or os.path.getsize(path) != size:
            raise AnsibleActionFail(f"The controller does not have the file ({path}): got {'another size' if os.path.isfile(path) else 'nothing'}. "
                                    "Fetch it there first.")
        rate = parse_rate(args.get("bandwidth_limit") or "")
        pacer, last, began, done, first = Pacer(rate), Line(), (time.monotonic(), have), {}, have
        while not done or have < size:
            done = self._send_piece(args, path, have, piece_size(rate), task_vars)
            if done.get("failed"):
                return done
            if done["bytes_present"] == have < size:
                raise AnsibleActionFail(f"The file on the controller ended while it was sent ({path}): got {have} of {size} bytes. Fetch it there again.")
            pacer.take(max(0, done["bytes_present"] - have))
            have = done["bytes_present"]
            name = str(args.get("name") or args["sha256"][:12])
            last = self._tell(task_vars["inventory_hostname"], sent(name, have, size, began, time.monotonic()), last, time.monotonic())
        return {**done, "bytes_fetched": size - first, "resumed_from": first, "sources": {"controller": size - first}}

    def _send_piece(self, args: dict[str, Any], path: str, offset: int, length: int, task_vars: dict[str, Any]) -> dict[str, Any]:
        """`length` bytes from `offset` on, as a file on the host that the module adds to its own."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "piece")
        with tempfile.NamedTemporaryFile(prefix="piece-") as local:
            with open(path, "rb") as source:
                source.seek(offset)
                while local.tell() < length and local.write(source.read(min(BLOCK, length - local.tell()))):
                    pass
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return self._execute_module(module_args={**args, "piece": remote, "offset": offset}, task_vars=task_vars)

    def _predict(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked = self._task.check_mode
        self._task.check_mode = True
        try:
            return self._execute_module(module_args=args, task_vars=task_vars)
        finally:
            self._task.check_mode = asked

    def _fetch(self, args: dict[str, Any], path: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        job = self._start(args, task_vars)
        if not job.get("ansible_job_id"):
            return job
        status = {"jid": job["ansible_job_id"], "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async")}
        try:
            self._watch(job["results_file"], path, task_vars["inventory_hostname"])
            result = self._status({**status, "mode": "status"}, task_vars)
        finally:
            self._status({**status, "mode": "cleanup"}, task_vars)
        if result.get("failed") and "failure" not in result:
            return {"failed": True, "msg": ended(task_vars["inventory_hostname"], path, str(result.get("msg", "no message")))}
        return {key: value for key, value in result.items() if key not in JOB_KEYS}

    def _start(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked = self._task.async_val
        self._task.async_val = TIME_LIMIT
        try:
            return self._execute_module(module_args=args, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = asked

    def _status(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked = self._task.check_mode
        self._task.check_mode = False
        try:
            return self._execute_module("ansible.legacy.async_status", args, task_vars=task_vars)
        finally:
            self._task.check_mode = asked

    def _watch(self, results_file: str, path: str, host: str) -> None:
        """Poll until the job ends, printing now and then. AnsibleActionFail when the process on the host is gone."""
        folder, _slash, name = path.rpartition("/")
        progress_file = f"{folder}/.partial/{name[:-len('.gguf')]}.progress.json"
        command = f"cat {shlex.quote(progress_file)} 2>/dev/null; printf '\\n%s\\n' '{MARK}'; cat {shlex.quote(results_file)}"
        last, heard, seen = Line(), time.monotonic(), ""
        while True:
            time.sleep(POLL)
            text, _mark, job = self._ask(command).partition(MARK)
            if is_finished(parse(job)):
                return
            now, progress = time.monotonic(), parse(text)
            if text != seen:
                heard, seen = now, text
            elif now - heard > SILENCE:
                self._check_alive(progress, path, host)
                heard = now
            last = self._tell(host, progress, last, now)

    def _tell(self, host: str, progress: dict[str, Any], last: Line, now: float) -> Line:
        if progress.get("phase", "connecting") in QUIET or not is_due(now, percent_of(progress), progress["phase"], progress["eta"], last):
            return last
        Display().display(line(host, progress))
        return Line(now, percent_of(progress), progress["phase"])

    def _ask(self, command: str) -> str:
        """The command's output; a connection that is lost for a moment does not end a download of hours."""
        for attempt in range(LOST_LIMIT):
            try:
                return str(self._low_level_execute_command(command).get("stdout", ""))
            except AnsibleConnectionFailure:
                if attempt == LOST_LIMIT - 1:
                    raise
                time.sleep(POLL * (attempt + 1))
        return ""

    def _check_alive(self, progress: dict[str, Any], path: str, host: str) -> None:
        """Silence is fine while the process that fetches is there: it may wait for a server that asked it to."""
        if progress and "alive" in self._ask(f"kill -0 {int(progress['pid'])} && echo alive"):
            return
        raise AnsibleActionFail(ended(host, path, "silence, and no such process"))
