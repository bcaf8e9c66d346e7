"""What all filters share: an engine's error as a sentence, and engines that nobody asked stay where they are."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.plugin_utils import _filters

ROOT = Path(__file__).resolve().parents[4]
LOADED = """
import sys
from pathlib import Path
from ansible.plugins.loader import filter_loader, init_plugin_loader
init_plugin_loader(sys.argv[1:])
assert filter_loader.get("localai.fleet.verdict")
print(*(f"{name} {Path(module.__file__).stat().st_size}" for name, module in sys.modules.items() if name.startswith(
    "ansible_collections.localai.fleet.plugins.module_utils.")), sep="\\n")
"""


def divide(number: int, by: int = 1) -> int:
    if not by:
        raise FleetError("Nothing divides by this", "by", "0", "Choose another.")
    return number // by


def test_arguments_and_result_pass() -> None:
    assert _filters.told(divide)(6, by=2) == 3


def test_the_sentence_is_ansibles_and_the_engines() -> None:
    with pytest.raises(AnsibleFilterError, match="Nothing divides by this") as error:
        _filters.told(divide)(6, 0)
    assert isinstance(error.value.__cause__, FleetError)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(TypeError):
        _filters.told(divide)("six", 2)


def test_to_find_one_filter_loads_no_heavy_engine() -> None:
    """Each worker whose task uses a filter loads all files of filters: the engines are 0.9 MB of source, which it would compile every time."""
    done = subprocess.run([sys.executable, "-c", LOADED, ROOT / ".ansible" / "collections"], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.rpartition(".")[2]: int(size) for name, size in map(str.split, done.stdout.splitlines())}
    assert "_verdict" in loaded and sum(loaded.values()) < 100_000, loaded
