"""Memory channels by the kernel's driver and by the firmware's table."""
from __future__ import annotations

import struct

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity, _cgroup, _channels
from host_trees import plant

TABLE = "sys/firmware/dmi/tables/DMI"
END = bytes([127, 4, 0, 0, 0, 0])


def device(locator, bank, size=16384, bits=64, speed=3200, kind=0x1A, length=0x28):
    """A memory device of SMBIOS (type 17); DDR4 unless told."""
    body = bytearray(length)
    body[:2] = 17, length
    struct.pack_into("<HHH", body, 0x08, bits + 8, bits, size)
    body[0x10:0x13] = 1, 2, kind
    if length >= 0x22:
        struct.pack_into("<H", body, 0x20, speed)
    return bytes(body) + locator.encode() + b"\0" + bank.encode() + b"\0\0"


def other(kind=16):
    """Another structure, without strings."""
    return bytes([kind, 6, 0, 0, 9, 9, 0, 0])


def read(root, sockets=1):
    return _channels.read_channels(_cgroup.Tree(str(root)), sockets)


def table(root, *parts):
    place = root / TABLE
    place.parent.mkdir(parents=True)
    place.write_bytes(b"".join(parts))
    return root


SUPERMICRO = [device(f"P{s + 1}-DIMM{'ABCD'[c]}{d + 1}", f"P{s}_Node0_Channel{c}_Dimm{d}") for s in (0, 1) for c in range(4) for d in (0, 1)]


@pytest.mark.parametrize("parts, sockets, want", [
    (SUPERMICRO, 2, (8, 8 * 8 * 3_200_000_000)),
    ([device("ChannelA-DIMM0", "BANK 0", speed=2400), device("ChannelB-DIMM0", "BANK 2", speed=2133)], 1, (2, 2 * 8 * 2_133_000_000)),
    ([device("DIMM 0", "P0 CHANNEL A"), device("DIMM 1", "P0 CHANNEL A"), device("DIMM 0", "P0 CHANNEL B", size=0)], 1, (1, 25_600_000_000)),
    ([device(f"Controller{m}-Channel{c}", "BANK 0", bits=16, speed=6400) for m in (0, 1) for c in "ABCD"], 1, (2, 2 * 8 * 6_400_000_000)),
    ([device("A", "CHANNEL A"), device("B", "CHANNEL B")], 2, (None, None)),
    ([device("A1", "Not Specified"), device("A2", "Not Specified")], 1, (None, None)),
    ([device("A1", "Channel A"), device("A2", "Not Specified")], 1, (None, None)),
    ([device("DIMM 0", "", speed=0)], 1, (None, None)),
    ([device("x", "CHANNEL 0", speed=0), device("x", "CHANNEL 1")], 1, (2, None)),
    ([device("x", "CHANNEL 0", length=0x1B)], 1, (1, None)),
    ([device("x", "CHANNEL 0", kind=0x1F), device("y", "CHANNEL 1", kind=0x09)], 1, (None, None)),
    ([device("x", "CHANNEL 0", size=0x7FFF)], 1, (1, 25_600_000_000)),
    ([device("x", "CHANNEL 0", size=0xFFFF)], 1, (None, None)),
    ([device("x", "CHANNEL 0", bits=0)], 1, (None, None)),
    ([device("", ""), ], 1, (None, None)),
    ([other(), other(0), device("x", "CHANNEL 3"), END, device("x", "CHANNEL 4")], 1, (1, 25_600_000_000)),
    ([device("x", "CHANNEL 3"), b"\x11\x02\0\0\0\0"], 1, (1, 25_600_000_000)),
    ([device("x", "CHANNEL 3")[:-2]], 1, (None, None)),
    ([device("x", "CHANNEL 3", length=0x14)], 1, (None, None)),
    ([], 1, (None, None)),
])
def test_the_firmware_table(tmp_path, parts, sockets, want):
    got = read(table(tmp_path, *parts), sockets)
    assert (got.count, got.bytes_per_second) == want


def test_entries_stand_in_for_the_table(tmp_path):
    for number, text in enumerate(("CHANNEL A", "CHANNEL B")):
        place = tmp_path / f"sys/firmware/dmi/entries/17-{number}"
        place.mkdir(parents=True)
        (place / "raw").write_bytes(device("DIMM", text))
    (tmp_path / "sys/firmware/dmi/entries/17-9").mkdir()
    assert read(tmp_path).count == 2


def edac(controllers, places, size=16384):
    return {f"/sys/devices/system/edac/mc/{controller}/rank{n}/{name}": text for controller in controllers for n, place in enumerate(places)
            for name, text in (("dimm_location", place), ("size", f"{size}\n"))}


@pytest.mark.parametrize("files, want", [
    (edac(["mc0", "mc1"], ["csrow 0 channel 0\n", "csrow 0 channel 1\n", "csrow 1 channel 1\n"]), 4),
    (edac(["mc0"], ["channel 0 slot 0"], size=0), None),
    (edac(["mc0"], ["memory 0"]), None),
    (edac(["power"], ["channel 0"]), None),
])
def test_the_driver(tmp_path, files, want):
    assert read(plant(tmp_path, files)).count == want


def test_the_driver_counts_and_the_firmware_tells_the_speed(tmp_path):
    plant(tmp_path, edac(["mc0"], ["channel 0", "channel 1"]))
    capacity = _capacity.read_capacity(str(table(tmp_path, device("A1", "Not Specified"))))
    assert (capacity.memory_channels, capacity.memory_bandwidth_bytes_per_second) == (2, 51_200_000_000)
