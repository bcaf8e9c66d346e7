# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Parts of the graph of recurrent blocks: scans (mamba), short convolutions, the gated delta rule, and RWKV.

The engine builds what writes a state back before what only gives a result: a block is built up to there (`scan`) and the rest of it,
given as a function, runs when its result is needed. So the next block's states are read before that.
"""
from __future__ import annotations

from typing import Callable

from ._blocks import Block
from ._graph import Dim, Tensor
from ._shape import largest

Rest = Callable[[], Tensor]


def copies(block: Block) -> Tensor:
    """Which states belong to which slot."""
    return block.input("state_copies", block.slots)


def read_states(block: Block) -> Tensor:
    """The states before a convolution, of all slots."""
    get, width, kind = block.header.get, block.embedding, block.model.block
    if kind == "conv":
        elements = width * max(0, (get("shortconv.l_cache") or 1) - 1)
    else:
        grouped = 0 if kind == "mamba1" else 2 * (get("ssm.group_count") or 0) * (get("ssm.state_size") or 0)
        elements = ((get("ssm.conv_kernel") or 4) - 1) * ((get("ssm.inner_size") or 2 * width) + grouped)
    return block.graph.new("states", (Dim("convolution_states", elements), block.slots), copies(block))


def scan(block: Block, kept: Tensor, source: Tensor) -> Rest:
    """A recurrent block up to what it writes back, and the rest of it."""
    normed = block.norm(source)
    if block.model.block == "conv":
        return _short(block, kept, normed)
    if block.header.architecture == "plamo2":
        return _split(block, kept, normed)
    graph, slots, part, get, one = block.graph, block.slots, block.part, block.header.get, block.model.block == "mamba1"
    inner, state, kernel = Dim("inner", get("ssm.inner_size") or 2 * block.embedding), get("ssm.state_size") or 16, (get("ssm.conv_kernel") or 4) - 1
    ranks = Dim("time_steps", get("ssm.time_step_rank") or 0)
    wide = inner if one else Dim("inner_and_groups", inner + 2 * (get("ssm.group_count") or 0) * state)
    packed = graph.new("packed", (Dim("packed", 2 * inner if one else inner + wide + ranks), part, slots), graph.view(normed) if one else normed)
    convolved = graph.new("convolved", (Dim("kernel_and_rows", kernel + part), wide, slots), graph.view(kept), graph.view(packed))
    graph.sink(graph.view(convolved))
    hidden = graph.new("hidden", (wide, part, slots), convolved)
    viewed = graph.view(hidden)
    if one:
        mixed = graph.new("mixed", (ranks + 2 * state, part, slots), hidden)
        step = graph.new("step", (inner, part, slots), graph.new("step", (ranks, part, slots), graph.view(mixed)))
        sides = [graph.new("mixed", (state, part, slots), graph.view(mixed)) if block.header.architecture == "jamba" else graph.view(mixed) for dummy in "bc"]
    else:
        step = graph.new("step", (ranks, part, slots), graph.view(packed))
        sides = [graph.view(hidden), graph.view(hidden)]
    found = _scanned(block, inner, state, viewed, step, *sides)

    def rest() -> Tensor:
        lengths = (inner, part, slots)
        gate, result = graph.new("gate", lengths, graph.view(packed)), graph.view(found)
        scaled = graph.over("hidden", lengths, hidden if one else viewed)
        out = graph.new("hidden", lengths, gate, graph.over("hidden", lengths, result, scaled))
        if one:
            return graph.view(graph.new("recurrent", (block.embedding, part, slots), out))
        return graph.new("recurrent", (block.embedding, block.rows), graph.view(graph.new("hidden", lengths, graph.view(out))))
    return rest


def _short(block: Block, kept: Tensor, normed: Tensor) -> Rest:
    graph, size = block.graph, (block.embedding, block.part, block.slots)
    packed = graph.new("packed", (3, *size), graph.view(normed))
    gated = graph.new("gated", size, graph.view(packed), graph.view(packed))
    kernel = (block.header.get("shortconv.l_cache") or 1) - 1
    convolved = graph.new("convolved", (Dim("kernel_and_rows", kernel + block.part), block.embedding, block.slots), graph.view(kept), graph.view(gated))
    graph.sink(graph.view(convolved))

    def rest() -> Tensor:
        gate = graph.view(packed)
        found = graph.over("gated", size, gate, graph.new("gated", size, convolved))
        return graph.view(graph.new("recurrent", size, found))
    return rest


def _split(block: Block, kept: Tensor, normed: Tensor) -> Rest:
    """The scan of plamo2: its input is split by heads, and what mixes into it comes from a product of the convolved part."""
    graph, slots, part, get = block.graph, block.slots, block.part, block.header.get
    inner, state, kernel = Dim("inner", get("ssm.inner_size")), get("ssm.state_size"), (get("ssm.conv_kernel") or 4) - 1
    heads, narrow, size = Dim("time_steps", get("ssm.time_step_rank")), max(64, block.embedding // 16), (inner, part, slots)
    both = (Dim("inner_twice", 2 * inner), part, slots)
    packed = graph.new("packed", both, graph.view(graph.new("packed", both, graph.view(normed))))
    convolved = graph.new("convolved", (Dim("kernel_and_rows", kernel + part), inner, slots), graph.view(kept),
                          graph.view(graph.new("packed", size, graph.view(packed))))
    graph.sink(graph.view(convolved))
    hidden = graph.new("hidden", size, convolved)
    mixed = graph.new("mixed", (2 * state + narrow, part, slots), hidden)
    step = graph.new("step", (heads, part, slots), graph.new("step", (narrow, part, slots), graph.view(mixed)))
    sides = [graph.view(graph.new("mixed", (state, part, slots), graph.view(mixed))) for dummy in "bc"]
    viewed = graph.view(hidden)
    scanned = _scanned(block, inner, state, viewed, step, *sides)

    def rest() -> Tensor:
        gate = graph.new("gate", size, graph.view(packed))
        total = graph.over("hidden", size, graph.view(scanned), graph.new("hidden", size, viewed))
        return graph.view(graph.new("recurrent", (block.embedding, part, slots), graph.view(graph.new("hidden", size, gate, total))))
    return rest


def _scanned(block: Block, inner: Dim, state: int, *sources: Tensor) -> Tensor:
    """The scan and the states after it, which are written back."""
    graph, slots, size = block.graph, block.slots, inner * state
    found = graph.new("scanned", (Dim("scanned", inner * block.rows + size * slots),), *sources, graph.view(copies(block)))
    if slots > 1:
        graph.sink(graph.view(graph.new("states", (Dim("state", size), slots - 1), graph.view(copies(block)))))
    graph.sink(graph.view(found))
    return found


def delta(block: Block, normed: Tensor) -> Tensor:
    """A gated delta rule."""
    graph, slots, part, rows, get = block.graph, block.slots, block.part, block.rows, block.header.get
    inner, size, groups, ranks = (Dim(name.rpartition(".")[2], get(name)) for name in
                                  ("ssm.inner_size", "ssm.state_size", "ssm.group_count", "ssm.time_step_rank"))
    wide, kernel = Dim("inner_and_groups", inner + 2 * groups * size), (get("ssm.conv_kernel") or 4) - 1
    kept = graph.new("states", (kernel, wide, slots), copies(block))
    packed = graph.new("packed", (wide, rows), normed)
    convolved = graph.new("convolved", (Dim("kernel_and_rows", kernel + part), wide, slots), graph.view(kept), graph.view(packed))
    graph.sink(graph.view(convolved))
    state = graph.new("states", (inner, size, slots), copies(block))
    hidden = graph.new("hidden", (wide, part, slots), convolved)
    pair = []
    for letter in "qk":
        item = graph.new(letter, (size, groups, part, slots), graph.view(hidden))
        if block.header.architecture == "qwen3next" and groups != ranks:
            item = graph.view(graph.new("repeated", (size, ranks, rows), graph.view(item)))
        pair.append(item)
    values = graph.view(hidden)
    if block.header.architecture == "qwen3next":
        both = graph.new("step", (2, ranks, rows), normed)
        decay = graph.view(graph.new("step", (ranks, part, slots), graph.view(both)))
        beta = graph.view(graph.new("step", (ranks, part, slots), graph.view(both)))
    else:
        decay = graph.view(graph.new("step", (ranks, part, slots), graph.view(graph.new("step", (ranks, rows), normed))))
        beta = graph.new("step", (1, ranks, part, slots), graph.view(graph.new("step", (ranks, rows), normed)))
    found = graph.new("scanned", (inner, Dim("rows_and_states", rows + size * slots)), *pair, values, decay, beta, graph.view(state))
    graph.sink(graph.view(found))
    lengths = (size, ranks, part, slots)
    found = graph.new("hidden", lengths, graph.view(found))
    gate = graph.new("gate", lengths, graph.view(graph.new("gate", (inner, rows), normed)))
    found = graph.over("hidden", lengths, found, gate)
    return graph.view(graph.new("recurrent", (block.embedding, part, slots), graph.view(found)))


def kda(block: Block, normed: Tensor) -> Tensor:
    """Kimi's delta attention: three short convolutions, and a decay for each channel."""
    graph, slots, part, rows, get = block.graph, block.slots, block.part, block.rows, block.header.get
    head = Dim("head", get("kda.head_dim") or 128)
    heads = Dim("heads", largest(get("attention.head_count")))
    inner, kernel = Dim("inner", head * heads), (get("ssm.conv_kernel") or 4) - 1
    kept, convolved = graph.new("states", (kernel, 3 * inner, slots), copies(block)), []
    for letter in "qkv":
        packed = graph.new(letter, (inner, rows), normed)
        made = graph.new("convolved", (Dim("kernel_and_rows", kernel + part), inner, slots), graph.view(kept), graph.view(packed))
        graph.sink(graph.view(made))
        convolved.append(made)
    state = graph.new("states", (inner, head, slots), copies(block))
    sides = []
    for letter, source in zip("qkv", convolved):
        for dummy in range(2 if letter == "v" else 3):  # the convolution, its activation, and the norm of queries and keys
            source = graph.new(letter, (inner, rows), graph.view(source) if source.lengths == (inner, rows) else source)
        sides.append(graph.view(source))
    decay = graph.new("decay", (inner, rows), graph.view(graph.new("decay", (inner, rows), graph.new("low_rank", (head, rows), normed))))
    beta = graph.new("step", (heads, rows), graph.view(graph.new("step", (heads, rows), normed)))
    found = graph.new("scanned", (inner, Dim("rows_and_states", rows + head * slots)), *sides, decay, beta, graph.view(state))
    graph.sink(graph.view(found))
    found = graph.new("hidden", (inner, rows), graph.view(graph.new("hidden", (inner, rows), graph.view(found))))
    gate = graph.new("gate", (inner, rows), graph.view(graph.new("gate", (inner, rows), graph.new("low_rank", (head, rows), graph.view(normed)))))
    found = graph.over("hidden", (inner, rows), found, gate)
    return graph.new("recurrent", (block.embedding, rows), graph.new("hidden", (inner, rows), found))


def rwkv7(block: Block, source: Tensor, states: tuple[Tensor, Tensor], first: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Time mixing of RWKV-7: its sum with the source, its norm of it, and the values, which later layers (`first` given) mix with theirs."""
    graph, slots, part, rows, width, get = block.graph, block.slots, block.part, block.rows, block.embedding, block.header.get
    head = Dim("head", get("wkv.head_size") or 64)
    ranks = [get(f"attention.{name}_lora_rank") or 64 for name in ("decay", "iclr", "value_residual_mix", "gate")]
    cube, flat, heads = (width, part, slots), (width, rows), (head, width // head, rows)
    shift, state = states
    normed = graph.new("norm", cube, graph.view(source))
    mixed = graph.over("shifted", cube, graph.new("shifted", cube, graph.view(shift), graph.view(normed)), normed)
    six = graph.new("six", (*cube, 6), mixed)
    six = graph.over("six", six.lengths, six, normed)

    def low_rank(rank: int) -> Tensor:
        return graph.new("low_rank", flat, graph.new("low_rank", (rank, rows), graph.view(six)))
    receptance = graph.view(graph.new("receptance", flat, graph.view(six)))
    decay = graph.view(low_rank(ranks[0]))
    key = graph.new("key", flat, graph.view(six))
    rate = low_rank(ranks[1])
    scaled = graph.over("key", flat, key)
    change = graph.over("key", flat, graph.over("key", flat, rate, scaled), scaled)
    mixed_key = graph.view(graph.over("key", flat, key, change))
    values = graph.new("value", flat, graph.view(six))
    if first is None:
        first, value = values, graph.view(values)
    else:
        difference = graph.over("value", flat, first, values)
        gate = graph.new("low_rank", flat, graph.new("low_rank", (ranks[2], rows), graph.view(six)))
        value = graph.view(graph.over("value", flat, values, graph.over("value", flat, difference, gate)))
    unit = graph.new("unit", heads, graph.view(graph.over("key", flat, key)))
    negative = graph.over("unit", heads, unit)
    turned = graph.over("unit", heads, unit, graph.view(rate))
    found = graph.new("scanned", (width, Dim("rows_and_states", rows + head * slots)), receptance, decay, mixed_key, value, negative, turned, graph.view(state))
    graph.sink(graph.view(found))
    kept = graph.view(normed)
    out = graph.view(graph.new("norm", heads, graph.view(found)))
    out = graph.over("norm", flat, out)
    bonus = graph.over("bonus", heads, mixed_key, receptance)
    bonus = graph.over("bonus", heads, value, graph.new("bonus", (1, width // head, rows), bonus))
    out = graph.over("norm", flat, out, graph.view(bonus))
    gated = graph.new("low_rank", flat, graph.new("low_rank", (ranks[3], rows), graph.view(six)))
    out = graph.new("recurrent", flat, graph.over("norm", flat, out, gated))
    joined = graph.over("sum", cube, graph.view(out), graph.view(source))
    normed = graph.new("norm", cube, joined)
    graph.sink(graph.view(graph.new("shifted", (width, 2, slots), kept, graph.view(normed))))
    return joined, normed, first


def rwkv_forward(block: Block, joined: Tensor, normed: Tensor, shift: Tensor, width: int) -> Tensor:
    """Channel mixing: the feed-forward of RWKV."""
    graph, rows = block.graph, block.rows
    cube, flat = (block.embedding, block.part, block.slots), (block.embedding, rows)
    mixed = graph.new("shifted", cube, graph.view(shift), graph.view(normed))
    flatnormed = graph.view(normed)
    mixed = graph.over("shifted", flat, graph.over("shifted", flat, graph.view(mixed), flatnormed), flatnormed)
    hidden = graph.over("hidden", (Dim("feed_forward", width), rows), graph.new("hidden", (Dim("feed_forward", width), rows), mixed))
    return graph.over("sum", flat, graph.new("down", flat, hidden), graph.view(joined))


def rwkv6(block: Block, source: Tensor, states: tuple[Tensor, Tensor], first: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Time mixing of RWKV-6: its sum with the source, and its norm."""
    graph, slots, part, rows, width, get = block.graph, block.slots, block.part, block.rows, block.embedding, block.header.get
    cube, flat, (shift, state) = (width, part, slots), (width, rows), states
    normed = graph.new("norm", cube, graph.view(source))
    mixed = graph.over("shifted", cube, graph.new("shifted", cube, graph.view(shift), graph.view(normed)), normed)
    rank = Dim("mix_ranks", 5 * (get("time_mix_extra_dim") or 64))
    packed = graph.new("low_rank", (rank, rows), graph.over("shifted", flat, graph.new("shifted", flat, graph.view(mixed)), graph.view(normed)))
    five = graph.new("five", (*flat, 5), graph.new("low_rank", (rank, rows), graph.view(packed)))
    five = graph.over("five", five.lengths, graph.over("five", five.lengths, five, graph.view(mixed)), graph.view(normed))
    sides = [graph.view(graph.new(name, flat, graph.view(five))) for name in ("key", "value", "receptance")]
    decay = graph.new("decay", flat, graph.new("low_rank", (get("time_decay_extra_dim") or 64, rows), graph.view(five)))
    found = graph.new("scanned", (width, Dim("rows_and_states", rows + (get("wkv.head_size") or 64) * slots)), *sides, graph.view(decay), graph.view(state))
    graph.sink(graph.view(found))
    found = graph.new("hidden", flat, graph.view(graph.new("hidden", flat, graph.view(found))))
    found = graph.over("hidden", flat, found, graph.new("gate", flat, graph.view(five)))
    joined = graph.new("sum", cube, graph.view(graph.new("recurrent", flat, found)), graph.view(source))
    after = graph.new("norm", cube, joined)
    graph.sink(graph.view(graph.new("shifted", (width, 2, slots), graph.view(normed), graph.view(after))))
    return joined, after, first


def rwkv6_forward(block: Block, joined: Tensor, normed: Tensor, shift: Tensor, width: int, last: bool) -> Tensor:
    """Channel mixing of RWKV-6, with a receptance; the last layer goes on with the rows that have outputs."""
    graph, cube = block.graph, (block.embedding, block.part, block.slots)
    mixed, normed = graph.view(graph.new("shifted", cube, graph.view(shift), graph.view(normed))), graph.view(normed)
    mixed, normed = (block.last(mixed), block.last(normed)) if last else (mixed, normed)
    flat = (block.embedding, block.outputs if last else block.rows)
    mixed = graph.over("shifted", flat, mixed, normed)
    receptance = graph.new("receptance", flat, graph.over("shifted", flat, graph.over("shifted", flat, mixed), normed))
    key = graph.over("shifted", flat, graph.over("shifted", flat, mixed), normed)
    down = graph.new("down", flat, graph.new("hidden", (Dim("feed_forward", width), flat[1]), key))
    joined = graph.view(joined)
    return graph.over("sum", flat, graph.over("receptance", flat, receptance, down), block.last(joined) if last else joined)


def read_rwkv(block: Block) -> tuple[Tensor, Tensor]:
    """Shifted tokens and states of all slots."""
    count, head = block.header.get("token_shift_count") or 2, block.header.get("wkv.head_size") or 64
    shift = block.graph.new("states", (block.embedding, count, block.slots), copies(block))
    return shift, block.graph.new("states", (block.embedding, head, block.slots), copies(block))
