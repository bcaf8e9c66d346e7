# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How wide the way to a host's memory is, where the kernel or the firmware tells it; else unknown.

Sources: Documentation/admin-guide/RAS (EDAC); SMBIOS 3.7 (DSP0134) section 7.18, read as dmidecode(8) reads it.
Firmware of many vendors names slots without their channels, and virtual machines name none: both are unknown.
"""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Iterator, Optional

from ._cgroup import Tree

EDAC = "/sys/devices/system/edac/mc"
DMI_TABLE = "/sys/firmware/dmi/tables/DMI"
DMI_ENTRIES = "/sys/firmware/dmi/entries"
MAX_TABLE_BYTES = 1 << 20
MEMORY_DEVICE = 17
END_OF_TABLE = 127
CHANNEL_BITS = 64
NOT_MAIN_MEMORY = (0x09, 0x1F)  # flash, and persistent memory
UNKNOWN = (0, 0xFFFF)
CHANNEL = re.compile(r"(.*?)channel[ _-]?([0-9]{1,2}|[a-p])(?![a-z0-9])")


@dataclass(frozen=True)
class Module:
    """A memory module: the words before its channel's name and that name, its width in bits, its transfers a second."""

    place: Optional[tuple[str, str]]
    bits: int
    transfers: Optional[int]


@dataclass(frozen=True)
class Channels:
    """Channels of 64 bits with a module in them, and the bytes a second that they move at most. None is unknown."""

    count: Optional[int]
    bytes_per_second: Optional[int]


def read_channels(tree: Tree, sockets: Optional[int]) -> Channels:
    """The memory channels of a host with this many sockets: by the EDAC driver, else by the firmware's table."""
    modules = _modules(tree)
    count = _by_driver(tree) or _by_firmware(modules, sockets or 1)
    speeds = [module.transfers for module in modules]
    slowest = min((speed for speed in speeds if speed is not None), default=None)
    known = count is not None and slowest is not None and None not in speeds
    return Channels(count, count * CHANNEL_BITS // 8 * slowest if known and count and slowest else None)


def _by_driver(tree: Tree) -> Optional[int]:
    channels = set()
    for controller in tree.names(EDAC):
        for name in tree.names(f"{EDAC}/{controller}") if re.fullmatch(r"mc[0-9]+", controller) else []:
            place = f"{EDAC}/{controller}/{name}"
            match = re.search(r"channel ([0-9]{1,4})", tree.read(f"{place}/dimm_location") or "")
            if match and (tree.read_int(f"{place}/size") or 0) > 0:
                channels.add((controller, int(match.group(1))))
    return len(channels) or None


def _by_firmware(modules: list[Module], sockets: int) -> Optional[int]:
    """Each module must name its channel, and on several sockets what the channel belongs to."""
    widths: dict[tuple[str, str], int] = {}
    for module in modules:
        if module.place is None or (sockets > 1 and not re.search(r"[0-9]", module.place[0])):
            return None
        widths[module.place] = max(module.bits, widths.get(module.place, 0))
    return max(1, sum(widths.values()) // CHANNEL_BITS) if widths else None


def _modules(tree: Tree) -> list[Module]:
    table = tree.read_bytes(DMI_TABLE, MAX_TABLE_BYTES)
    if table is None:
        names = [name for name in tree.names(DMI_ENTRIES) if name.startswith(f"{MEMORY_DEVICE}-")]
        table = b"".join(tree.read_bytes(f"{DMI_ENTRIES}/{name}/raw") or b"" for name in names)
    found = [_module(body, strings) for kind, body, strings in _structures(table) if kind == MEMORY_DEVICE]
    return [module for module in found if module is not None]


def _structures(table: bytes) -> Iterator[tuple[int, bytes, list[str]]]:
    """Type, formatted area and strings of each structure, up to the first malformed one."""
    at = 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        end = table.find(b"\0\0", at + length)
        if length < 4 or end < 0 or kind == END_OF_TABLE:
            return
        texts = table[at + length:end].decode("latin-1").split("\0")
        yield kind, table[at:at + length], texts
        at = end + 2


def _module(body: bytes, strings: list[str]) -> Optional[Module]:
    """None for an empty slot and for what is no main memory."""
    if len(body) < 0x15:
        return None
    bits, size = struct.unpack_from("<HH", body, 0x0A)
    if size in UNKNOWN or bits in UNKNOWN or body[0x12] in NOT_MAIN_MEMORY:
        return None
    speed = struct.unpack_from("<H", body, 0x20)[0] if len(body) >= 0x22 else 0
    texts = [strings[number - 1] if 0 < number <= len(strings) else "" for number in body[0x10:0x12]]
    matches = [match for match in (CHANNEL.match(text.strip().lower()) for text in texts) if match]
    place = (matches[0].group(1), matches[0].group(2)) if matches else None
    return Module(place, bits, None if speed in UNKNOWN else speed * 1_000_000)
