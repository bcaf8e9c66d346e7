"""The two layers and the archive that the engine loads: the same bytes for the same contents, and nothing that breaks a Debian tree."""
from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import images, mirror
from tests.lab.recipe import LabError, Recipe

RECIPE = Recipe("web", "trixie", ("nginx", "curl"), files={"/etc/web/a.conf": (b"a", 0o640), "/srv/run": (b"#!", 0o755)}, links={"/etc/web/b": "a.conf"})
MIRROR = "http://archive.example/debian"


def entries(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {entry.name: entry for entry in tar}


def test_layer_of_files_is_reproducible(tmp_path: Path) -> None:
    turned = replace(RECIPE, files=dict(reversed(list(RECIPE.files.items()))))
    assert images.write_files(RECIPE, tmp_path / "a").read_bytes() == images.write_files(turned, tmp_path / "b").read_bytes()


def test_layer_of_files_has_directories_modes_and_links(tmp_path: Path) -> None:
    found = entries(images.write_files(RECIPE, tmp_path / "a"))
    shown = {name: (entry.type, entry.mode) for name, entry in found.items()}
    assert shown == {
        "etc": (tarfile.DIRTYPE, 0o755), "etc/web": (tarfile.DIRTYPE, 0o755), "srv": (tarfile.DIRTYPE, 0o755),
        "etc/web/a.conf": (tarfile.REGTYPE, 0o640), "srv/run": (tarfile.REGTYPE, 0o755), "etc/web/b": (tarfile.SYMTYPE, 0o777),
    }
    assert {entry.mtime for entry in found.values()} == {images.EPOCH}
    assert {(entry.uid, entry.gid) for entry in found.values()} == {(0, 0)}


@pytest.mark.parametrize(("path", "subtree", "fine"), [
    ("/lib/x.so", "/", False), ("/bin/x", "/", False), ("etc/x", "/", False), ("/usr/lib/x.so", "/", True), ("/lib/x.so", "/export", True),
    ("/library", "/", True),
])
def test_merged_directories_are_refused(path: str, subtree: str, fine: bool) -> None:
    recipe = replace(RECIPE, subtree=subtree)
    if fine:
        images.refuse_merged(recipe, [path])
    else:
        with pytest.raises(LabError, match=f"image web: {path} must be absolute and below /usr"):
            images.refuse_merged(recipe, [path])


def test_archive_names_layers_and_leaves_out_what_the_engine_has(tmp_path: Path) -> None:
    layer = images.write_files(RECIPE, tmp_path / "files")
    out = images.write_archive("lab/web:1", {"Cmd": ["web"]}, [("sha256:aa", None), ("sha256:bb", layer)], tmp_path / "load")
    with tarfile.open(out) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(tar.extractfile("config.json"))  # type: ignore[arg-type]
        names = tar.getnames()
    assert manifest == [{"Config": "config.json", "RepoTags": ["lab/web:1"], "Layers": ["aa.tar", "bb.tar"]}]
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:aa", "sha256:bb"]}
    assert (config["config"], config["created"]) == ({"Cmd": ["web"]}, images.CREATED)
    assert names == ["config.json", "manifest.json", "bb.tar"]


def test_bootstrap_of_a_whole_tree(tmp_path: Path) -> None:
    command = images.bootstrap_command(RECIPE, tmp_path / "tree.tar", MIRROR, ['Acquire::http::Proxy "http://proxy.example:3128"'])
    assert command[-3:] == ["trixie", str(tmp_path / "tree.tar"), f"deb {MIRROR} trixie main"]
    assert {"--include=nginx,curl", "--format=tar", '--aptopt=Acquire::http::Proxy "http://proxy.example:3128"'} <= set(command)


def test_bootstrap_of_a_part_of_a_tree(tmp_path: Path) -> None:
    command = images.bootstrap_command(replace(RECIPE, subtree="/export"), tmp_path / "tree.tar", MIRROR)
    assert command[-2] == "/dev/null"
    assert any(word.startswith("--customize-hook=tar ") and '-C "$1/export"' in word for word in command)


def test_offers_are_fetched_before_and_listed_after_the_clean_up(tmp_path: Path) -> None:
    command = images.bootstrap_command(replace(RECIPE, offers=("jq",), hooks=("true",)), tmp_path / "tree.tar", MIRROR)
    hooks = [word.partition("=")[2] for word in command if word.startswith("--customize-hook=")]
    assert ["install jq" in hooks[0], hooks[1] == "true", "lab.list" in hooks[3]] == [True, True, True]


@pytest.mark.parametrize(("targets", "chosen"), [
    ("Debian|Debian-Security|http://a/debian-security/\nDebian|Debian|http://a/debian/\n", "http://a/debian"),
    ("Debian|Debian|https://mirror.example/debian\nDebian|Debian|http://b/debian\n", "https://mirror.example/debian"),
    ("||http://a/debian-security/\n||http://a/debian/\n", "http://a/debian"),
    ("Ubuntu|Ubuntu|http://a/ubuntu/\n", ""),
    ("", ""),
])
def test_choose_mirror(targets: str, chosen: str) -> None:
    assert mirror.choose(targets) == chosen


def test_mirror_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DEBIAN_MIRROR", MIRROR)
    assert mirror.debian_mirror() == MIRROR
