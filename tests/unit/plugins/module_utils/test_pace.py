"""Rates, hours, and how a flow of bytes is kept between them."""
from __future__ import annotations

import time

import pytest

from ansible_collections.localai.fleet.plugins.module_utils import _pace
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 0.0), ("20000000", 2e7), ("20MB/s", 2e7), ("20 MB/s", 2e7), ("20M", 2e7), ("20MiB/s", 20 * 1024**2), ("1.5GB/s", 1.5e9), ("512KiB", 524288.0),
        ("100Mbit/s", 12.5e6), ("100Mbps", 12.5e6), ("1Gbit/s", 1.25e8), ("8kbit/s", 1000.0), ("1kB/s", 1000.0), ("3mb/s", 375_000.0),
    ],
)
def test_parse_rate(text: str, rate: float) -> None:
    assert _pace.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "0", "-5MB/s", "999", "7kbit/s", "20MB/h", "20 apples", "MB/s", "1e9"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(FleetError, match="The rate cannot be used .models_bandwidth_limit.: got"):
        _pace.parse_rate(text, "models_bandwidth_limit")


def at(text: str) -> time.struct_time:
    hour, minute = map(int, text.split(":"))
    return time.struct_time((2026, 1, 1, hour, minute, 0, 3, 1, 0))


@pytest.mark.parametrize(
    ("window", "now", "is_open"),
    [
        ("22:00-06:00", "22:00", True), ("22:00-06:00", "03:00", True), ("22:00-06:00", "06:00", False), ("22:00-06:00", "21:59", False),
        ("09:30-17:00", "09:29", False), ("09:30-17:00", "09:30", True), ("09:30-17:00", "16:59", True), ("09:30-17:00", "17:00", False),
        ("00:00-23:59", "00:00", True),
    ],
)
def test_window(window: str, now: str, is_open: bool) -> None:
    parsed = _pace.Window.parse(window)
    assert parsed is not None and (str(parsed), parsed.is_open(at(now))) == (window, is_open)


@pytest.mark.parametrize("text", ["at night", "22-06", "24:00-06:00", "22:00-22:00", "22:60-06:00", "2:00-6:00"])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(FleetError, match="The time window cannot be used .time_window.: got"):
        _pace.Window.parse(text)


def test_no_window() -> None:
    assert _pace.Window.parse("") is None


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0
        self.clock = _pace.Clock(now=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 0.0), (1000.0, 9.9), (100_000.0, 0.0)])
def test_pacer(rate: float, seconds: float) -> None:
    its = Time()
    pacer = _pace.Pacer(rate, its.clock)
    its.now += 1.0
    for _turn in range(10):
        pacer.take(1000)
    assert its.slept == pytest.approx(seconds)


def test_what_was_not_used_is_lost() -> None:
    its = Time()
    pacer = _pace.Pacer(1000.0, its.clock)
    its.now += 1000.0
    pacer.take(1100)
    assert its.slept == pytest.approx(1.0)


@pytest.mark.parametrize(("rate", "block"), [(0.0, 1 << 20), (1000.0, 4096), (2e6, 100_000), (1e9, 1 << 20)])
def test_block(rate: float, block: int) -> None:
    assert _pace.Pacer(rate).block == block


def test_floor_tells_a_slow_minute_once() -> None:
    its = Time()
    floor = _pace.Floor(100.0, 60.0, its.clock)
    told = []
    for size in (1000, 1000, 1000, 9000, 1000):
        its.now += 30.0
        told.append(floor.add(size))
    assert told == [None, pytest.approx(2000 / 60), None, None, None]
