# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Resumable, verified download of one blob. Standard library only: it runs on the hosts.

A blob gets its name once its sha256 is verified, by rename; before that its bytes are in `.partial/` beside it, a
folder that only its owner can read. What is there survives the death of the process: the next run reads it
again for the hash and asks the server for the rest. One lock a blob keeps concurrent runs apart: the second waits for the
first, whose progress is in one stable place.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping

from ._errors import FleetError
from ._transport import Again, Answer, Source, open_source

CHUNK = 1 << 20
RESERVE = 1 << 29
BACKOFF_LIMIT = 60.0
GAIN = 1 << 20


@dataclass(frozen=True)
class Clock:
    """Time, replaceable in tests: `now` in monotonic seconds, `sleep` for seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Blob:
    """What is wanted: where from, where to, its identity, and a name for people (never a secret)."""

    url: str
    target: Path
    sha256: str
    size: int
    name: str = ""
    mode: int = 0o644

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return self.name or f"sha256 {self.sha256[:12]}"

    @property
    def folder(self) -> Path:
        """Where unfinished files are: on the same file system as the target."""
        return self.target.parent / ".partial"

    @property
    def part(self) -> Path:
        """The bytes so far."""
        return self.folder / f"{self.sha256}.gguf.part"

    @property
    def lock(self) -> Path:
        """Held by the run that fetches."""
        return self.folder / f"{self.sha256}.lock"

    @property
    def origin(self) -> Path:
        """The entity tag under which the bytes so far came, and from which host."""
        return self.folder / f"{self.sha256}.origin.json"

    @property
    def progress(self) -> Path:
        """The progress of the run that fetches, as JSON."""
        return self.folder / f"{self.sha256}.progress.json"

    def leftovers(self) -> list[Path]:
        """Files of an unfinished download, the lock apart."""
        return sorted(path for path in self.folder.glob(f"{self.sha256}.*") if path != self.lock)

    def bytes_present(self) -> int:
        """Bytes of the unfinished download that a run can build on."""
        size = self.part.stat().st_size if self.part.exists() else 0
        return size if size <= self.size else 0


@dataclass(frozen=True)
class Progress:
    """One moment of a download: `phase` (checking, connecting, fetching, retrying, verifying), bytes, bytes a second, seconds."""

    phase: str
    name: str
    bytes: int
    total: int
    rate: float = 0.0
    eta: float | None = None
    message: str = ""
    pid: int = field(default_factory=os.getpid)


@dataclass(frozen=True)
class Fetched:
    """What a download did: its path, bytes that came over the wire, where it started, requests that failed on the way."""

    path: Path
    bytes_fetched: int
    resumed_from: int
    retries: int


class ProgressFile:
    """Writes `Progress` as JSON by rename, at most every `every` seconds within a phase: a reader never sees half a file."""

    def __init__(self, path: Path, every: float = 0.5, clock: Clock = Clock()) -> None:
        self._path, self._every, self._clock = path, every, clock
        self._last = ("", -1e9)

    def __call__(self, progress: Progress) -> None:
        """Write, unless the same phase was written a moment ago."""
        now = self._clock.now()
        if progress.phase == self._last[0] and now - self._last[1] < self._every:
            return
        self._last = (progress.phase, now)
        _write(self._path, json.dumps(asdict(progress)))


def is_present(blob: Blob) -> bool:
    """Whether the blob has its name and its size. The name is given after verification only, so this is enough."""
    return blob.target.is_file() and blob.target.stat().st_size == blob.size


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        for block in iter(lambda: handle.read(CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def check_space(blob: Blob, reserve_bytes: int = RESERVE, ahead_bytes: int = 0) -> None:
    """FleetError unless the bytes still missing, and `ahead_bytes` of blobs that come after, fit with `reserve_bytes` left free."""
    place = blob.target.parent
    while not place.exists():
        place = place.parent
    stat = os.statvfs(place)
    free, needed = stat.f_bavail * stat.f_frsize, blob.size - blob.bytes_present() + ahead_bytes
    if needed + reserve_bytes > free:
        what = f"{blob.label} and what comes after it" if ahead_bytes else blob.label
        raise FleetError(
            f"There is not enough disk space for {what}", str(blob.target.parent),
            f"{free} bytes free ({_gib(free)}), {needed} needed ({_gib(needed)}) with {reserve_bytes} left over",
            f"Free {needed + reserve_bytes - free} bytes there, or place the model store on a larger file system.",
        )


def fetch(
    blob: Blob, *, headers: Mapping[str, str] | None = None, ca_path: str = "", progress: Callable[[Progress], None] | None = None,
    reserve_bytes: int = RESERVE, ahead_bytes: int = 0, timeout: float = 30.0, retries: int = 6, clock: Clock = Clock(),
) -> Fetched:
    """Bring the blob into place, whatever an earlier run left; at once when it is there.

    `headers` go to the host of the URL only, never to where it redirects. `ca_path` is trusted besides the system's authorities.
    `timeout`: seconds without a byte. `retries`: failures in a row without progress. `progress` is called often; the
    default writes `blob.progress`. FleetError: no space, refused, not found, wrong size or sha256, retries used up.
    """
    source = open_source(blob.url, headers or {}, ca_path, timeout)
    show = progress or ProgressFile(blob.progress, clock=clock)
    _make_folders(blob)
    with _locked(blob, clock):
        if is_present(blob):
            return Fetched(blob.target, 0, blob.size, 0)
        check_space(blob, reserve_bytes, ahead_bytes)
        try:
            return _Download(blob, source, show, retries, clock).run()
        except OSError as error:
            raise FleetError(f"{blob.label} could not be written", str(blob.folder), error.strerror or str(error),
                             "What was fetched is kept; make room or repair the file system and run again.") from error


class _Download:
    """One run for one blob, under its lock."""

    def __init__(self, blob: Blob, source: Source, show: Callable[[Progress], None], retries: int, clock: Clock) -> None:
        self.blob, self.source, self.show, self.retries, self.clock = blob, source, show, retries, clock
        self.digest, self.offset, self.fetched, self.resumed_from = hashlib.sha256(), 0, 0, 0
        self.best, self.failures, self.failures_in_row, self.refusals = 0, 0, 0, 0
        self.started = (0.0, 0)

    def run(self) -> Fetched:
        self._take_up()
        self._complete()
        if self.digest.hexdigest() != self.blob.sha256 and self.resumed_from:
            # Bytes of an earlier run may be damaged (a power cut): they get one new chance from the start.
            self._restart()
            self._complete()
        self._finish()
        return Fetched(self.blob.target, self.fetched, self.resumed_from, self.failures)

    def _take_up(self) -> None:
        """Read what an earlier run left: the state of a hash cannot be stored."""
        if not self.blob.bytes_present():
            self._restart()
            return
        with self.blob.part.open("rb") as handle:
            for block in iter(lambda: handle.read(CHUNK), b""):
                self.digest.update(block)
                self.offset += len(block)
                self._tell("checking")
        self.resumed_from = self.best = self.offset

    def _restart(self) -> None:
        self.blob.origin.unlink(missing_ok=True)
        with open(os.open(self.blob.part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"):
            pass
        self.digest, self.offset, self.resumed_from, self.refusals = hashlib.sha256(), 0, 0, 0

    def _complete(self) -> None:
        while self.offset < self.blob.size:
            self.started = (self.clock.now(), self.offset)
            self._tell("connecting")
            try:
                with self.source.open(self.offset, *self._origin()) as answer:
                    self._accept(answer)
                    self._pour(answer)
                if self.offset < self.blob.size:
                    raise Again("the connection closed early")
            except Again as again:
                self._recover(again)

    def _origin(self) -> tuple[str, str]:
        """Entity tag and host of the bytes so far; empty when unknown."""
        try:
            kept = json.loads(self.blob.origin.read_text(encoding="utf-8"))
            return str(kept["etag"]), str(kept["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", ""

    def _accept(self, answer: Answer) -> None:
        """Check that the answer is of the blob's size, and continues where the part ends; a whole answer starts it anew."""
        if answer.total not in (None, self.blob.size):
            raise FleetError(f"{self.blob.label} has another size at its source", answer.shown,
                             f"{answer.total} bytes, {self.blob.size} were expected",
                             "Nothing was kept of it. Check the lock entry against the source.")
        if self.offset and answer.start(self.blob.size - self.offset) != self.offset:
            self._restart()
            if answer.partial:
                raise Again(f"{answer.host} answered with another range than was asked")
        if answer.etag:
            _write(self.blob.origin, json.dumps({"etag": answer.etag, "host": answer.host}))

    def _pour(self, answer: Answer) -> None:
        with self.blob.part.open("r+b") as part:
            part.seek(self.offset)
            try:
                while self.offset < self.blob.size:
                    block = answer.read(min(CHUNK, self.blob.size - self.offset))
                    if not block:
                        break
                    part.write(block)
                    self.digest.update(block)
                    self.offset += len(block)
                    self.fetched += len(block)
                    self._tell("fetching")
            finally:
                part.flush()
                os.fsync(part.fileno())

    def _recover(self, again: Again) -> None:
        """Count, wait and let the loop try again; FleetError when the failures bring nothing any more."""
        self.failures += 1
        gained = self.offset >= self.best + min(GAIN, self.blob.size // 2 or 1)
        self.best = max(self.best, self.offset)
        self.failures_in_row = 1 if gained else self.failures_in_row + 1
        if self.failures_in_row > self.retries:
            raise FleetError(
                f"The download of {self.blob.label} did not get on after {self.failures_in_row} attempts",
                self.source.shown, again.reason,
                f"{self.offset} of {self.blob.size} bytes are kept: run again when the source answers.",
            )
        if again.restart_after is not None and self.offset:
            self.refusals += 1
            if self.refusals > again.restart_after:
                self._restart()
        self._tell("retrying", message=again.reason)
        self.clock.sleep(self._wait(again))

    def _wait(self, again: Again) -> float:
        """Seconds: what the server asked for, else 1, 2, 4 ... 60 with a jitter that keeps hosts apart."""
        if again.wait is not None:
            return again.wait
        return min(BACKOFF_LIMIT, 2.0 ** (self.failures_in_row - 1)) * random.uniform(0.75, 1.25)

    def _finish(self) -> None:
        self._tell("verifying")
        got = self.digest.hexdigest()
        if got != self.blob.sha256:
            for path in self.blob.leftovers():
                path.unlink()
            raise FleetError(f"{self.blob.label} has another sha256 than the lock says", self.source.shown,
                             f"{got}, {self.blob.sha256} was expected",
                             "Nothing was kept of it. Check the source: the file behind the same address has changed or was damaged.")
        os.chmod(self.blob.part, self.blob.mode)
        os.replace(self.blob.part, self.blob.target)
        _sync_folder(self.blob.target.parent)
        for path in self.blob.leftovers():
            path.unlink()

    def _tell(self, phase: str, message: str = "") -> None:
        elapsed, gained = self.clock.now() - self.started[0], self.offset - self.started[1]
        rate = gained / elapsed if phase == "fetching" and elapsed > 0 else 0.0
        eta = (self.blob.size - self.offset) / rate if rate else None
        self.show(Progress(phase, self.blob.label, self.offset, self.blob.size, rate, eta, message))


def discard(blob: Blob) -> None:
    """Remove the blob and whatever an unfinished download left of it. FleetError while another run fetches it."""
    if blob.folder.is_dir():
        with _locked(blob):
            for path in [blob.target, *blob.leftovers()]:
                path.unlink(missing_ok=True)
    elif blob.target.exists():
        blob.target.unlink()


def _make_folders(blob: Blob) -> None:
    try:
        blob.target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        blob.folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise FleetError("The model store cannot be made", str(blob.target.parent), error.strerror or str(error),
                         "Check the path and who may write there.") from error


@contextmanager
def _locked(blob: Blob, clock: Clock | None = None) -> Iterator[None]:
    """Hold the blob's lock; wait for the run that has it, or fail without a clock. The lock's file goes with its holder."""
    handle = _acquire(blob)
    while handle is None:
        if clock is None:
            raise FleetError(f"{blob.label} is being fetched by another run", str(blob.target), "a held lock", "Wait for that run to end.")
        clock.sleep(1.0)
        handle = _acquire(blob)
    try:
        yield
    finally:
        blob.lock.unlink(missing_ok=True)
        os.close(handle)


def _acquire(blob: Blob) -> int | None:
    """A handle that holds the lock; None when another run holds it."""
    handle = os.open(blob.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed the file meanwhile: then this lock protects nothing.
        if blob.lock.exists() and os.fstat(handle).st_ino == blob.lock.stat().st_ino:
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"
