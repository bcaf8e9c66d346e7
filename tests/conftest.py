"""Makes the checkout importable as `ansible_collections.localai.fleet` and runs modules in-process."""
from __future__ import annotations

import importlib
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.testing import patch_module_args
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[1]


def _collections_path() -> str:
    """A collections path whose localai/fleet is this checkout (a link; ansible-test alone needs a copy)."""
    base = ROOT / ".ansible" / "collections"
    link = base / "ansible_collections" / "localai" / "fleet"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        try:
            link.symlink_to(ROOT, target_is_directory=True)
        except FileExistsError:  # another worker of the same run was faster
            pass
    return str(base)


_AnsibleCollectionFinder(paths=[_collections_path()])._install()


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run one module of the collection in this process and return what it printed.

    `run_module(name, args, check=False, diff=True)`; the result has `failed: True` when it failed.
    """

    def run(name: str, args: dict[str, Any], check: bool = False, diff: bool = True) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.localai.fleet.plugins.modules.{name}")
        out = io.StringIO()
        full = {**args, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}
        with monkeypatch.context() as patch, patch_module_args(full), redirect_stdout(out), pytest.raises(SystemExit):
            # Tests of plugins load controller code into this process, which would take a module's warnings for itself.
            patch.setattr(_internal, "is_controller", False)
            module.main()
        return json.loads(out.getvalue())

    return run
