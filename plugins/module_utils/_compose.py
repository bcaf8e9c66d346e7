# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Text for and from Docker Compose: environment files, image references, logs fit to show. Pure Python."""
from __future__ import annotations

import re
from typing import Any, Iterable, Mapping

from ._errors import FleetError
from ._oci import split_address

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Shorter texts are no secrets, and hiding them would make a log unreadable.
SHORTEST_SECRET = 6


def env_text(values: Mapping[str, Any]) -> str:
    """An environment file for Compose, sorted, every value in single quotes so that nothing in it is interpreted.

    FleetError, without the value, for a name that is none and for a value with a quote or a line break:
    Compose releases disagree on how to read those.
    """
    return "".join(_env_line(key, values[key]) for key in sorted(values))


def image_reference(image: Mapping[str, Any], registry: str = "") -> str:
    """What `docker pull` takes for an image of the lock: `name@digest`, from `registry` instead of its own when given.

    `quay.io/a/b` at registry `mirror:5000` is `mirror:5000/a/b@sha256:...`. A scheme in front of the registry is no part of it:
    whether the engine asks without TLS is its own setting. FleetError for an image or an address of no usable form.
    """
    name, digest = str(image.get("name", "")), str(image.get("digest", ""))
    if "/" not in name or not _DIGEST.fullmatch(digest):
        raise FleetError("An image of the lock has no full name or no digest", f"image {name or '?'}", digest or "nothing",
                         "Resolve the lock again.")
    if registry:
        name = f"{split_address(registry)[1]}/{name.split('/', 1)[1]}"
    return f"{name}@{digest}"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by stars, longest first."""
    for secret in sorted({str(s) for s in secrets}, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "********")
    return text


def _env_line(key: str, value: Any) -> str:
    if not _KEY.fullmatch(key):
        raise FleetError("An environment variable's name is not usable", "environment", key,
                         "Use letters, digits and underscores, no digit first.")
    text = str(value)
    if set(text) & set("'\n\r\0"):
        raise FleetError("An environment variable's value holds a single quote or a line break", key,
                         do="Choose a value without one.")
    return f"{key}='{text}'\n"
