"""A sweep: what it tries, with how much memory, in which order, and what follows from the speeds."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity, _sweep
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

MIB = 1 << 20


def model(name: str, file: int, kind: str = "chat") -> dict[str, Any]:
    return {"name": name, "kind": kind, "kv_type": "f16", "memory": {"file": file}}


INSTANCES = [{"models": [model("large", 800), model("small", 200)]}, {"models": [model("vectors", 10, "embedding"), model("base", 200, "completion")]}]
LOCK = {"models": {name: {"source": f"hf://a/{name}", "quant": "Q4_K_M"} for name in ("large", "small", "vectors", "base")}}


@pytest.mark.parametrize("name, chosen", [("", "base"), ("large", "large")])
def test_the_smallest_or_the_named_model_that_generates_text(name, chosen) -> None:
    found = _sweep.wanted(INSTANCES, LOCK, name)
    assert (found["name"], found["source"], found["context"], found["slots"], found["prompt_cache_mib"]) == (chosen, f"hf://a/{chosen}", 512, 1, 0)


@pytest.mark.parametrize("instances, name, told", [
    (INSTANCES, "vectors", "none that generates text on this host (tuning_model): got vectors. Name one of base, large, small"),
    (INSTANCES[:0], "", "No model on this host generates text"),
])
def test_without_a_model_that_generates_text(instances, name, told) -> None:
    with pytest.raises(FleetError) as caught:
        _sweep.wanted(instances, LOCK, name)
    assert told in str(caught.value)


@pytest.mark.parametrize("budget, counts", [
    (1, [1, 2]), (2, [1, 2, 3]), (7, [1, 2, 3, 4, 5, 6, 7, 8]), (8, [1, 3, 4, 5, 7, 8, 9]), (31, [1, 5, 10, 16, 21, 26, 31, 32]),
    (127, [7, 21, 42, 64, 85, 106, 127, 128]),
])
def test_what_is_tried(budget, counts) -> None:
    assert _sweep.candidates(budget) == counts
    assert len(counts) <= _sweep.MOST and budget in counts


def planned(cpus: float = 2.5, anonymous: int = 100 * MIB, **more: Any) -> dict[str, Any]:
    one = {**model("small", 200), "sha256": "c" * 64, "threads": 9, "threads_batch": 2, "context": 512, "slots": 1, "unified": True, "batch": 512,
           "prompt_cache": 0, "checkpoints": 0, "aliases": ["gpt-4"], "memory": {"file": 200, "anonymous": anonymous}}
    return {"instances": [{"cpus": cpus, "cpuset": None, "memory_planned": 300 * MIB, "memory_limit": 600 * MIB, "tmp_size": 128 * MIB,
                           "models": [one], **more}]}


def capacity(tmp_path, available: int | None, ours: int = 0) -> _capacity.Capacity:
    return replace(_capacity.read_capacity(str(tmp_path)), memory_available_bytes=available, memory_used_by_deployment_bytes=ours)


@pytest.mark.parametrize("available, ours, loaded", [
    (None, 0, 1), (300 * MIB, 0, 1), (799 * MIB, 0, 1), (800 * MIB, 0, 2), (1000 * MIB, 0, 3), (9000 * MIB, 0, 3), (9000 * MIB, 8200 * MIB, 2),
])
def test_copies_stay_loaded_where_half_of_what_is_free_holds_them(tmp_path, available, ours, loaded) -> None:
    found = _sweep.options(planned(), capacity(tmp_path, available, ours))
    assert (found["loaded"], found["memory_limit"]) == (loaded, (600 + 100 * (loaded - 1)) * MIB)
    assert [one["threads"] for one in found["candidates"]] == [1, 2, 3]
    assert (found["cpus"], found["cpuset"], found["tmp_size"]) == (2.5, "", 128 * MIB)


def test_settings_differ_in_nothing_but_threads(tmp_path) -> None:
    settings = [json.loads(one["settings"]) for one in _sweep.options(planned(0.5, cpuset="0-1"), capacity(tmp_path, None))["candidates"]]
    assert [(one.pop("name"), one.pop("threads")) for one in settings] == [("threads-1", 1), ("threads-2", 2)]
    assert settings[0] == settings[1]
    assert settings[0]["parameters"]["model"] == f"gguf/{'c' * 64}.gguf"
    assert "threads_batch:2" in settings[0]["options"] and "cache_ram:0" in settings[0]["options"]


def test_too_little_memory_is_told(tmp_path) -> None:
    with pytest.raises(FleetError) as caught:
        _sweep.options(planned(), capacity(tmp_path, 900 * MIB, 601 * MIB))
    assert str(caught.value) == (f"The host has too little free memory to measure beside what runs on it (model small): got {299 * MIB} bytes free, "
                                 f"{300 * MIB} needed. Name a smaller model in tuning_model, or stop other programs.")


class Engine:
    """An engine with a clock: a load takes 3 seconds, and so many tokens per second by threads."""

    def __init__(self, speeds: dict[int, float]) -> None:
        self.speeds, self.now, self.held, self.log, self.most, self.tokens = speeds, 0.0, set(), [], 0, {}

    def world(self) -> _sweep.World:
        return _sweep.World(turn=self.turn, unload=self.unload, clock=lambda: self.now)

    def turn(self, threads: int, tokens: int) -> _sweep.Turn:
        if threads not in self.held:
            self.held.add(threads)
            self.now += 3
            self.log.append(f"+{threads}")
        else:
            self.log.append(str(threads))
            self.tokens[threads] = tokens
        self.most = max(self.most, len(self.held))
        self.now += tokens / self.speeds[threads]
        return _sweep.Turn(threads, self.speeds[threads], 0.0)

    def unload(self, threads: int) -> None:
        self.held.remove(threads)
        self.log.append(f"-{threads}")


def test_all_loaded_take_turns_forth_and_back() -> None:
    engine = Engine({1: 20.0, 2: 40.0, 3: 30.0})
    turns = _sweep.sweep([1, 2, 3], 3, 20, engine.world())
    assert engine.log[:9] == ["+1", "1", "+2", "2", "+3", "3", "3", "2", "1"]
    assert not [entry for entry in engine.log if entry.startswith("-")]
    assert engine.tokens == {1: 20, 2: 40, 3: 30}, "a second's worth"
    assert len(turns) >= 9 and engine.now <= 20


def test_one_at_a_time_keeps_what_the_next_round_begins_with() -> None:
    engine = Engine({1: 20.0, 2: 40.0, 3: 30.0})
    _sweep.sweep([1, 2, 3], 1, 40, engine.world())
    assert engine.log[:12] == ["+1", "1", "-1", "+2", "2", "-2", "+3", "3", "3", "-3", "+2", "2"]
    assert engine.most == 1 and engine.now <= 40


def test_two_of_three_at_a_time() -> None:
    engine = Engine({1: 20.0, 2: 40.0, 3: 30.0})
    _sweep.sweep([1, 2, 3], 2, 40, engine.world())
    assert engine.most == 2


@pytest.mark.parametrize("speed, tokens", [(2.0, 8), (500.0, 128)])
def test_a_turn_is_neither_too_short_nor_too_long(speed, tokens) -> None:
    engine = Engine({1: speed})
    _sweep.sweep([1], 1, 60, engine.world())
    assert engine.tokens == {1: tokens}


def test_a_short_time_is_told() -> None:
    with pytest.raises(FleetError) as caught:
        _sweep.sweep([1, 2, 3], 1, 10, Engine({1: 10.0, 2: 20.0, 3: 15.0}).world())
    assert "too short to measure every number of threads (tuning_seconds): got 10, none left for 3 threads. Raise it" in str(caught.value)


@pytest.mark.parametrize("late, counted", [(True, 3), (False, None)])
def test_a_turn_that_outlasts_the_time_is_left_out(late, counted) -> None:
    engine = Engine({1: 10.0, 2: 20.0})
    answered = []

    def turn(threads: int, tokens: int) -> _sweep.Turn:
        if len(answered) == 5:  # two warm-ups, three turns
            engine.now += 100 if late else 0
            raise FleetError("LocalAI does not answer")
        answered.append(threads)
        return engine.turn(threads, tokens)

    world = _sweep.World(turn=turn, unload=engine.unload, clock=lambda: engine.now)
    if late:
        assert len(_sweep.sweep([1, 2], 2, 60, world)) == counted
    else:
        with pytest.raises(FleetError, match="does not answer"):
            _sweep.sweep([1, 2], 2, 60, world)


def turns(**speeds: Any) -> list[_sweep.Turn]:
    return [_sweep.Turn(int(name[1:]), speed, share) for name, pairs in speeds.items() for speed, share in pairs]


def test_the_median_of_the_turns_counts() -> None:
    found = _sweep.summary(turns(t2=[(40, 0), (10, 0.5), (41, 0)], t1=[(20, 0)]))
    assert found == [_sweep.Measured(1, 20, 20, 20, 1, 0), _sweep.Measured(2, 40, 10, 41, 3, 0.167)]


@pytest.mark.parametrize("speeds, threads", [
    ({1: 50}, 1), ({1: 50, 2: 90.5, 3: 91}, 2), ({1: 50, 2: 88, 3: 91}, 3), ({1: 99, 2: 100, 3: 60}, 1), ({1: 98.9, 2: 100, 3: 100}, 2),
    ({2: 10, 4: 9, 1: 9.6}, 2),
])
def test_the_fewest_threads_near_the_fastest_are_best(speeds, threads) -> None:
    assert _sweep.best(_sweep.summary([_sweep.Turn(count, speed, 0) for count, speed in speeds.items()])) == threads


QUIET = _sweep.Measured(1, 52.44, 50, 53, 4, 0.0)
STOPPED = _sweep.Measured(2, 19.5, 19, 20, 4, 0.8)


def test_the_table() -> None:
    assert _sweep.table([QUIET, STOPPED], 1) == [
        "threads  tokens/s  lowest  highest  turns  throttled",
        "      1      52.4    50.0     53.0      4        0 %  <- best",
        "      2      19.5    19.0     20.0      4       80 %"]


@pytest.mark.parametrize("chosen, load, cpus, told", [
    (1, 0.2, 2, []),
    (1, 6.0, 64, []),
    (1, 0.3, 2, ["The load average was 0.3 before it began, on 2 CPUs: other work slows more threads first. Measure again with tuning_force when the "
                 "host is quiet."]),
    (2, 0.0, 2, ["Even with 2 threads a CPU limit stopped the engine in 80 % of its periods: "
                 "its own, where threads are above it, else look for a quota above the container's."]),
])
def test_what_makes_it_doubtful(chosen, load, cpus, told) -> None:
    assert _sweep.remarks([QUIET, STOPPED], chosen, load, cpus) == told
