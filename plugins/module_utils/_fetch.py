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
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from ._errors import FleetError
from ._pace import Clock, Floor, Pacer, Window
from ._peers import Sharing
from ._share import Peer
from ._transport import Again, Answer, Later, Source, open_source

CHUNK = 1 << 20
RESERVE = 1 << 29
BACKOFF_LIMIT = 60.0
GAIN = 1 << 20
SLOW_SPAN = 60.0
RENEW = 15.0
LATER = 0.25


@dataclass(frozen=True)
class Limits:
    """Bounds of a download: `rate` in bytes a second, 0 for none; `minimum_rate` below which a source counts as stuck; the
    `window` of hours in which the origin may be asked (other hosts always may)."""

    rate: float = 0.0
    minimum_rate: float = 0.0
    window: Window | None = None


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
    """One moment of a download: bytes, bytes a second, seconds.

    `phase`: checking, connecting, waiting (`message`: for which host), fetching (from where), retrying (why), verifying, failed (why).
    """

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
    """What a download did: its path, bytes that came over the wire and from whom, where it started, requests that failed on the way."""

    path: Path
    bytes_fetched: int
    resumed_from: int
    retries: int
    sources: Mapping[str, int] = field(default_factory=dict, compare=False)


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


def is_held(blob: Blob) -> bool:
    """Whether a process of this host works on the blob right now."""
    try:
        handle = os.open(blob.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def failure(blob: Blob, since: float) -> str:
    """Why the blob's last download failed because of its source, if that was after `since` (seconds since the epoch); else ""."""
    try:
        if blob.progress.stat().st_mtime < since:
            return ""
        told = json.loads(blob.progress.read_text(encoding="utf-8"))
        return str(told["message"]) if told["phase"] == "failed" else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


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
    blob: Blob, *, headers: Mapping[str, str] | None = None, ca_path: str = "", redirect_hosts: Sequence[str] = (), peers: Sequence[Peer] = (),
    limits: Limits = Limits(), progress: Callable[[Progress], None] | None = None, reserve_bytes: int = RESERVE, ahead_bytes: int = 0,
    timeout: float = 30.0, retries: int = 6, clock: Clock = Clock(),
) -> Fetched:
    """Bring the blob into place, whatever an earlier run left; at once when it is there.

    `headers` go to the host of the URL only, never to where it redirects. `ca_path` is trusted besides the system's authorities.
    `redirect_hosts`: see `open_source`. `peers`: hosts that are asked before the URL, nearest first. `timeout`: seconds without a byte.
    `retries`: failures in a row without progress. `progress` is called often; the default writes `blob.progress`.
    FleetError: no space, refused, not found, wrong size or sha256, outside the window, retries used up.
    """
    source: Source = _Origin(open_source(blob.url, headers or {}, ca_path, timeout, redirect_hosts), blob, limits.window, clock)
    if peers:
        source = Sharing(blob.sha256, peers, source, timeout, clock)
    show = progress or ProgressFile(blob.progress, clock=clock)
    _make_folders(blob)
    with _locked(blob, clock):
        if is_present(blob):
            return Fetched(blob.target, 0, blob.size, 0)
        check_space(blob, reserve_bytes, ahead_bytes)
        try:
            return _Download(blob, source, show, limits, retries, clock).run()
        except OSError as error:
            raise FleetError(f"{blob.label} could not be written", str(blob.folder), error.strerror or str(error),
                             "What was fetched is kept; make room or repair the file system and run again.") from error


def check_hours(blob: Blob, window: Window | None, clock: Clock = Clock()) -> None:
    """FleetError outside the window."""
    now = clock.local()
    if window and not window.is_open(now):
        raise FleetError(f"{blob.label} may not be fetched at this time of the day", f"models_time_window {window}, local time of the host",
                         f"{now.tm_hour:02d}:{now.tm_min:02d}", f"{blob.bytes_present()} of {blob.size} bytes are kept: run again within it.")


class _Origin:
    """The source itself, within its hours."""

    def __init__(self, source: Source, blob: Blob, window: Window | None, clock: Clock) -> None:
        self._source, self._blob, self._window, self._clock = source, blob, window, clock
        self.shown = source.shown

    def open(self, offset: int, etag: str = "", etag_host: str = "") -> Answer:
        check_hours(self._blob, self._window, self._clock)
        return self._source.open(offset, etag, etag_host)

    def distrust(self) -> bool:
        return self._source.distrust()


class _Download:
    """One run for one blob, under its lock."""

    def __init__(self, blob: Blob, source: Source, show: Callable[[Progress], None], limits: Limits, retries: int, clock: Clock) -> None:
        self.blob, self.source, self.show, self.limits, self.retries, self.clock = blob, source, show, limits, retries, clock
        self.digest, self.offset, self.resumed_from = hashlib.sha256(), 0, 0
        self.sources: dict[str, int] = {}
        self.best, self.failures, self.failures_in_row, self.refusals = 0, 0, 0, 0
        self.started = (0.0, 0)
        self.pacer = Pacer(limits.rate, clock)

    def run(self) -> Fetched:
        self._take_up()
        try:
            self._complete()
            # Bytes of an earlier run (a power cut) or of another host may be damaged: the rest gets a new chance from the start.
            while self.digest.hexdigest() != self.blob.sha256 and (self.source.distrust() or self.resumed_from):
                self._restart()
                self._complete()
            self._finish()
        except FleetError as error:
            self._tell("failed", str(error))
            raise
        return Fetched(self.blob.target, sum(self.sources.values()), self.resumed_from, self.failures, self.sources)

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
        self._tell("connecting")
        while self.offset < self.blob.size:
            self.started = (self.clock.now(), self.offset)
            try:
                with self.source.open(self.offset, *self._origin()) as answer:
                    self._accept(answer)
                    began = self.offset
                    self._pour(answer)
                if self.offset < self.blob.size and not (answer.growing and self.offset > began):
                    raise Again("the connection closed early")
            except Later as later:
                self._tell("waiting", later.name)
                self.clock.sleep(LATER)
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
        """Write what comes, until its end; of a host that fetches itself only for a while, since another one may be faster by then."""
        floor = Floor(0.0 if answer.growing else min(self.limits.minimum_rate, self.limits.rate / 2 or self.limits.minimum_rate), SLOW_SPAN, self.clock)
        until = self.clock.now() + RENEW
        with self.blob.part.open("r+b") as part:
            part.seek(self.offset)
            try:
                while self.offset < self.blob.size and not (answer.growing and self.clock.now() > until):
                    block = answer.read(min(self.pacer.block, self.blob.size - self.offset))
                    if not block:
                        break
                    self.pacer.take(len(block))
                    part.write(block)
                    self._count(block, answer)
                    slow = floor.add(len(block))
                    if slow is not None:
                        raise Again(f"{answer.source} sends {slow:.0f} bytes a second, less than {self.limits.minimum_rate:.0f}")
                    if not answer.peer:
                        check_hours(self.blob, self.limits.window, self.clock)
            finally:
                part.flush()
                os.fsync(part.fileno())

    def _count(self, block: bytes, answer: Answer) -> None:
        self.digest.update(block)
        self.offset += len(block)
        self.sources[answer.source] = self.sources.get(answer.source, 0) + len(block)
        self._tell("fetching", f"from {answer.peer}" if answer.peer else "")

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
        self._tell("retrying", again.reason)
        self.clock.sleep(self._wait(again))
        self._tell("connecting")

    def _wait(self, again: Again) -> float:
        """Seconds: what the server asked for, else 1, 2, 4 ... 60 with a jitter that keeps hosts apart."""
        if again.wait is not None:
            return again.wait
        return min(BACKOFF_LIMIT, 2.0 ** (self.failures_in_row - 1)) * random.uniform(0.75, 1.25)

    def _finish(self) -> None:
        self._tell("verifying")
        _name(self.blob, self.digest.hexdigest(), self.source.shown)

    def _tell(self, phase: str, message: str = "") -> None:
        elapsed, gained = self.clock.now() - self.started[0], self.offset - self.started[1]
        rate = gained / elapsed if phase == "fetching" and elapsed > 0 else 0.0
        eta = (self.blob.size - self.offset) / rate if rate else None
        self.show(Progress(phase, self.blob.label, self.offset, self.blob.size, rate, eta, message))


def receive(blob: Blob, piece: Path, offset: int, source: str, reserve_bytes: int = RESERVE, ahead_bytes: int = 0, clock: Clock = Clock()) -> int:
    """Add the bytes of the file `piece`, which are those of the blob from `offset` on; returns how many bytes of the blob are there now.

    A piece that does not start where the bytes so far end is left out: the caller goes on from what is returned. The last one
    brings the blob into place. `source`: where it comes from, for messages. FleetError: no space, not writable, wrong sha256.
    """
    _make_folders(blob)
    with _locked(blob, clock):
        if is_present(blob):
            return blob.size
        check_space(blob, reserve_bytes, ahead_bytes)
        try:
            if blob.bytes_present() == offset:
                _append(blob, piece, offset)
            if blob.bytes_present() == blob.size:
                _name(blob, sha256_of(blob.part), source)
                return blob.size
        except OSError as error:
            raise FleetError(f"{blob.label} could not be written", str(blob.folder), error.strerror or str(error),
                             "What was fetched is kept; make room or repair the file system and run again.") from error
        return blob.bytes_present()


def _append(blob: Blob, piece: Path, offset: int) -> None:
    """A part that is too long, as a changed size leaves one, is cut."""
    with open(os.open(blob.part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as part, piece.open("rb") as more:
        part.truncate(offset)
        part.seek(offset)
        shutil.copyfileobj(more, part, CHUNK)
        part.flush()
        os.fsync(part.fileno())


def _name(blob: Blob, got: str, source: str) -> None:
    """Give the blob its name if its sha256 `got` is right; else remove what there is of it and raise FleetError."""
    if got == blob.sha256:
        os.chmod(blob.part, blob.mode)
        os.replace(blob.part, blob.target)
        _sync_folder(blob.target.parent)
    for path in blob.leftovers():
        path.unlink()
    if got != blob.sha256:
        raise FleetError(f"{blob.label} has another sha256 than the lock says", source, f"{got}, {blob.sha256} was expected",
                         "Nothing was kept of it. Check the source: the file behind the same address has changed or was damaged.")


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
        if os.path.samestat(os.fstat(handle), os.stat(blob.lock)):
            return handle
    except (BlockingIOError, FileNotFoundError):
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
