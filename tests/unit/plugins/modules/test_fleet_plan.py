from __future__ import annotations

import json
import re
import stat
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _tuning
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup

Run = Callable[..., dict[str, Any]]
GIB = 1 << 30
SHA = "ab" * 32


def capacity(memory: int = 16 * GIB, cores: int = 4) -> dict[str, Any]:
    return {
        "schema": 1, "arch": "x86_64", "isa": ["avx", "avx2"], "cpu_model": "test", "logical_cpus_online": cores, "allowed_cpus": list(range(cores)),
        "physical_cores_allowed": cores, "performance_cores_allowed": cores, "usable_cores": cores, "smt": False, "sockets": 1, "numa_nodes": [],
        "quota_cores": None, "memory_total_bytes": memory, "memory_limit_bytes": None, "memory_available_bytes": memory,
        "memory_used_by_deployment_bytes": 0, "hugepages_reserved_bytes": 0, "swap_total_bytes": 0, "memory_channels": None,
        "store_free_bytes": None, "virtualization": "vm"}


def lock(*names: str) -> dict[str, Any]:
    keys = {"block_count": 16, "embedding_length": 2048, "feed_forward_length": 8192, "attention.head_count": 32, "attention.head_count_kv": 8,
            "attention.key_length": 64, "attention.value_length": 64, "context_length": 131_072}
    header = Header(version=3, architecture="llama", parameters=keys, vocab_size=128_256, tokenizer_model="gpt2", has_chat_template=True,
                    tensors=(TensorGroup("Q4_K", "matrix", 32, 1, 400 << 20),))
    model = {
        "source": "hf://a/b", "repository": "a/b", "commit": "c" * 40, "files": [{"path": "m.gguf", "size": 800 << 20, "sha256": SHA, "url": None}],
        "quant": "Q4_K_M", "license": "mit", "architecture": "llama", "chat_template_sha256": None, "header": header.as_dict(),
        "resolved_at": "2026-11-23T04:00:00Z", "resolved_by": "localai.fleet 0.1.0"}
    return {"schema": 1, "images": {}, "models": {name: model for name in names}}


def split(*names: str) -> dict[str, Any]:
    """A lock whose models have two files each."""
    given = lock(*names)
    for model in given["models"].values():
        model["files"] = [{**model["files"][0], "path": f"m-0000{part}-of-00002.gguf", "sha256": f"{part}" * 64} for part in (1, 2)]
    return given


def args(**more: Any) -> dict[str, Any]:
    return {"capacities": {"ai1": capacity(), "ai2": capacity()}, "wanted": [{"name": "m", "source": "hf://a/b", "slots": 2}], "lock": lock("m"),
            "gateways": ["ai1"], **more}


def test_quartet_of_the_written_plan(run_module: Run, tmp_path: Path) -> None:
    out, html = tmp_path / "plan.json", tmp_path / "plan.html"
    given = args(out=str(out), out_html=str(html), notes=["An <assumption>."])
    predicted = run_module("fleet_plan", given, check=True)
    assert predicted["changed"] and not list(tmp_path.iterdir())
    real = run_module("fleet_plan", given)
    assert real == predicted and json.loads(out.read_text()) == real["plan"] and stat.S_IMODE(out.stat().st_mode) == 0o644
    assert "An &lt;assumption&gt;." in html.read_text() and stat.S_IMODE(html.stat().st_mode) == 0o644 and real["text"][0] == "An <assumption>."
    for check in (True, False):
        again = run_module("fleet_plan", given, check=check)
        assert again["changed"] is False and again["diff"]["before"] == again["diff"]["after"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.html", "plan.json"]


@pytest.mark.parametrize("option", ["out", "out_html"])
def test_a_written_plan_changes_only_where_it_differs(run_module: Run, tmp_path: Path, option: str) -> None:
    given = args(**{option: str(tmp_path / "plan")})
    assert run_module("fleet_plan", given)["changed"] and not run_module("fleet_plan", given)["changed"]
    assert run_module("fleet_plan", {**given, "wanted": [{"name": "m", "source": "hf://a/b", "slots": 1}]})["changed"]


@pytest.mark.parametrize("content", ["{", "[]", "{\"hosts\": 3}"])
def test_a_file_that_holds_no_plan_is_replaced(run_module: Run, tmp_path: Path, content: str) -> None:
    out = tmp_path / "plan.json"
    out.write_text(content)
    result = run_module("fleet_plan", args(out=str(out)))
    assert result["changed"] and result["diff"]["before"] == "" and json.loads(out.read_text()) == result["plan"]


def test_plan_table_and_text(run_module: Run) -> None:
    result = run_module("fleet_plan", args())
    assert result["changed"] is False and result["plan"]["topology"] == "replicated"
    assert [(row["host"], row["model"], row["threads"], row["slots"]) for row in result["table"]] == [("ai1", "m", 3, 2), ("ai2", "m", 3, 2)]
    (model,) = result["plan"]["hosts"]["ai1"]["instances"][0]["models"]
    assert (model["sha256"], model["memory"]["file"]) == (SHA, 800 << 20) and result["text"][0].startswith("host")
    assert result["plan"]["hosts"]["ai1"]["memory_usable_bytes"] < result["plan"]["hosts"]["ai2"]["memory_usable_bytes"]


def test_the_difference_is_against_what_is_deployed(run_module: Run) -> None:
    before = run_module("fleet_plan", args())["plan"]
    result = run_module("fleet_plan", args(previous=before, wanted=[{"name": "m", "source": "hf://a/b", "slots": 1}]))
    assert '"slots": 2' in result["diff"]["before"] and '"slots": 1' in result["diff"]["after"]
    assert result["changes"][0] == "deployed: m on ai1, ai2: slots 2 → 1" and result["changes"][0] in result["text"]
    same = run_module("fleet_plan", args(previous=before))
    assert same["diff"]["before"] == same["diff"]["after"] and same["changes"] == ["deployed: the same as this plan"]
    assert run_module("fleet_plan", args())["changes"] == []


def test_a_model_is_explained_as_it_is_planned(run_module: Run) -> None:
    result = run_module("fleet_plan", args(explain="m"))
    (model,) = result["plan"]["hosts"]["ai1"]["instances"][0]["models"]
    for name in ("kv_full", "compute", "repack", "anonymous"):
        assert any(line.startswith(f"    {name} = {model['memory'][name]:,} ") for line in result["explanation"])
    assert run_module("fleet_plan", args())["explanation"] == []


def test_nothing_deployed_is_no_error(run_module: Run) -> None:
    result = run_module("fleet_plan", args(previous={"hosts": {}, "placement": {}}))
    assert result["changes"][0] == "deployed: m starts on ai1, ai2" and result["diff"]["before"] == ""


def test_what_does_not_fit_fails_with_model_host_bytes_and_what_would_fit(run_module: Run) -> None:
    tight = args(capacities={"ai1": capacity(2 * GIB)}, wanted=[{"name": "m", "source": "hf://a/b", "context": 65_536}])
    result = run_module("fleet_plan", tight)
    refused = run_module("fleet_plan", {**tight, "refuse": "report"})
    (item,) = refused["plan"]["refused"]
    assert result["failed"] and "changed" not in result or not result["changed"]
    for part in ("m", "ai1", str(item["short_by"]), "It would fit with", "context"):
        assert part in result["msg"]
    assert ".." not in result["msg"] and not refused.get("failed") and refused["plan"]["unmet"] == ["m"]
    assert any(line.startswith("refused: m needs") for line in refused["text"])


def test_what_a_fleet_is_besides_its_capacities(run_module: Run) -> None:
    """Each option reaches the plan."""
    hosts = {"capacities": {name: capacity(8 * GIB) for name in ("ai1", "ai2", "ai3")}, "gateways": []}
    labelled = run_module("fleet_plan", args(**hosts, wanted=[{"name": "m", "source": "hf://a/b", "labels": ["fast"]}], labels={"ai2": ["fast"]}))["plan"]
    assert labelled["placement"] == {"m": ["ai2"]}
    reserved = run_module("fleet_plan", args(**hosts, reserved_cores={"ai1": 2, "ai2": None, "ai3": ""}))["plan"]
    assert [reserved["hosts"][name]["budget_cores"] for name in ("ai1", "ai2")] == [2, 3]
    models = [{"name": name, "source": "hf://a/b", "replicas": 1} for name in ("m", "n")]
    packed, spread = (run_module("fleet_plan", args(**hosts, wanted=models, lock=lock("m", "n"), placement=placement))["plan"]["placement"]
                      for placement in ("pack", "spread"))
    assert packed["m"] == packed["n"] and spread["m"] != spread["n"]
    split_up = {**hosts, "workers": ["ai2", "ai3"], "wanted": [{"name": "m", "source": "hf://a/b", "shards": 2}]}
    assert run_module("fleet_plan", args(**split_up))["plan"]["topology"] == "sharded"
    assert "is 20 ms away" in run_module("fleet_plan", args(**split_up, round_trips={"ai2": 20, "ai3": 0.2}))["msg"]
    roles = {"servers": ["ai1"], "workers": ["ai2"], "control": ["ai3"], "topology": "distributed"}
    assert run_module("fleet_plan", args(**hosts, **roles))["plan"]["placement"] == {"m": ["ai2"]}


def test_texts_as_a_command_line_gives_them_are_what_they_stand_for(run_module: Run) -> None:
    """-e common_reserved_cores=2 is a text on each host."""
    hosts = {"capacities": {name: capacity(8 * GIB) for name in ("ai1", "ai2")}, "gateways": []}
    wanted = [{"name": "m", "source": "hf://a/b", "labels": ["fast"]}]
    texts, values = (
        run_module("fleet_plan", args(**hosts, wanted=wanted, labels={"ai1": labels}, reserved_cores={"ai1": cores}, round_trips={"ai2": away}))
        for labels, cores, away in (("fast, gpu", "2", "0.5"), (["fast", "gpu"], 2, 0.5)))
    assert texts["plan"] == values["plan"] and texts["plan"]["placement"] == {"m": ["ai1"]} and texts["plan"]["hosts"]["ai1"]["budget_cores"] == 2


def test_measured_threads_count_while_they_are_valid(run_module: Run) -> None:
    images = {key: {"name": f"example.com/{key}", "version": "v1", "digest": f"sha256:{digit * 64}", "platform": "linux/amd64"}
              for key, digit in (("localai", "1"), ("llama_cpp", "2"))}
    host = Capacity.from_dict(capacity())
    engine = _tuning.engine_digest("@sha256:" + "1" * 64, "@sha256:" + "2" * 64)
    facts = {name: _tuning.fact(2, {2: 9.5, 3: 9.0}, {"name": "m", "sha256": SHA}, host, digest, "ai1", time.time())
             for name, digest in (("ai1", engine), ("ai2", "other"))}
    given = args(lock={**lock("m"), "images": images}, capacities={name: {**capacity(), "tuning": fact} for name, fact in facts.items()}, gateways=[])
    result = run_module("fleet_plan", given)["plan"]
    models = {name: result["hosts"][name]["instances"][0]["models"][0] for name in facts}
    assert [(model["threads"], model["expected_tokens_per_second"]) for model in models.values()] == [(2, 9.5), (3, None)]
    assert [item["host"] for item in result["warnings"] if "are ignored" in item["message"]] == ["ai2"]


def test_further_refusals_are_counted(run_module: Run) -> None:
    small = {"ai1": capacity(GIB), "ai2": capacity(GIB)}
    assert "1 more refusal; refuse=report lists all" in run_module("fleet_plan", args(capacities=small))["msg"]


def test_a_split_set_is_planned_with_the_bytes_of_all_its_files(run_module: Run) -> None:
    whole, parts = (run_module("fleet_plan", args(lock=given))["plan"]["hosts"]["ai1"]["instances"][0]["models"][0] for given in (lock("m"), split("m")))
    assert parts["files"] == ["1" * 64, "2" * 64] and whole["files"] == [SHA] and parts["sha256"] == "1" * 64
    assert parts["memory"]["file"] == parts["memory"]["file_backed"] == 2 * whole["memory"]["file"] == 1600 << 20


def test_a_projector_is_planned_with_its_model(run_module: Run) -> None:
    given = lock("m")
    given["models"]["m"]["projector"] = {"path": "mmproj-F16.gguf", "size": 100 << 20, "sha256": "e" * 64}
    wanted = [{"name": "m", "source": "hf://a/b", "slots": 2, "vision": True}]
    without, with_it = (run_module("fleet_plan", args(lock=each, wanted=wanted, explain="m")) for each in (lock("m"), given))
    models = [result["plan"]["hosts"]["ai1"]["instances"][0]["models"][0] for result in (without, with_it)]
    assert [model["projector"] for model in models] == [None, "e" * 64]
    assert models[1]["memory"]["projector"] >= 100 << 20 and models[0]["memory"]["projector"] == 0
    assert models[1]["memory"]["anonymous"] - models[0]["memory"]["anonymous"] >= models[1]["memory"]["projector"]
    assert [sum(" projector = " in line for line in result["explanation"]) for result in (without, with_it)] == [0, 1]


@pytest.mark.parametrize("change, text", [
    ({"capacities": {}}, "no server to plan for"), ({"capacities": {"ai1": {"schema": 9}}}, "capacities.ai1"),
    ({"capacities": {"ai1": "x"}}, "no capacity .capacities.ai1."),
    ({"lock": lock("other")}, "lacks a wanted model"), ({"lock": {"schema": 7}}, "unknown schema"), ({"topology": "ring"}, "must be one of"),
    ({"topology": "standalone"}, "standalone fleet has one server"), ({"wanted": [{"name": "BAD NAME", "source": "hf://a/b"}]}, "name is not usable"),
    ({"wanted": [{"name": "m", "source": "hf://a/b", "kv_type": "q9"}]}, "must be one of"),
    ({"wanted": [{"name": "m", "source": "hf://a/b", "slot": 2}]}, "slot.*(upported|nknown)"),
    ({"wanted": [{"name": "m", "source": "hf://a/b", "hosts": ["ai9"]}]}, "pinned to a host"),
    ({"capacities": {"ai1": {**capacity(), "numa_nodes": [{}]}}}, "wrong form .capacities.ai1.numa_nodes.0..id"),
    ({"capacities": {"ai1": {**capacity(), "memory_total_bytes": "16 GiB"}}, "gateways": []}, "wrong form .capacities.ai1.memory_total_bytes.*16 GiB"),
    ({"previous": {"hosts": {"ai1": {"instances": [{"name": "localai", "models": [{"name": "m"}]}]}}}},
     "deployed is damaged .previous.hosts.ai1..instances.0..models.0..memory"),
    ({"labels": {"ai1": {"fast": 1}}}, "labels has the wrong form.*labels.ai1.*a list"), ({"labels": {"ai1": [["fast"]]}}, "labels.ai1.*a list of words"),
    ({"round_trips": {"ai1": float("inf")}}, "round_trips.ai1.*milliseconds"),
    ({"reserved_cores": {"ai1": -1}}, "reserved_cores.ai1.*whole number"), ({"reserved_cores": {"ai1": "two"}}, "whole number.*reserved_cores.ai1.*two"),
    ({"reserved_cores": {"ai1": "-2"}}, "reserved_cores.ai1.*whole number from 0 on"),
    ({"round_trips": {"ai1": "near"}}, "A number is wanted .round_trips.ai1.: got near"), ({"placement": "tight"}, "must be one of"),
    ({"workers": ["ai9"]}, "capacity of a host is not known.*ai9"),
    ({"out": "/absent/dir/plan.json"}, "cannot be written.*No such file"), ({"out": "/tmp"}, "cannot be written"),
    ({"explain": "mm"}, "not wanted .explain.: got mm. The nearest wanted one is m"),
    ({"out_html": "/absent/dir/plan.html"}, "cannot be written .out_html.*No such file")])
def test_bad_input_is_a_sentence(run_module: Run, change: dict[str, Any], text: str) -> None:
    result = run_module("fleet_plan", args(**change))
    assert result["failed"] and re.search(text, result["msg"])
