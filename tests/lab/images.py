"""Builds the lab's images from Debian packages and gives them to the engine; an image that exists is never built again."""
from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Iterable, Iterator, Sequence

import docker
from docker.errors import ImageLoadError, ImageNotFound

from . import engine, mirror
from .progress import Progress
from .recipe import LabError, Recipe

EPOCH = 1_767_225_600  # seconds; 2026-01-01, the date of everything in an image
CREATED = "2026-01-01T00:00:00Z"
PARALLEL = 2
BUILD_SECONDS = 1200
SPACE = 4 << 30  # bytes a build needs at most
MERGED = ("/bin/", "/sbin/", "/lib/", "/lib64/")  # links into /usr in Debian
PROGRAMS = {"mmdebstrap": "mmdebstrap", "tar": "tar"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
Layer = tuple[str, "Path | None"]  # digest of the uncompressed tar, and the tar where the engine may lack it

_CLEAN = 'rm -rf "$1"/etc/apt/sources.list* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*.log "$1"/var/log/apt'
_OFFER = """set -e
repository="$1/usr/local/share/lab-apt"
mkdir -p "$repository/partial"
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -y -q --no-install-recommends --download-only -o Dir::Cache::archives="$repository/" install {packages}
rm -rf "$repository/partial" "$repository/lock"
cd "$repository"
for deb in *.deb; do
    plain=$(printf %s "$deb" | sed 's/%3a/_/g')
    [ "$deb" = "$plain" ] || mv "$deb" "$plain"
    dpkg-deb -f "$plain"
    printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$plain" "$(stat -c %s "$plain")" "$(sha256sum "$plain" | cut -d' ' -f1)"
done > Packages"""
_OFFER_LIST = """set -e
mkdir -p "$1/etc/apt/sources.list.d"
echo 'deb [trusted=yes] file:/usr/local/share/lab-apt ./' > "$1/etc/apt/sources.list.d/lab.list"
chroot "$1" apt-get -q update"""
_EXPORT = 'tar --sort=name --mtime=@{epoch} --numeric-owner --owner=0 --group=0 -C "$1{subtree}" -cf {out} .'


class Builder:
    """Makes recipes into images of one engine. `state`: where logs and locks go."""

    def __init__(self, client: docker.DockerClient, state: Path, progress: Progress) -> None:
        self._client = client
        self._state = state
        self._progress = progress

    def ensure(self, recipes: Iterable[Recipe]) -> dict[str, str]:
        """Name of recipe → tag of its image, all of them in the engine afterwards. Raises `LabError`."""
        wanted = list(recipes)
        missing = [recipe for recipe in wanted if not self._has(recipe.tag)]
        if missing:
            self._prepare(missing)
            with ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(self._one, missing))
        return {recipe.name: recipe.tag for recipe in wanted}

    def _prepare(self, missing: Sequence[Recipe]) -> None:
        fresh = sorted({recipe.layer or recipe.name for recipe in missing if not self._has(recipe.package_tag)})
        self._progress.say(f"images to make: {', '.join(recipe.name for recipe in missing)} (packages first: {', '.join(fresh) or 'none'})")
        if fresh:
            engine.require(PROGRAMS, self._progress.say)
            if not KEYRING.exists():
                engine.install(["debian-archive-keyring"], self._progress.say)

    def _one(self, recipe: Recipe) -> None:
        begin = time.monotonic()
        with self._lock(recipe.layer or recipe.name), _scratch() as scratch:
            if self._has(recipe.tag):
                return
            tree: Path | None = None
            base = self._layer_of(recipe.package_tag)
            if base is None:
                tree = self._bootstrap(recipe, scratch)
                base = _sha256(tree)
                self._load(recipe.package_tag, {}, [(base, tree)], scratch)
            files = write_files(recipe, scratch / "files.tar")
            layers: list[Layer] = [(base, None), (_sha256(files), files)]
            try:
                self._load(recipe.tag, recipe.settings(), layers, scratch)
            except ImageLoadError:  # this engine wants every layer again
                layers[0] = (base, tree or self._bootstrap(recipe, scratch))
                self._load(recipe.tag, recipe.settings(), layers, scratch)
        self._note(recipe)
        self._progress.say(f"image {recipe.name}: ready in {time.monotonic() - begin:.1f} s")

    def _bootstrap(self, recipe: Recipe, scratch: Path) -> Path:
        """The package layer as a tar, the same bytes for the same packages."""
        out = scratch / "tree.tar"
        log = self._state / "build" / f"{recipe.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = bootstrap_command(recipe, out, mirror.debian_mirror(), mirror.apt_options())
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
        with log.open("wb") as handle:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, env=environment)
        self._wait(process, recipe, log)
        return out

    def _wait(self, process: subprocess.Popen[bytes], recipe: Recipe, log: Path) -> None:
        begin = time.monotonic()
        while True:
            try:
                code = process.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - begin
                self._progress.say(f"image {recipe.name}: {elapsed:.0f} s, {_tail(log)}")
                if elapsed > BUILD_SECONDS:
                    process.terminate()
        if code:
            raise LabError(f"image {recipe.name}: mmdebstrap of {recipe.suite} failed with code {code} ({_tail(log)}); the whole log is {log}.")

    def _load(self, tag: str, settings: dict[str, object], layers: Sequence[Layer], scratch: Path) -> None:
        archive = write_archive(tag, settings, layers, scratch / "load.tar")
        with archive.open("rb") as handle:
            self._client.images.load(handle)
        archive.unlink()
        if not self._has(tag):
            raise LabError(f"The engine took the image {tag} but does not list it: see its log.")

    def _has(self, tag: str) -> bool:
        return self._layer_of(tag) is not None

    def _layer_of(self, tag: str) -> str | None:
        """Digest of the first layer of an image of the engine, None when it has no such image."""
        try:
            return str(self._client.images.get(tag).attrs["RootFS"]["Layers"][0])
        except ImageNotFound:
            return None

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        path = self._state / "build" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _note(self, recipe: Recipe) -> None:
        with (self._state / "images").open("a") as handle:
            handle.write(f"{recipe.tag}\n{recipe.package_tag}\n")

    def remove(self, recipes: Iterable[Recipe]) -> list[str]:
        """Remove, by exact tag, the images of the recipes and every image noted when it was made; returns their tags."""
        noted = self._state / "images"
        tags = {tag for recipe in recipes for tag in (recipe.tag, recipe.package_tag)}
        tags |= set(noted.read_text().split()) if noted.exists() else set()
        gone = [tag for tag in sorted(tags) if self._has(tag)]
        for tag in gone:
            self._client.images.remove(tag)
        noted.unlink(missing_ok=True)
        return gone


def bootstrap_command(recipe: Recipe, out: Path, archive: str, apt_options: Sequence[str] = ()) -> list[str]:
    """The mmdebstrap command line that writes the package layer of `recipe` to `out`."""
    whole = recipe.subtree == "/"
    hooks = [_OFFER.format(packages=" ".join(recipe.offers))] if recipe.offers else []
    hooks += [*recipe.hooks, _CLEAN]
    hooks += [_OFFER_LIST] if recipe.offers else []
    hooks += [] if whole else [_EXPORT.format(epoch=EPOCH, subtree=recipe.subtree, out=out)]
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
    return [
        "mmdebstrap", "--variant=minbase", f"--include={','.join(recipe.packages)}",
        '--aptopt=Acquire::Check-Valid-Until "false"', "--aptopt=Acquire::Retries \"3\"", *(f"--aptopt={option}" for option in apt_options),
        *(f"--dpkgopt=path-exclude={path}" for path in excluded), *(f"--customize-hook={hook}" for hook in hooks),
        "--skip=cleanup/apt/lists", f"--format={'tar' if whole else 'null'}",
        recipe.suite, str(out) if whole else "/dev/null", f"deb {archive} {recipe.suite} main",
    ]


def write_files(recipe: Recipe, out: Path) -> Path:
    """The layer of files and links, with their directories; the same bytes for the same contents."""
    paths = sorted({*recipe.files, *recipe.links})
    refuse_merged(recipe, paths)
    parents = sorted({str(parent) for path in paths for parent in PurePosixPath(path).parents if str(parent) != "/"})
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in parents:
            tar.addfile(_entry(path, tarfile.DIRTYPE, 0o755))
        for path in paths:
            if path in recipe.links:
                entry = _entry(path, tarfile.SYMTYPE, 0o777)
                entry.linkname = recipe.links[path]
                tar.addfile(entry)
            else:
                content = recipe.content(path)
                entry = _entry(path, tarfile.REGTYPE, recipe.files[path][1])
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return out


def refuse_merged(recipe: Recipe, paths: Sequence[str]) -> None:
    """Raises `LabError` when a file would turn /bin, /sbin or /lib of a Debian tree from a link into a directory."""
    wrong = [path for path in paths if not path.startswith("/") or (recipe.subtree == "/" and path.startswith(MERGED))]
    if wrong:
        raise LabError(f"image {recipe.name}: {', '.join(wrong)} must be absolute and below /usr (as /usr/bin), where Debian keeps it; correct its recipe.")


def write_archive(tag: str, settings: dict[str, object], layers: Sequence[Layer], out: Path) -> Path:
    """What `docker load` takes; a layer without a tar must be in the engine already."""
    config = json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux", "created": CREATED, "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [digest for digest, _path in layers]},
        "history": [{"created": CREATED, "created_by": "localai-lab"} for _layer in layers],
    }, sort_keys=True).encode()
    names = [f"{digest.partition(':')[2]}.tar" for digest, _path in layers]
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]).encode()
    with tarfile.open(out, "w") as tar:
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            entry = _entry(name, tarfile.REGTYPE, 0o644)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, (_digest, path) in zip(names, layers):
            if path:
                tar.add(path, name)
    return out


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode, entry.mtime = kind, mode, EPOCH
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return f"sha256:{hashlib.file_digest(handle, 'sha256').hexdigest()}"


def _tail(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][-160:] if lines else "no output yet"


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory of its own for one build: in memory where there is room, else in the usual place."""
    with tempfile.TemporaryDirectory(prefix="localai-lab-", dir=_fast_place()) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _fast_place() -> str | None:
    place = Path("/dev/shm")
    if not place.is_dir() or not os.access(place, os.W_OK) or shutil.disk_usage(place).free < SPACE:
        return None
    flags = os.statvfs(place).f_flag
    return None if flags & (os.ST_NODEV | os.ST_NOEXEC) else str(place)
