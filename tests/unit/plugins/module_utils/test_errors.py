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
