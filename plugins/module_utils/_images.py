# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Images on a host, through the engine's command line. Every function takes `run`, so that tests need no engine."""
from __future__ import annotations

import re
from typing import Callable, Sequence

from ._errors import FleetError

# (arguments) → (exit code, standard output, standard error)
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

# What the engine says → what is wrong and what to do next.
_REASONS = (
    ("x509|certificate", "The registry's certificate is not trusted",
     "Give its authority in docker_engine_registry_cas."),
    ("manifest unknown|not found: manifest|MANIFEST_UNKNOWN|: not found", "The registry does not hold this digest",
     "Put the image there, or resolve the lock again from this registry."),
    ("unauthorized|denied|no basic auth", "The registry refuses the host", "Log the host's engine in to the registry."),
    ("no space left", "The disk of the engine is full", "Make room below the engine's data-root."),
    ("no such host|connection refused|timeout|i/o timeout|no route|unreachable|dial tcp|EOF", "The registry cannot be reached from the host",
     "Check its name, its port and the way to it, or set common_image_registry."),
    ("cannot connect to the docker daemon|is the docker daemon running", "The host's Docker engine does not answer", "Start it."),
)
_PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def check_reference(image: str) -> None:
    """FleetError unless the reference names a digest: the same bytes on every host, today and in a month."""
    if not _PINNED.fullmatch(image):
        raise FleetError("The image is not named by its digest", got=image, do="Use NAME@sha256:DIGEST, as the lock has it.")


def digest(image: str) -> str:
    """The 64 hexadecimal digits of a reference by digest."""
    return image.rsplit(":", 1)[1]


def present(run: Run, image: str) -> bool:
    """Whether the engine holds the image."""
    return run(["docker", "image", "inspect", "--format", "{{.Id}}", image])[0] == 0


def pull(run: Run, image: str) -> None:
    """Pull the image; FleetError with the reason in words."""
    code, out, err = run(["docker", "pull", "--quiet", image])
    if code != 0:
        said = (err or out).strip().splitlines()
        raise explain(image, said[-1] if said else f"exit code {code}")


def explain(image: str, said: str) -> FleetError:
    """The error for what the engine said when it could not pull `image`."""
    for pattern, what, do in _REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return FleetError(what, image, said, do)
    return FleetError("The image could not be pulled", image, said, "Try docker pull on the host.")
