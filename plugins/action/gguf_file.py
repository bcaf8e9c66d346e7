# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module gguf_file in the background of the host and prints how far the download is.

Most runs find the blob in place: they cost one module call, in check mode. Only when something is to be done does the
module run again for real, asynchronously. Its progress is read from one stable file beside the unfinished
blob, so a run that waits for another one, whose controller may have died, shows how far that one is.
"""
from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL = 1.0
TIME_LIMIT = 48 * 3600
LOST_LIMIT = 10
SILENCE = 60.0
LINE_EVERY = 5.0
LINE_EVERY_LONG = 60.0
STEP = 10.0
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
    if progress["phase"] != "fetching":
        return f"{share}, {progress['phase']}"
    eta = "" if progress["eta"] is None else f", ETA {duration(progress['eta'])}"
    return f"{share}, {progress['rate'] / (1 << 20):.1f} MiB/s{eta}"


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
        return {**result, **self._fetch(args, predicted["path"], task_vars)}

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
        if progress.get("phase", "connecting") == "connecting" or not is_due(now, percent_of(progress), progress["phase"], progress["eta"], last):
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
