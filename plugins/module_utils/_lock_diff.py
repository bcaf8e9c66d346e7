# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What changes between two locks, for people: a line for each model and image. Pure."""
from __future__ import annotations

from typing import Any, Callable, Iterable, List, Mapping, Sequence, Tuple

from ._errors import FleetError
from ._gguf import Header
from ._http import bare_url
from ._lock import Lock, LockedImage, LockedModel
from ._memory import estimate
from ._needs import settings_of
from ._presets import PREFIX
from ._wanted import SEARCH, WantedModel


def diff(old: Lock, new: Lock, wanted: Iterable[WantedModel] = (), isas: Iterable[tuple[str, ...]] = ()) -> list[str]:
    """What changes, a line for each entry: images first, each by name.

    A model's line tells what it was and is, size, license, chat template, and the memory it is planned with at the context and slots of
    its item of `wanted`, on hosts with the instruction sets `isas` (see `planned_bytes`). What changes is told before what stays.
    """
    by_name, kinds = {model.name: model for model in wanted}, sorted(set(isas)) or [()]
    lines = _changes(old.images, new.images, "image", lambda _key, image: [("", _image(image))])
    return lines + _changes(old.models, new.models, "model", lambda name, model: _model(model, by_name.get(name), kinds))


def planned_bytes(model: LockedModel, wanted: WantedModel, isas: Sequence[tuple[str, ...]] = ((),)) -> int | None:
    """Memory that is planned for a locked model: what cannot be dropped and its files, on the host that needs most; None when the engine refuses.

    The engine rewrites weights in memory by a host's instruction sets; an empty tuple is a host of which these are not known.
    """
    header = Header.from_dict(model.header)
    projector = model.projector.size if model.projector else 0
    beside = Header.from_dict(model.projector_header) if model.projector and model.projector_header else None
    try:
        found = [estimate(header, settings_of(wanted, header, isa, projector, beside)) for isa in isas]
    except FleetError:  # the plan says it, with all that belongs to it
        return None
    return max(memory.anonymous + memory.file_backed for memory in found)


def size(count: int) -> str:
    """Bytes for people; small files keep their tenths."""
    return f"{count / 2 ** 30:.2f} GiB" if count >= 2 ** 30 else f"{count / 2 ** 20:.1f} MiB"


Fact = Tuple[str, Any]
"""A label, and words or a number of bytes; what is empty is told only where it changes."""
Facts = Callable[[str, Any], List[Fact]]


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], what: str, facts: Facts) -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        if name not in new:
            lines.append(f"{what} {name}: removed, {_joined(facts(name, old[name]))}")
        elif name not in old:
            lines.append(f"{what} {name}: added, {_joined(facts(name, new[name]))}")
        elif old[name] != new[name]:
            lines.append(f"{what} {name}: {_compared(facts(name, old[name]), facts(name, new[name])) or _untold(old[name], new[name])}")
    return lines


def _joined(facts: Iterable[Fact]) -> str:
    return ", ".join(f"{label} {_told(value)}".strip() for label, value in facts if value)


def _compared(before: list[Fact], after: list[Fact]) -> str:
    """What changed, then what did not; empty when nothing did."""
    pairs = [(label, was, now) for (label, was), (_label, now) in zip(before, after)]
    changed = [(label, f"{_told(was)} -> {_told(now)}{_by(was, now)}") for label, was, now in pairs if was != now]
    return _joined([*changed, *((label, now) for label, was, now in pairs if was == now)]) if changed else ""


def _told(value: Any) -> str:
    return size(value) if isinstance(value, int) else value or "none"


def _by(was: Any, now: Any) -> str:
    if not isinstance(was, int) or not isinstance(now, int):
        return ""
    return f" ({'+' if now > was else '-'}{size(abs(now - was))})"


def _untold(old: Any, new: Any) -> str:
    return f"{', '.join(name for name in vars(old) if getattr(old, name) != getattr(new, name))} changed"


def _image(image: LockedImage) -> str:
    return f"{image.name}:{image.version} {image.digest[:19]} {image.platform}"


def _model(model: LockedModel, wanted: WantedModel | None, isas: Sequence[tuple[str, ...]]) -> list[Fact]:
    at = f"@{model.commit[:12]}" if model.commit else ""
    return [
        ("", f"{model.repository or bare_url(model.source)}{at} {model.quant or ''}".strip()),
        ("found by", model.source if model.source == SEARCH or model.source.startswith(PREFIX) else ""),
        ("file", _files(model)),
        ("size", model.size),
        ("projector", f"{model.projector.path} ({size(model.projector.size)})" if model.projector else ""),
        ("license", model.license or "unknown"),
        ("memory", planned_bytes(model, wanted, isas) if wanted else None),
        ("chat template", (model.chat_template_sha256 or "")[:12]),
    ]


def _files(model: LockedModel) -> str:
    """The first file by its digest too: the same name may hold other bytes."""
    more = f" and {len(model.files) - 1} more" if len(model.files) > 1 else ""
    return f"{model.files[0].path}{more} ({model.files[0].sha256[:12]})"
