# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What is planned for: models with their headers, and what a fleet is besides the capacities of its hosts."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from ._gguf import Header
from ._lock import LockedModel
from ._wanted import WantedModel

STANDALONE, REPLICATED, FEDERATED, SHARDED, DISTRIBUTED = "standalone", "replicated", "federated", "sharded", "distributed"
TOPOLOGIES = (STANDALONE, REPLICATED, FEDERATED, SHARDED, DISTRIBUTED)
SPREAD, PACK = "spread", "pack"
PLACEMENTS = (SPREAD, PACK)


@dataclass(frozen=True)
class Model:
    """A wanted model with what the lock knows of it: the header (with the size of all its files in bytes) and the digest of each file, in order.

    `projector` is the digest of the file that reads images, `projector_size` its bytes, `projector_header` its header where the lock has it.
    """

    wanted: WantedModel
    header: Header
    sha256: str | None = None
    files: tuple[str, ...] = ()
    projector: str | None = None
    projector_size: int = 0
    projector_header: Header | None = None

    @property
    def name(self) -> str:
        return self.wanted.name

    @property
    def replicas(self) -> int | None:
        """On how many hosts it runs; None is on all that may have it."""
        return 1 if self.wanted.shards else self.wanted.replicas

    @property
    def blob(self) -> str:
        """What names its file on a host."""
        return self.sha256 or self.wanted.sha256 or self.name


def model_of(wanted: WantedModel, locked: LockedModel) -> Model:
    """A wanted model with what the lock knows of it."""
    header = replace(Header.from_dict(locked.header), file_size=locked.size)
    model = Model(wanted, header, locked.files[0].sha256, tuple(file.sha256 for file in locked.files))
    if not locked.projector:
        return model
    beside = Header.from_dict(locked.projector_header) if locked.projector_header else None
    return replace(model, projector=locked.projector.sha256, projector_size=locked.projector.size, projector_header=beside)


@dataclass(frozen=True)
class Fleet:
    """What a fleet is besides the capacities of its hosts; names are those of hosts.

    `servers`, `gateways`, `workers` and `control` have those roles; without `servers` all hosts that are neither workers nor control are.
    `placement` is `spread` (replicas go to the emptiest hosts) or `pack` (to as few hosts as hold them). `reserved_cores` are left to
    other programs. `round_trip_ms` is what a packet needs to a worker and back. `tuning` holds the measurements that are valid, `ignored`
    why others are not (see `_tuning`). `previous` is the deployed plan as a dictionary: what can stay where it is, stays.
    """

    servers: Sequence[str] | None = None
    gateways: Sequence[str] = ()
    workers: Sequence[str] = ()
    control: Sequence[str] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    placement: str = SPREAD
    reserved_cores: Mapping[str, int] = field(default_factory=dict)
    round_trip_ms: Mapping[str, float] = field(default_factory=dict)
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    previous: Mapping[str, Any] | None = None
