"""The Debian mirror that this machine's own apt uses, and how it reaches it."""
from __future__ import annotations

import os
import subprocess

from .recipe import LabError

FORMAT = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"


def debian_mirror() -> str:
    """Address of a Debian archive: LAB_DEBIAN_MIRROR, else the one in apt's configuration. Raises `LabError`."""
    given = os.environ.get("LAB_DEBIAN_MIRROR")
    if given:
        return given
    mirror = choose(_run(["apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages"]))
    if not mirror:
        raise LabError("This machine's apt configuration names no Debian archive: set LAB_DEBIAN_MIRROR to the address of one.")
    return mirror


def choose(targets: str) -> str:
    """The Debian archive among apt's index targets, one `ORIGIN|LABEL|REPO_URI` a line; "" when there is none.

    A line whose lists were never fetched has no origin and no label; there the address must end in /debian.
    """
    rows = [line.split("|") for line in targets.splitlines() if line.count("|") == 2]
    for origin, label, uri in rows:
        if (origin, label) == ("Debian", "Debian"):
            return uri.rstrip("/")
    return next((uri.rstrip("/") for origin, _label, uri in rows if not origin and uri.rstrip("/").endswith("/debian")), "")


def apt_options() -> list[str]:
    """The proxies of this machine's apt, as options for another apt."""
    names = ("Acquire::http::Proxy", "Acquire::https::Proxy")
    values = {name: _run(["apt-config", "dump", "--format", "%v", name]).strip() for name in names}
    return [f'{name} "{value}"' for name, value in values.items() if value]


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(f"`{' '.join(command)}` failed ({error}): the lab needs a Debian or Ubuntu machine with a working apt.") from error
