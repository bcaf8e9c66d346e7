"""Names, addresses, options and the inventory of an instance."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from docker.errors import ImageNotFound

from tests.lab import __main__ as cli
from tests.lab import containers, hosts, instance, inventory, registry
from tests.lab.recipe import LabError
from tests.lab.recipes import RECIPES

GIB = instance.GIB


@pytest.fixture
def demo(tmp_path: Path) -> instance.Instance:
    return instance.load("demo", tmp_path)


def test_names_and_addresses(demo: instance.Instance) -> None:
    assert (demo.network, demo.container("lab1")) == ("localai-lab-demo", "localai-lab-demo-lab1")
    assert (demo.registry, demo.hub) == ("172.30.80.5:5000", "https://172.30.80.6")
    assert list(demo.hosts()) == [
        instance.Host("lab1", "172.30.80.11", 3 * GIB, 0.0, "trixie"), instance.Host("lab2", "172.30.80.12", 3 * GIB, 1.5, "bookworm")]


def test_options_are_kept_and_can_be_changed(tmp_path: Path) -> None:
    instance.load("mine", tmp_path, subnet="10.9.8.0/24", hosts=3, memory=(GIB,), cpus=None).save()
    again = instance.load("mine", tmp_path, hosts=1)
    assert again.options == instance.Options("10.9.8.0/24", 1, (GIB,), (0.0, 1.5))
    assert instance.known(tmp_path) == ["mine"]
    assert again.root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "given", "said"), [
    ("Demo", {}, "instance name 'Demo' cannot be used"),
    ("../x", {}, "cannot be used"),
    ("mine", {}, "has no subnet yet"),
    ("mine", {"subnet": "10.0.0.1/24"}, "is not one"),
    ("mine", {"subnet": "10.0.0.0/29"}, "too small"),
    ("mine", {"subnet": "fd00::/64"}, "not IPv4"),
    ("demo", {"hosts": 0}, "cannot have 0 servers"),
    ("demo", {"hosts": 41}, "cannot have 41 servers"),
    ("demo", {"memory": (1,)}, "at least 256 MiB"),
    ("demo", {"cpus": (-1.0,)}, "CPU quota"),
])
def test_what_cannot_be_is_a_sentence(tmp_path: Path, name: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(LabError, match=said):
        instance.load(name, tmp_path, **given)


def test_damaged_options_file(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "instance.json").write_text("{")
    with pytest.raises(LabError, match="is damaged"):
        instance.load("demo", tmp_path)


def test_write_tells_whether_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert [instance.write(path, "a", 0o600), instance.write(path, "a"), instance.write(path, "b")] == [True, False, True]
    assert (path.read_text(), [one.name for one in path.parent.iterdir()]) == ("b", ["file"])


def test_inventory(demo: instance.Instance) -> None:
    inventory.ensure(demo)
    groups = yaml.safe_load(demo.inventory.read_text())["localai"]["children"]
    assert groups == {
        "localai_server": {"hosts": {
            "lab1": {"ansible_host": "172.30.80.11"},
            "lab2": {"ansible_host": "172.30.80.12", "docker_engine_compose_url": "file:///root/lab/docker-compose"}}},
        "localai_gateway": {"hosts": {"lab1": None}},
    }
    text = (demo.inventory.parent / "group_vars" / "localai.yml").read_text()
    values = yaml.safe_load(text.replace("!unsafe ", ""))
    assert "${" not in text
    assert values["common_image_registry"] == "172.30.80.5:5000"
    assert values["docker_engine_registry_cas"] == [{"registry": "172.30.80.5:5000", "ca": str(demo.ca)}]
    assert values["models_wanted"][0]["template"]["chat"] == "{{ .Input }}\nassistant:"


def test_description_of_a_server_follows_its_limits_and_key(demo: instance.Instance, tmp_path: Path) -> None:
    first, second = demo.hosts()
    compose = tmp_path / "docker-compose"
    compose.write_bytes(b"compose")

    def made(host: instance.Host, key: str) -> containers.Part:
        return hosts.part(host, "image:1", key, compose)

    told = [made(host, key).description("s") for host, key in ((first, "a"), (first, "a"), (first, "b"), (second, "a"))]
    assert (told[0] == told[1], len(set(told))) == (True, 3)
    assert made(second, "a").options["nano_cpus"] == 1_500_000_000
    assert "nano_cpus" not in made(first, "a").options
    assert made(second, "a").files[hosts.COMPOSE] == (b"compose", 0o644)
    assert hosts.COMPOSE not in made(first, "a").files


def test_publications_have_the_products_names(tmp_path: Path) -> None:
    made = {one.repository: one for one in registry.publications({"LAB_LOCALAI_IMAGE": "real:1", "LAB_LOCALAI_BACKEND_IMAGE": "engine:1"})}
    assert set(made) == {"go-skynet/local-ai", "go-skynet/local-ai-backends", "library/nginx"}
    assert made["go-skynet/local-ai"].source == "real:1"
    assert made["library/nginx"].source == RECIPES["nginx"].tag == registry.image("nginx", {})
    assert registry.replaced({"LAB_LOCALAI_IMAGE": "real:1", "LAB_LOCALAI_BACKEND_IMAGE": ""}) == {"localai"}


class Pulled:
    """An engine that has these images."""

    def __init__(self, *names: str) -> None:
        self.names, self.images = names, self

    def get(self, name: str) -> str:
        if name not in self.names:
            raise ImageNotFound(name)
        return name


REAL = {
    "LAB_LOCALAI_IMAGE": "quay.io/go-skynet/local-ai:v4.9.0",
    "LAB_LOCALAI_BACKEND_IMAGE": "quay.io/go-skynet/local-ai-backends:v4.9.0-cpu-llama-cpp",
}


@pytest.mark.parametrize(("pulled", "given", "used", "said"), [
    ((), {}, {}, ""),
    (tuple(REAL.values()), {}, REAL, "the real one, because the engine has quay.io/go-skynet/local-ai:v4.9.0 and quay.io"),
    (tuple(REAL.values())[:1], {}, {}, "lacks quay.io/go-skynet/local-ai-backends:v4.9.0-cpu-llama-cpp"),
    (tuple(REAL.values()), {name: "other:1" for name in REAL}, {name: "other:1" for name in REAL}, ""),
])
def test_the_real_localai_is_used_where_somebody_pulled_it(pulled: tuple[str, ...], given: dict[str, str], used: dict[str, str], said: str) -> None:
    told: list[str] = []
    assert registry.sources(Pulled(*pulled), given, told.append) == used  # type: ignore[arg-type]
    assert (len(told), said in "".join(told)) == (bool(said), True)


def test_an_image_that_the_lab_lacks_is_a_sentence(tmp_path: Path) -> None:
    versions = tmp_path / "main.yml"
    versions.write_text("__common_images: {other: {name: a/b/c, version: 1}}")
    with pytest.raises(LabError, match="names the image other, which the lab does not have"):
        registry.publications({}, versions)


@pytest.mark.parametrize(("text", "sizes"), [("3g", (3 * GIB,)), ("3g,512m", (3 * GIB, GIB // 2)), ("1.5g", (GIB * 3 // 2,))])
def test_memory_option(text: str, sizes: tuple[int, ...]) -> None:
    assert cli._memory(text) == sizes


@pytest.mark.parametrize("text", ["3x", "g", "", "3"])
def test_wrong_memory_option_ends_with_a_usage_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["up", "--memory", text])
    assert "is not a size as 3g or 2500m" in capsys.readouterr().err


def test_suites_option(tmp_path: Path) -> None:
    assert cli._suites("bookworm,trixie") == ("bookworm", "trixie")
    mine = instance.load("mine", tmp_path, subnet="10.9.8.0/24", hosts=3, suites=("bookworm",))
    assert {host.suite for host in mine.hosts()} == {"bookworm"}


def test_a_suite_that_the_lab_lacks_ends_with_a_usage_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["up", "--suites", "trixie,sid"])
    assert "sid: the lab has servers of trixie, bookworm" in capsys.readouterr().err


def test_an_error_is_one_line_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--instance", "nobody-has-this"]) == 1
    assert capsys.readouterr().err.startswith("lab: The instance nobody-has-this has no subnet yet")


def test_half_of_localai_is_refused() -> None:
    with pytest.raises(LabError, match="Only LAB_LOCALAI_BACKEND_IMAGE is set"):
        registry.publications({"LAB_LOCALAI_BACKEND_IMAGE": "engine:1"})
