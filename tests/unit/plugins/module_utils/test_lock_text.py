"""The lock's YAML: stable, readable, and strict about what a bad merge leaves."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _lock_text
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

DATA = {
    "schema": 1,
    "b": {"files": [{"path": "x.gguf", "size": 1, "sha256": "aa", "url": None}], "layers": [1, 2, 3], "version": "1.30", "empty": []},
    "a": {"tensors": [{"type": 12, "count": 3}, {"type": 14, "count": 1}], "commit": "1" * 40},
}
TEXT = """---
# managed by localai.fleet; commit me
a:
  commit: '1111111111111111111111111111111111111111'
  tensors:
    - {count: 3, type: 12}
    - {count: 1, type: 14}
b:
  empty: []
  files:
    - path: x.gguf
      sha256: aa
      size: 1
      url: null
  layers: [1, 2, 3]
  version: '1.30'
schema: 1
"""


def test_text_of_data():
    assert _lock_text.render(DATA) == TEXT


def test_data_of_text():
    assert _lock_text.parse(TEXT, "x") == DATA


@pytest.mark.parametrize("text", ["", "---\n", "# only a comment\n"])
def test_nothing(text):
    assert _lock_text.parse(text, "x") is None


def test_shared_parts_are_written_out():
    part = {"x": "y"}
    assert "&" not in _lock_text.render({"a": part, "b": part})


@pytest.mark.parametrize("text, words", [
    ("a: 1\na: 2\n", ("f.yml, line 2", "a is given twice")),
    ("models:\n  m: {x: 1, x: 2}\n", ("line 2", "x is given twice")),
    ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\n", ("line", "version of the last commit")),
    ("a: [1\n", ("line",)),
    ("a: !!python/object/apply:os.getcwd []\n", ("cannot be read", "line 1")),
])
def test_bad_text_is_a_sentence(text, words):
    with pytest.raises(FleetError) as error:
        _lock_text.parse(text, "f.yml")
    for word in words:
        assert word in str(error.value)


def test_without_pyyaml(monkeypatch):
    monkeypatch.setattr(_lock_text, "yaml", None)
    with pytest.raises(FleetError, match="PyYAML is missing"):
        _lock_text.render({})
