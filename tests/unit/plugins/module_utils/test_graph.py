"""The allocator of ggml, replayed: what is reused, what is never free, and the formula of what lay in the buffer."""
from __future__ import annotations

from ansible_collections.localai.fleet.plugins.module_utils._graph import Dim, Graph, explained, replay

ROWS, WIDE = Dim("rows", 4), Dim("wide", 8)


def test_a_node_takes_the_smallest_free_block_that_fits() -> None:
    graph = Graph()
    small, large = graph.leaf("small", ROWS, WIDE), graph.leaf("large", ROWS, WIDE, 4)
    kept = graph.leaf("kept", ROWS, WIDE)
    kept.unread = True
    graph.new("result", (1,), graph.new("first", (1,), small), graph.new("second", (1,), large))
    after = graph.new("after", (ROWS, WIDE))
    size, dummy = replay(graph)
    assert size == 128 + 512 + 128 + 32  # `first` is at the end: all are still needed
    assert after.offset == 64  # behind `second`, which went to the room of `small`, and `result`


def test_what_works_in_place_needs_no_room_unless_its_source_is_still_read() -> None:
    graph = Graph()
    source = graph.leaf("source", ROWS, WIDE)
    same = graph.over("same", source.lengths, source)
    copy = graph.over("copy", source.lengths, same)
    graph.new("both", (1,), copy, same)
    size, dummy = replay(graph)
    assert size == 2 * 4 * 4 * 8 + 32 and same.offset == source.offset == 0 and copy.offset == 128


def test_a_view_keeps_its_root_and_is_not_taken_over() -> None:
    graph = Graph()
    source = graph.leaf("source", ROWS, WIDE)
    viewed = graph.view(source)
    added = graph.over("added", source.lengths, viewed)
    graph.sink(added)
    assert replay(graph)[0] == 2 * 128 and added.offset == 128


def test_the_formula_of_the_largest_moment_is_its_size() -> None:
    graph = Graph()
    first, second = graph.leaf("first", ROWS, WIDE), graph.leaf("second", ROWS, WIDE)
    graph.new("third", (ROWS, 2), first, second)
    found = explained(*replay(graph))
    assert (found.value, found.text, found.numbers) == (288, "8 * rows * wide + 4 * rows * 2", "8 * 4 * 8 + 4 * 4 * 2")
