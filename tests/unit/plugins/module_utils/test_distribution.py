"""Who fetches what from whom: lines of hosts, one a site and one a holder."""
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.localai.fleet.plugins.module_utils._distribution import distribute, peers

A, B = "a" * 64, "b" * 64
SIZES = {A: 1000, B: 10}


def host(wanted: str = A, has: str = "", partial: int = 0, mode: str = "seed", site: str = "office") -> dict[str, Any]:
    """A host that wants some blobs, has some whole, and so many bytes of the first one."""
    found = [{"path": f"/s/gguf/{digit * 64}.gguf", "size": SIZES[digit * 64]} for digit in has]
    found += [{"path": f"/s/gguf/.partial/{wanted[:64]}.gguf.part", "size": partial}] if partial else []
    files = [{"name": "m", "sha256": sha256, "size": SIZES[sha256], "url": "https://h/x"} for sha256 in (A, B) if sha256 in wanted]
    return {"mode": mode, "site": site, "files": files, "found": found}


def asks(shared: dict[str, Any], sha256: str = A) -> dict[str, str]:
    """By host whom it asks for a blob; those that are not worth waiting for in parentheses."""
    return {
        name: " ".join(link["host"] if link["waits"] else f"({link['host']})" for link in entry["peers"][sha256])
        for name, entry in shared["hosts"].items() if sha256 in entry["peers"]
    }


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        ({}, {}),
        ({"h1": host()}, {}),
        ({"h1": host(has="a"), "h2": host(has="a")}, {}),
        ({"h1": host(), "h2": host()}, {"h2": "h1"}),
        ({f"h{n}": host() for n in range(1, 7)}, {"h2": "h1", "h3": "h2 h1", "h4": "h3 h2 h1", "h5": "h4 h3 h1", "h6": "h5 h4 h2 h1"}),
        ({"h1": host(), "h2": host(has="a"), "h3": host()}, {"h1": "h2", "h3": "h1 h2"}),
        ({"h1": host(has="a"), "h2": host(has="a"), **{f"h{n}": host() for n in (3, 4, 5)}},
         {"h3": "h1 (h2)", "h4": "h2 (h1)", "h5": "h3 h1 (h2)"}),
        ({"h1": host(wanted=B, has="ba"), "h2": host()}, {"h2": "h1"}),
        ({"h1": host(), "h2": host(partial=400), "h3": host(partial=100)}, {"h1": "(h2)", "h2": "h1", "h3": "h2 h1"}),
        ({"h1": host(), "h2": host(), "h3": host(partial=9)}, {"h1": "(h3)", "h2": "h1 (h3)", "h3": "h2 h1"}),
        ({"h1": host(site="x"), "h2": host(site="y"), "h3": host(site="x")}, {"h3": "h1"}),
        ({"h1": host(has="a", site="x"), "h2": host(site="y")}, {}),
        ({"h1": host(has="a", mode="direct"), "h2": host(), "h3": host(mode="mirror")}, {}),
    ],
)
def test_lines(stores: dict[str, Any], expected: dict[str, str]) -> None:
    assert asks(distribute(stores)) == expected


def test_a_host_waits_for_hosts_before_it_only() -> None:
    """No circle of waiting, however long the line is and whatever is left of earlier runs."""
    stores = {f"h{n}": host(partial=(n * 37) % 50) for n in range(40)}
    order = list(stores)
    for name, entry in distribute(stores)["hosts"].items():
        for link in entry["peers"].get(A, []):
            assert link["host"] != name
            assert not link["waits"] or order.index(link["host"]) < order.index(name)


@pytest.mark.parametrize("count", [2, 8, 300])
def test_few_are_asked(count: int) -> None:
    shared = distribute({f"h{n}": host() for n in range(count)})["hosts"]
    assert max(len(entry["peers"].get(A, [])) for entry in shared.values()) <= count.bit_length() + 1
    assert [name for name, entry in shared.items() if not entry["peers"]] == ["h0"], "one host asks the source"


def test_a_host_offers_what_it_is_asked_for() -> None:
    shared = distribute({"h1": host(wanted=A + B, has="b"), "h2": host(wanted=A + B), "h3": host(wanted=B)})["hosts"]
    assert shared["h1"]["offers"] == [{"sha256": A, "size": 1000, "coming": True}, {"sha256": B, "size": 10, "coming": False}]
    assert shared["h2"]["offers"] == [{"sha256": B, "size": 10, "coming": True}]
    assert shared["h3"]["offers"] == []
    assert asks({"hosts": shared}, B) == {"h2": "h1", "h3": "h2 h1"}


def test_the_controller_fetches_each_blob_once() -> None:
    stores = {"h1": host(mode="controller"), "h2": host(wanted=A + B, mode="controller"), "h3": host(wanted=B, mode="direct")}
    shared = distribute(stores)
    assert [file["sha256"] for file in shared["controller"]] == [A, B]
    assert all(entry == {"offers": [], "peers": {}} for entry in shared["hosts"].values())
    assert distribute({"h1": host(mode="controller", has="a")})["controller"] == []


def test_peers_are_hosts_whose_service_runs() -> None:
    links = [{"host": name, "waits": name == "h1"} for name in ("h1", "h2", "h3")]
    services = {"h1": {"address": "192.0.2.1", "port": 8710, "secret": "s", "pid": 7}, "h2": {"skipped": True}}
    assert peers(links, services) == [{"name": "h1", "waits": True, "address": "192.0.2.1", "port": 8710, "secret": "s"}]
