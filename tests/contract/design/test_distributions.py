"""The distributions that the role docker promises: every one has packages, and Compose v2 by one of them or as the pinned file."""
from __future__ import annotations

import re

from tree import ROOT, load

ROLE = ROOT / "roles" / "docker"
RELEASES = {"bookworm": "12", "trixie": "13", "jammy": "22", "noble": "24"}
FAMILIES = {"EL": "RedHat"}
# Packages that bring `docker compose`, by distribution. Debian's docker-compose is version 1 in bookworm and 2 from trixie on.
COMPOSE = {"Debian": "docker-compose", "Ubuntu": "docker-compose-v2", "RedHat": "docker-compose-plugin"}
ENGINE = {"Debian": "docker.io", "Ubuntu": "docker.io", "RedHat": "docker-ce"}
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")


def promised() -> set[str]:
    """Distribution and major version of each platform in the role's metadata, as the role names them."""
    platforms = load(ROLE / "meta" / "main.yml")["galaxy_info"]["platforms"]
    return {f"{FAMILIES.get(one['name'], one['name'])}-{RELEASES.get(version, version)}" for one in platforms for version in one["versions"]}


def test_every_promised_distribution_is_in_the_table() -> None:
    assert set(load(ROLE / "vars" / "main.yml")["__docker_platforms"]) == promised()


def test_every_distribution_gets_an_engine_and_compose() -> None:
    variables = load(ROLE / "vars" / "main.yml")
    for name, row in variables["__docker_platforms"].items():
        family = name.partition("-")[0]
        assert set(row) == {"packages", "compose"}, name
        assert all(PACKAGE.fullmatch(package) for package in row["packages"]), name
        assert ENGINE[family] in row["packages"], name
        assert row["compose"] is (COMPOSE[family] in row["packages"]), name
    assert variables["__docker_platforms"]["Debian-12"]["compose"] is False, "bookworm has Compose 1 only"


def test_the_pinned_compose_is_one_that_the_roles_work_with() -> None:
    variables = load(ROLE / "vars" / "main.yml")
    version, oldest = (tuple(map(int, variables[name].split("."))) for name in ("__docker_compose_release", "__docker_compose_oldest"))
    assert version >= oldest
    assert set(variables["__docker_compose_digests"]) == {"x86_64", "aarch64"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in variables["__docker_compose_digests"].values())


def test_the_readme_names_the_distributions() -> None:
    text = (ROLE / "README.md").read_text(encoding="utf-8")
    for words in ("Debian 12 and 13", "Ubuntu 22.04 and 24.04", "EL 9 and 10"):
        assert words in text
