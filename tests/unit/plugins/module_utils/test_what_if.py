"""Questions to a plan."""
from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import fleets
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _what_if
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=timezone.utc)
AI1 = {**fleets.host().as_dict(), "isa": ["avx2"], "read_at": "2026-11-22T11:00:00Z"}
AI2 = {**AI1, "isa": ["avx2"], "read_at": "2026-11-25T11:59:30Z"}
WANTED = [{"name": "m", "source": "hf://a/b"}, {"name": "n", "source": "hf://a/c", "slots": 2, "aliases": ["gpt-4"]}]


def imagined(files: Any = None, capacities: Any = None, cached: Any = (), **variables: Any) -> _what_if.Imagined:
    return _what_if.imagine(_what_if.questions(variables), {"ai1": AI1, "ai2": AI2} if capacities is None else capacities, WANTED, files or {}, cached, NOW)


def test_without_a_question_nothing_changes() -> None:
    made = imagined(explain="m", offline="true", inventory="x")
    assert made.as_dict() == {"capacities": {"ai1": AI1, "ai2": AI2}, "wanted": WANTED, "notes": [], "like": {"ai1": "ai1", "ai2": "ai2"}}


@pytest.mark.parametrize("variables, wanted, note", [
    ({"context": "8192"}, [{**WANTED[0], "context": 8192}, {**WANTED[1], "context": 8192}], "every model with context 8192"),
    ({"model": "n", "slots": 4, "kv_type": "q8_0"}, [WANTED[0], {**WANTED[1], "slots": 4, "kv_type": "q8_0"}], "n with slots 4, kv_type q8_0"),
    ({"model": "gpt-4", "context": 512}, [WANTED[0], {**WANTED[1], "context": 512}], "n with context 512"),
    ({"model": "o", "source": "hf://a/o", "quant": "Q8_0"}, [*WANTED, {"name": "o", "source": "hf://a/o", "quant": "Q8_0"}],
     "o too, with source hf://a/o, quant Q8_0"),
    ({"model": "n", "shards": "2"}, [WANTED[0], {**WANTED[1], "shards": 2}], "n with shards 2"),
    ({"model": "n", "shards": 0}, [WANTED[0], {**WANTED[1], "shards": None}], "n with shards 0"),
    ({"model": "m", "source": "hf://a/o"}, [{**WANTED[0], "source": "hf://a/o"}, WANTED[1]], "m with source hf://a/o")])
def test_other_models_and_options(variables: dict[str, Any], wanted: list[Any], note: str) -> None:
    made = imagined(**variables)
    assert made.wanted == wanted and made.notes == (f"What if: {note}.", _what_if.UNCHANGED)


@pytest.mark.parametrize("variables, names, note", [
    ({"add_hosts": "2xai1"}, ["ai1", "ai2", "new1", "new2"], "2 more servers like ai1 (new1, new2)"),
    ({"add_hosts": "ai1"}, ["ai1", "ai2", "new1"], "1 more server like ai1 (new1)"),
    ({"add_hosts": "ai1,ai2"}, ["ai1", "ai2", "new1", "new2"], "1 more server like ai1 (new1); 1 more server like ai2 (new2)"),
    ({"add_hosts": "3x16c64g", "remove_hosts": "ai1, ai2"}, ["new1", "new2", "new3"],
     "3 more servers with 16 cores and 64 GiB, instruction sets as the others have (avx2) (new1, new2, new3); without ai1, ai2"),
    ({"add_hosts": ["./big.yml"]}, ["ai1", "ai2", "big1"], "servers of ./big.yml (big1)"),
    ({"add_hosts": "2xone.json"}, ["ai1", "ai2", "new1", "new2"], "2 more servers of one.json (new1, new2)"),
    ({"remove_hosts": ["ai2"]}, ["ai1"], "without ai2")])
def test_more_and_fewer_servers(variables: dict[str, Any], names: list[str], note: str) -> None:
    made = imagined({"./big.yml": {"big1": AI2}, "one.json": AI1}, **variables)
    assert list(made.capacities) == names and made.notes[0] == f"What if: {note}." and made.wanted == WANTED


@pytest.mark.parametrize("variables, like", [
    ({"add_hosts": "2xai1"}, {"ai1": "ai1", "ai2": "ai2", "new1": "ai1", "new2": "ai1"}), ({"add_hosts": "4c8g, ai2", "remove_hosts": "ai2"}, None),
    ({"add_hosts": "big.yml", "remove_hosts": "ai1"}, {"ai2": "ai2"})])
def test_a_new_server_tells_which_it_is_like(variables: dict[str, Any], like: Any) -> None:
    assert imagined({"big.yml": {"big1": AI2}}, **variables).like == (like or {"ai1": "ai1", "new2": "ai2"})


@pytest.mark.parametrize("wanted, sentence", [
    ({"name": "m"}, "models_wanted is no list of models: got a mapping"), ([1], "not a mapping .models_wanted.0..: got the number 1"),
    ([{**WANTED[0], "contxt": 3}], "unknown option .models_wanted.0., m.: got contxt. Did you mean context"),
    ([WANTED[0], {"name": "n"}], "no source .models_wanted.1., n."), ([{**WANTED[0], "kv_type": "q5"}], "models_wanted.0., m.kv_type.: got q5"),
    ([{**WANTED[0], "residency": "ondemand"}], "m.residency.: got ondemand"), ([{**WANTED[0], "prompt_cache_mib": "lots"}], "m.prompt_cache_mib.: got lots")])
def test_wanted_models_that_are_none_are_a_sentence(wanted: Any, sentence: str) -> None:
    with pytest.raises(FleetError, match=sentence):
        _what_if.imagine(_what_if.Asked(), {"ai1": AI1}, wanted, {}, (), NOW)


def test_texts_of_wanted_models_are_what_they_stand_for() -> None:
    made = _what_if.imagine(_what_if.Asked(), {"ai1": AI1}, [{**WANTED[0], "context": "8192"}], {}, (), NOW)
    assert made.wanted == [{**WANTED[0], "context": 8192}]


def test_pins_to_a_server_that_is_left_out_go_with_it() -> None:
    wanted = [{"name": "m", "source": "hf://a/b", "hosts": ["ai1", "ai2"], "replicas": 2}, {"name": "n", "source": "hf://a/b", "hosts": ["ai2"]},
              {"name": "o", "source": "hf://a/b", "apart_from": ["m", "n"]}]
    made = _what_if.imagine(_what_if.questions({"remove_hosts": "ai2"}), {"ai1": AI1, "ai2": AI2}, wanted, {}, (), NOW)
    assert made.wanted == [{**wanted[0], "hosts": ["ai1"], "replicas": 1}, {**wanted[2], "apart_from": ["m"]}]
    assert made.notes[0] == "What if: without ai2 and n, pinned there alone."


@pytest.mark.parametrize("content, names", [
    ({"ansible_facts": {"localai_capacity": AI1, "localai_deployed": {}}, "changed": False}, ["new1"]),
    ({"localai_capacity": AI1}, ["new1"]), ({"a": {"ansible_facts": {"localai_capacity": AI1}}, "b": AI2}, ["a", "b"])])
def test_a_file_may_hold_what_the_module_returns(content: Any, names: list[str]) -> None:
    made = imagined({"f.yml": content}, add_hosts="f.yml")
    assert list(made.capacities) == ["ai1", "ai2", *names] and made.capacities[names[0]] == AI1


def damaged(**more: Any) -> dict[str, Any]:
    return {key: value for key, value in {**AI1, **more}.items() if value != "gone"}


@pytest.mark.parametrize("capacity, sentence", [
    (5, "This is no capacity .add_hosts f.yml, a.: got 5"), ({}, "read by another version .add_hosts f.yml, a.schema"),
    (damaged(arch="gone", smt="gone"), "lacks fields .add_hosts f.yml, a.: got arch, smt"),
    (damaged(memory_total_bytes="64GiB"), "wrong form .add_hosts f.yml, a.memory_total_bytes.: got '64GiB'. .*Sizes are whole numbers of bytes"),
    (damaged(memory_total_bytes=-1), "got -1"), (damaged(usable_cores=None), "f.yml, a.usable_cores.. Read it with"),
    (damaged(usable_cores=0), "wrong form .add_hosts f.yml, a.usable_cores.: got 0"), (damaged(usable_cores=True), "got True"),
    (damaged(quota_cores="1.5"), "quota_cores.: got '1.5'."), (damaged(isa="avx2"), "isa.: got 'avx2'."),
    (damaged(cores=3), "wrong form .add_hosts f.yml, a.cores.: got 3"), (damaged(numa_nodes=[{"id": 0}]), "f.yml, a.numa_nodes.0..cpus")])
def test_a_capacity_that_is_none_names_its_file_and_field(capacity: Any, sentence: str) -> None:
    with pytest.raises(FleetError) as caught:
        imagined({"f.yml": {"a": capacity}}, add_hosts="f.yml")
    assert re.search(sentence, str(caught.value)), str(caught.value)


def test_a_capacity_in_a_cache_that_cannot_be_used_names_its_host() -> None:
    with pytest.raises(FleetError, match="another version .capacity of ai2.schema.: got 7"):
        imagined(capacities={"ai1": AI1, "ai2": {**AI2, "schema": 7}})


def test_a_server_of_two_numbers_is_a_capacity() -> None:
    new = Capacity.from_dict(imagined(add_hosts="16c64g").capacities["new1"])
    assert (new.usable_cores, new.memory_total_bytes, new.isa, new.arch) == (16, 64 << 30, ("avx2",), "x86_64")


def test_unlike_servers_tell_no_instruction_sets() -> None:
    made = imagined(add_hosts="4c8g", capacities={"ai1": AI1, "ai2": {**AI1, "isa": ["avx512"]}})
    assert made.capacities["new1"]["isa"] == [] and "unknown, so memory is planned for the worst" in made.notes[0]


def test_a_server_that_is_named_new_already_keeps_its_name() -> None:
    assert list(imagined(add_hosts="2xnew1", capacities={"new1": AI1}).capacities) == ["new1", "new2", "new3"]


def test_topology_is_a_what_if_and_explaining_is_none() -> None:
    assert _what_if.questions({"topology": "replicated"}).what_if and not _what_if.questions({"explain": "m", "offline": True}).what_if
    assert imagined(topology="replicated").notes[0] == "What if: topology replicated."


def test_a_server_of_unknown_capacity_is_named_unless_it_is_left_out() -> None:
    with pytest.raises(FleetError, match="needs the capacity of every server") as caught:
        imagined(capacities={"ai1": AI1, "ai2": {}})
    assert "got nothing from ai2. Run without a limit" in str(caught.value)
    assert list(imagined(capacities={"ai1": AI1, "ai2": {}}, remove_hosts="ai2").capacities) == ["ai1"]


def test_what_deploys_takes_nothing_from_a_cache() -> None:
    with pytest.raises(FleetError, match="needs the capacity of every server"):
        _what_if.imagine(_what_if.Asked(), {"ai1": AI1, "ai2": AI2}, WANTED, {}, ["ai1"], NOW, current=True)


def test_what_is_cached_is_told_with_its_age() -> None:
    made = imagined(cached=["ai2", "ai1"])
    assert made.notes == ("Not asked now, known from the fact cache: ai1, read 3 days ago.",
                          "Not asked now, known from the fact cache: ai2, read less than a minute ago.")
    assert imagined(cached=["ai1"], remove_hosts="ai1").notes[-1] == _what_if.UNCHANGED


@pytest.mark.parametrize("read_at, words", [
    ("2026-11-25T11:00:00Z", "1 hour ago"), ("2026-11-25T11:58:00Z", "2 minutes ago"), (None, "at an unknown time"), ("soon", "at an unknown time"),
    ("2026-11-25T13:00:00Z", "less than a minute ago")])
def test_age(read_at: Any, words: str) -> None:
    assert _what_if.age(read_at, NOW) == words


@pytest.mark.parametrize("variables, sentence", [
    ({"context": "many"}, "A whole number is wanted .context.: got many"), ({"offline": "perhaps"}, "True or false is wanted .offline.: got perhaps"),
    ({"topology": "ring"}, "topology must be auto, standalone, replicated, federated, sharded or distributed: got ring"),
    ({"source": "hf://a/b"}, "none is named .source.. Name it: -e model=NAME"), ({"model": "m"}, "nothing is asked about it .model.: got m"),
    ({"model": "mm", "context": 1}, "no source is given for it .model.: got mm. The nearest wanted one is m."),
    ({"model": "gpt4", "context": 1}, "got gpt4. The nearest wanted one is gpt-4."),
    ({"remove_hosts": "ai9"}, "not there .remove_hosts.: got ai9. The servers are ai1, ai2"),
    ({"add_hosts": "2xai9"}, "no known kind .add_hosts.: got ai9.*COUNTx16c64g"), ({"add_hosts": "x.yml"}, "holds no capacities .add_hosts x.yml"),
    ({"add_hosts": "twice.yml"}, "can be added once .add_hosts twice.yml.: got ai1"), ({"add_hosts": "2xmany.yml"}, "can be added once")])
def test_what_cannot_be_meant_is_a_sentence(variables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FleetError) as caught:
        imagined({"twice.yml": {"ai1": AI1}, "many.yml": {"a": AI1}}, **variables)
    assert re.search(sentence, str(caught.value)), str(caught.value)


def test_slips_and_names() -> None:
    assert _what_if.slips(["contxt", "explian", "ansible_port", "context", "my_hosts"]) == [
        "The variable contxt asks nothing: did you mean context?", "The variable explian asks nothing: did you mean explain?"]
    assert _what_if.names_asked({"slots": 1, "x": 2, "explain": ""}) == ["explain", "slots"]
