"""The page: well-formed, complete, escaped, readable in both colour schemes."""
from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_diff, _plan_html
from plans import GIB, host, instance, model, plan

HOSTILE = "</style><script>alert('x')</script>\"&\x07\ud800'"
REFUSAL = {"model": "too-big", "host": "ai1", "reason": "too-big needs 9.0 GiB", "short_by": 5 * GIB, "fits_with": {"slots": 1}, "fits_on": ["ai9"]}
WORKER = {"model": "big", "layers": 4, "cpuset": "0-3", "cpus": 2.5, "threads": 2, "memory_limit": GIB, "memory_planned": GIB}
SHARD = {"server": "ai1", "workers": ["ai2"], "gpu_layers": 4, "tensor_split": "1,3", "bytes_per_token": 16384, "network_milliseconds": None}


def parsed(html: str) -> ElementTree.Element:
    start, rest = html.split("\n", 1)
    assert start == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def words(element: ElementTree.Element) -> str:
    return " ".join(" ".join(text for part in element.iter() if part.tag != "style" for text in (part.text or "", part.tail or "")).split())


def everything() -> dict[str, Any]:
    both = instance(model(expected_tokens_per_second=12.5), model("n", context=32768), name="localai-node1", node=1, cpuset="4-7", max_active=2)
    hosts = {"ai1": host(instance(model("on-demand"), name="localai-ondemand", residency="on_demand", max_active=1), both), "ai2": host(workers=[WORKER])}
    return plan(hosts, refused=[REFUSAL], unmet=["too-big"], shards={"big": SHARD}, advice=["m: a hint"],
                warnings=[{"host": name, "message": "has swap"} for name in ("ai1", "ai2", "ai1")])


def test_the_page_says_everything_the_plan_says() -> None:
    told = words(parsed(_plan_html.page(everything(), (), ["What if: two more hosts"])))
    for part in ("2 hosts, 3 models, replicated", "1 refusal below", "What if: two more hosts", "too-big needs 9.0 GiB", "5.0 GiB", "slots 1", "ai9",
                 "nothing would change", "NUMA node 1", "pinned to CPUs 4-7", "Instance localai-ondemand , models on demand", "at most 1 model loaded at once",
                 "CPU limit 3.5 cores", "LOCALAI_THREADS 3", "1,048,576,000 bytes", "80 % of the files", "32768", "12.5", "gpt-4", "Worker", "0-3",
                 "1,3", "16384", "not measured", "ai1, ai2 : has swap", "m: a hint", "KV cache", "Reserved", "3 of 4"):
        assert re.sub(r" ([,:])", r"\1", part) in re.sub(r" ([,:])", r"\1", told), part


@pytest.mark.parametrize("changes, said", [
    (None, "What is deployed is not known here."), ((), "nothing would change"),
    (_plan_diff.changes({}, plan()), "m added ai1"),
    (_plan_diff.changes(plan(), plan({"ai1": host(instance(model(context=8192)))})), "context 4096 → 8192")])
def test_what_changes_is_told(changes: Any, said: str) -> None:
    assert said in words(parsed(_plan_html.page(plan(), changes)))


def test_no_name_can_leave_its_place() -> None:
    entry = host(instance(model(HOSTILE, aliases=[HOSTILE], kv_type=HOSTILE), name=HOSTILE, cpuset=HOSTILE), workers=[{**WORKER, "model": HOSTILE}])
    bad = plan({HOSTILE: entry}, topology=HOSTILE, shards={HOSTILE: {**SHARD, "server": HOSTILE}}, advice=[HOSTILE], unmet=[HOSTILE],
               warnings=[{"host": HOSTILE, "message": HOSTILE}],
               refused=[{"model": HOSTILE, "host": HOSTILE, "reason": HOSTILE, "short_by": 1, "fits_with": {HOSTILE: HOSTILE}}])
    html = _plan_html.page(bad, _plan_diff.changes({}, bad), [HOSTILE], title=HOSTILE)
    root = parsed(html)
    assert not {element.tag for element in root.iter()} & {"script", "img", "link", "iframe"} and html.count("</style>") == 1
    assert words(root).count("alert('x')") > 15
    html.encode("utf-8")


def test_nothing_comes_from_outside_and_nothing_runs() -> None:
    root = parsed(_plan_html.page(everything()))
    for element in root.iter():
        assert not {name for name in element.attrib if name in ("src", "srcset", "action", "background") or name.startswith("on")}
        assert element.get("href", "#").startswith("#")
    assert "url(" not in _plan_html.STYLE and "@import" not in _plan_html.STYLE


def test_browsers_see_the_elements_that_xml_sees() -> None:
    html, seen = _plan_html.page(everything()), []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: seen.append(tag)
    reader.feed(html)
    assert seen == [element.tag for element in parsed(html).iter()]


def test_tables_have_heads_and_links_have_ends() -> None:
    root = parsed(_plan_html.page(everything()))
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert {element.get("href", "")[1:] for element in root.iter("a")} == ids == {"host-0", "host-1"}
    for table in root.iter("table"):
        width = len(table.findall("thead/tr/*"))
        assert all(head.get("scope") == "col" and head.text for head in table.findall("thead/tr/th"))
        for row in table.findall("tbody/tr"):
            assert len(row) == width and [cell.get("scope") for cell in row.findall("th")] == ["row"]


def test_bars_say_in_words_what_they_show_and_fill_their_width() -> None:
    bars = [element for element in parsed(_plan_html.page(everything())).iter("div") if element.get("role") == "img"]
    assert len(bars) == 4
    for drawn in bars:
        assert "KV cache" in drawn.get("aria-label", "") or "Workers" in drawn.get("aria-label", "")
        assert sum(float(part.get("style", "").split(":")[1].rstrip("%")) for part in drawn) == pytest.approx(100, abs=0.1)


def luminance(colour: str) -> float:
    parts = [int(colour[index:index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def full(colour: str) -> str:
    return colour if len(colour) == 7 else "#" + "".join(2 * letter for letter in colour[1:])


def test_colours_have_contrast_enough_in_light_and_in_dark() -> None:
    schemes = [dict(re.findall(r"--(\w+):(#[0-9a-f]+)", line)) for line in _plan_html.STYLE.splitlines() if "--paper:" in line]
    assert len(schemes) == 2
    for scheme in schemes:
        paper = full(scheme["paper"])
        assert min(contrast(full(scheme[name]), paper) for name in ("ink", "soft", "mark", "good")) >= 4.5
        assert min(contrast(colour, paper) for colour in _plan_html.COLOURS.values()) >= 3
    assert min(contrast(colour, "#ffffff") for colour in _plan_html.COLOURS.values()) >= 4.5


def test_a_large_fleet_is_a_table_with_its_hosts_folded() -> None:
    root = parsed(_plan_html.page(plan({f"ai{index}": host(instance()) for index in range(300)}), ()))
    folds = [element for element in root.iter("details") if element.find("div[@id]") is not None]
    assert len(folds) == 300 and not any(fold.get("open") or fold.get("id") for fold in folds)  # what a link leads into is unfolded
    assert "300: ai0, ai1, ai2, ai3, ai4 and 295 more" in words(root)


def test_a_small_fleet_is_unfolded_and_an_empty_one_is_a_page() -> None:
    assert [element.get("open") for element in parsed(_plan_html.page(plan())).iter("details")] == ["open"]
    assert "0 models" in words(parsed(_plan_html.page(plan({"ai1": host()}))))


def test_a_model_that_is_split_tells_what_its_workers_hold() -> None:
    shared = plan({"ai1": host(instance(model("big"))), "w1": host(workers=[WORKER]), "w2": host(workers=[{**WORKER, "memory_planned": 3 * GIB}])})
    assert "66 MiB here, 4.0 GiB on workers 800 MiB here" in words(parsed(_plan_html.page(shared)))
    assert "66 MiB 800 MiB" in words(parsed(_plan_html.page(plan())))


def test_a_small_bar_has_letters_only_where_they_have_room() -> None:
    drawn = [part.text for part in parsed(_plan_html.page(plan())).iter("i")]
    half = len(drawn) // 2
    assert ("SV" in drawn[:half], "SV" in drawn[half:]) == (False, True) and "FI" in drawn[:half] and None in drawn[half:]


def test_a_model_without_a_place_is_told() -> None:
    assert "too-big nowhere" in words(parsed(_plan_html.page(plan(placement={"too-big": []}))))


def test_long_lists_are_folded_with_their_length() -> None:
    root = parsed(_plan_html.page(plan(refused=[{**REFUSAL, "host": f"ai{index}"} for index in range(40)])))
    assert "40 refusals" in [element.text for element in root.iter("summary")]


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert _plan_html.page(everything(), (), ["n"]) == _plan_html.page(everything(), (), ["n"])
