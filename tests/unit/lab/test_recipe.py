"""Recipes: what a tag depends on, and that the recipes of the lab can be built."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.recipe import LabError, Recipe
from tests.lab.recipes import RECIPES

BASE = Recipe("web", "trixie", ("nginx",), files={"/etc/web.conf": (b"a", 0o644)}, command=("web",))


@pytest.mark.parametrize("change", [
    {"suite": "forky"}, {"packages": ("nginx", "curl")}, {"hooks": ("true",)}, {"offers": ("jq",)}, {"subtree": "/web"},
])
def test_what_changes_the_package_layer(change: dict[str, object]) -> None:
    other = replace(BASE, **change)
    assert (other.package_tag != BASE.package_tag, other.tag != BASE.tag) == (True, True)


@pytest.mark.parametrize("change", [
    {"files": {"/etc/web.conf": (b"b", 0o644)}}, {"files": {"/etc/web.conf": (b"a", 0o600)}}, {"links": {"/etc/x": "/etc/y"}}, {"command": ("sh",)},
    {"entrypoint": ("sh",)}, {"env": {"A": "1"}}, {"volumes": ("/data",)}, {"ports": ("80/tcp",)}, {"user": "1000"}, {"workdir": "/srv"},
    {"stop_signal": "SIGQUIT"}, {"labels": {"a": "b"}},
])
def test_what_changes_the_image_only(change: dict[str, object]) -> None:
    other = replace(BASE, **change)
    assert (other.package_tag == BASE.package_tag, other.tag != BASE.tag) == (True, True)


def test_order_of_packages_does_not_matter() -> None:
    assert replace(BASE, packages=("a", "b")).tag == replace(BASE, packages=("b", "a")).tag


def test_content_of_a_source_file_matters_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"a")
    assert replace(BASE, files={"/etc/web.conf": (tmp_path / "one", 0o644)}).tag == BASE.tag


def test_missing_source_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="image web: the source of /x cannot be read"):
        replace(BASE, files={"/x": (tmp_path / "none", 0o644)}).file_digests()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_recipe_of_the_lab_is_buildable(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.suite in ("bookworm", "trixie", "forky")
    assert recipe.command or recipe.entrypoint
    assert images.write_files(recipe, tmp_path / "files.tar").exists()


def test_shared_package_layers_are_really_the_same() -> None:
    for recipe in RECIPES.values():
        if recipe.layer:
            assert recipe.package_tag == RECIPES[recipe.layer].package_tag
