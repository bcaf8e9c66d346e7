"""What an image of the lab is made of. Pure data: images.py builds it.

An image has two layers: the packages (mmdebstrap; slow, so built once for one set of packages and hooks) and
the files (a second; so an edited file costs no new bootstrap). Both are reproducible, byte for byte.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Union

PREFIX = "localai-lab"
HERE = Path(__file__).parent
RECIPE_FORMAT = 1  # part of every tag: raise it when images.py builds something else from the same recipe

Source = Union[Path, bytes]


class LabError(Exception):
    """Something the lab needs is missing or failed; the text is a whole sentence with what to do."""


@dataclass(frozen=True)
class Recipe:
    """One image.

    `packages`: Debian packages of `suite` (with what they depend on, nothing recommended).
    `hooks`: shell commands run as root after the packages are in, `$1` is the tree (`chroot "$1" ...` works). They belong to the
    package layer: an edit builds it again, so keep what changes often in `files`.
    `offers`: packages that the image does not have but can install without a network, with all they need (a local apt repository).
    `layer`: another recipe with the very same packages, hooks, offers and subtree, whose package layer is this one's too.
    `subtree`: the directory of the tree that becomes the image's root ("/": all of it); a hook usually fills it.
    `files`: path in the image → (source path, or the content as bytes; mode). The second layer; they win over the packages' files.
    `links`: path in the image → target of a symbolic link.
    The rest is what `docker inspect` shows: `user` and `workdir` "" mean root and /.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    files: Mapping[str, tuple[Source, int]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    subtree: str = "/"
    layer: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def package_tag(self) -> str:
        """Name of the image that has the package layer only."""
        parts = {
            "format": RECIPE_FORMAT, "suite": self.suite, "packages": sorted(self.packages), "hooks": self.hooks,
            "offers": sorted(self.offers), "subtree": self.subtree,
        }
        return f"{PREFIX}/{self.layer or self.name}-packages:{_digest(parts)}"

    @property
    def tag(self) -> str:
        """Name of the image: the same recipe and the same file contents always give the same one."""
        return f"{PREFIX}/{self.name}:{_digest({'packages': self.package_tag, 'files': self.file_digests(), **self.settings()})}"

    def file_digests(self) -> dict[str, list[object]]:
        """Path in the image → [sha256 of the content, mode], and for links → ["->", target]."""
        found: dict[str, list[object]] = {}
        for path, (source, mode) in self.files.items():
            found[path] = [hashlib.sha256(self.content(path)).hexdigest(), mode]
        for path, target in self.links.items():
            found[path] = ["->", target]
        return found

    def content(self, path: str) -> bytes:
        """The bytes of one of `files`. Raises `LabError` when its source is missing."""
        source = self.files[path][0]
        if isinstance(source, bytes):
            return source
        try:
            return source.read_bytes()
        except OSError as error:
            raise LabError(f"image {self.name}: the source of {path} cannot be read ({error}); restore it from git.") from error

    def settings(self) -> dict[str, object]:
        """The image configuration as Docker names it (empty settings left out)."""
        full: dict[str, object] = {
            "Entrypoint": list(self.entrypoint), "Cmd": list(self.command), "User": self.user, "WorkingDir": self.workdir,
            "Env": [f"{name}={value}" for name, value in sorted({"PATH": _PATH, **self.env}.items())],
            "Volumes": {path: {} for path in self.volumes}, "ExposedPorts": {port: {} for port in self.ports},
            "StopSignal": self.stop_signal, "Labels": dict(sorted(self.labels.items())),
        }
        return {name: value for name, value in full.items() if value}


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _digest(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
