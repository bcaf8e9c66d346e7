from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


@pytest.mark.parametrize("parts, text", [
    (("It is wrong", "here", "this", "Do that."), "It is wrong (here): got this. Do that."),
    (("It is wrong",), "It is wrong."), (("It is wrong.",), "It is wrong."),
    (("It is wrong", "", "not found.", "Do that."), "It is wrong: got not found. Do that."),
    (("It is wrong", "../models/x.gguf", "bytes 0..9", "See http://.../x."), "It is wrong (../models/x.gguf): got bytes 0..9. See http://.../x.")])
def test_the_sentence_tells_its_parts_as_they_are(parts: tuple[str, ...], text: str) -> None:
    assert str(FleetError(*parts)) == text


def test_what_was_got_is_cut_where_it_is_a_whole_file() -> None:
    long = FleetError("It is wrong", "here", "x" * 5000, "Do that.")
    assert str(long) == f"It is wrong (here): got {'x' * 600} … (5000 characters). Do that." and long.as_dict()["got"] == long.got
    assert FleetError("It is wrong", got="x" * 600).got == "x" * 600
