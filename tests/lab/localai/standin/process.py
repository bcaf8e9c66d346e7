"""One engine process: started through the backend's run.sh, watched, stopped."""
from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Mapping, Optional, Sequence

from . import log
from .errors import RequestError, engine_error

READY_POLL = 0.05
LOAD_LIMIT = 3600.0  # seconds
HEALTH_TTL = 30.0  # seconds for which LocalAI believes the last good health check
STOP_WAIT = 30.0  # seconds that a busy process gets to finish
KILL_GRACE = 5.0


class EngineProcess:
    """A llama-server on 127.0.0.1. Its files are where LocalAI's process manager has them: pid, stdout, stderr, exitcode in $TMPDIR."""

    def __init__(self, model: str, script: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.model = model
        self.port = _free_port()
        self.last_used = time.monotonic()
        self.last_health = 0.0
        self.given_up = False  # stopped while it was busy: its clients get no end of their answers
        self._busy = 0
        self._busy_since = 0.0
        self._idle = threading.Condition()
        self._files = Path(tempfile.mkdtemp(prefix="go-processmanager"))
        self._stdout = (self._files / "stdout").open("ab")
        command = [str(script), "--addr", f"127.0.0.1:{self.port}", *arguments]
        log.debug("starting backend process", command=command)
        with (self._files / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._stdout, stderr=stderr, cwd="/", env=dict(environ))
        (self._files / "pid").write_text(str(self._process.pid))
        threading.Thread(target=self._reap, name=f"reap-{model}", daemon=True).start()

    def _reap(self) -> None:
        code = self._process.wait()
        try:
            (self._files / "exitcode").write_text(str(code if code >= 0 else 128 - code))
        except OSError as problem:
            log.warn("failed writing exitcode", error=str(problem))
        log.debug("backend process ended", model=self.model, code=code)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def busy(self) -> int:
        return self._busy

    @property
    def busy_for(self) -> float:
        """Seconds since the first of the running requests began; 0 when idle."""
        return time.monotonic() - self._busy_since if self._busy else 0.0

    @property
    def idle_for(self) -> float:
        """Seconds since the last request ended; 0 when busy."""
        return 0.0 if self._busy else time.monotonic() - self.last_used

    def wait_ready(self) -> None:
        """Until the model is loaded. Raises `RequestError` with what the engine said when it ends instead."""
        end = time.monotonic() + LOAD_LIMIT
        while time.monotonic() < end:
            if not self.alive:
                raise self._load_error()
            if self._healthy():
                self.last_health = time.monotonic()
                return
            time.sleep(READY_POLL)
        self.stop(0.0)
        raise engine_error("DeadlineExceeded", "context deadline exceeded")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _load_error(self) -> RequestError:
        if self._process.returncode < 0:
            return engine_error("Unavailable", "error reading from server: EOF")
        lines = [line for line in self._log().splitlines() if " E " in line or "error" in line.lower()]
        reason = " ".join(line.split(" E ", 1)[-1].strip() for line in lines[:2])
        model = _argument(self._process.args, "--model")
        return engine_error("Internal", f"Failed to load model: {model}. Error: {reason}...")

    def _log(self) -> str:
        return "".join((self._files / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr"))

    def believed_healthy(self) -> bool:
        """LocalAI's check before a request: the last good check holds for `HEALTH_TTL` seconds, even when the process died since."""
        if time.monotonic() - self.last_health < HEALTH_TTL:
            return True
        if self._healthy():
            self.last_health = time.monotonic()
            return True
        return False

    def note_request(self, body: Mapping[str, object]) -> None:
        """Append the request, prompt and all, to the process's stdout file, as the engine of LocalAI does."""
        try:
            self._stdout.write(json.dumps(body).encode() + b"\n")
            self._stdout.flush()
        except (OSError, ValueError) as problem:
            log.warn("failed writing the request log", error=str(problem))

    def __enter__(self) -> "EngineProcess":
        with self._idle:
            if not self._busy:
                self._busy_since = time.monotonic()
            self._busy += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._busy -= 1
            self.last_used = time.monotonic()
            self._idle.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Whether no request runs any more, waited for at most `seconds`."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, timeout=seconds)

    def stop(self, seconds: float = STOP_WAIT) -> bool:
        """End the process; a busy one gets `seconds` to finish. Whether it was idle in time. Its files stay, as LocalAI's do."""
        calm = self.wait_idle(seconds) or not self.alive
        self.given_up = not calm
        self.kill(signal.SIGTERM if calm else signal.SIGKILL)
        try:
            self._process.wait(KILL_GRACE)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)
            self._process.wait()
        self._stdout.close()
        return calm

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, if it is still there."""
        if self.alive:
            self._process.send_signal(number)

    def forget_files(self) -> None:
        """Remove the files of a process that never served (a failed load)."""
        self._stdout.close()
        shutil.rmtree(self._files, ignore_errors=True)


def _argument(command: object, flag: str) -> Optional[str]:
    parts = list(command) if isinstance(command, (list, tuple)) else []
    return parts[parts.index(flag) + 1] if flag in parts else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def writable_tmp() -> None:
    """Make this user's directories in $TMPDIR, as LocalAI does before anything else. Raises `OSError`."""
    base = Path(tempfile.gettempdir()) / f"localai-{os.getuid()}"
    for name in ("upload", "generated/content/audio", "generated/content/images", "generated/content/videos", "generated/content/3d"):
        (base / name).mkdir(parents=True, exist_ok=True, mode=0o750)
