"""What the rules look at: the files of the checkout, parsed once."""
from __future__ import annotations

import ast
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
PHASES = ("preflight", "install", "configure", "service", "verify")
INTERNAL_ROLES = {"common"}


@lru_cache(maxsize=None)
def tracked() -> tuple[Path, ...]:
    """Files that git knows or would add, so that a rule sees a file before its first commit."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    return tuple(sorted(ROOT / name for name in names if name and (ROOT / name).is_file()))


def under(*folders: str, suffix: str = "") -> list[Path]:
    """Tracked files below any of the folders (relative to the root) whose name ends in `suffix`."""
    bases = tuple(ROOT / folder for folder in folders)
    return [p for p in tracked() if p.name.endswith(suffix) and any(base in p.parents for base in bases)]


def short(path: Path) -> str:
    """The path as people name it, from the root of the checkout."""
    return str(path.relative_to(ROOT))


def load(path: Path) -> Any:
    """The YAML document of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=None)
def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def roles() -> list[str]:
    """Names of the roles."""
    return sorted(p.name for p in (ROOT / "roles").iterdir() if p.is_dir())


def service_roles() -> list[str]:
    """Roles that run something on a host, all of one shape."""
    return [name for name in roles() if name not in INTERNAL_ROLES]


def engines() -> list[Path]:
    """The pure half of plugins/module_utils."""
    return [p for p in under("plugins/module_utils", suffix=".py") if p.name not in {"_glue.py", "__init__.py"}]


def modules() -> list[Path]:
    """The modules of the collection."""
    return [p for p in under("plugins/modules", suffix=".py") if p.name != "__init__.py"]


def tasks(block: Any) -> list[dict[str, Any]]:
    """Every task of a task list, those inside blocks included."""
    found: list[dict[str, Any]] = []
    for task in block or []:
        inner = [task[key] for key in ("block", "rescue", "always") if key in task]
        if inner:
            for part in inner:
                found.extend(tasks(part))
        else:
            found.append(task)
    return found
