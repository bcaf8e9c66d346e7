# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""A plan as one page of HTML: no script, nothing from outside, every text escaped in one place. Pure Python.

The page is well-formed XML too. Bars repeat what the table beside them says, so no colour tells anything alone.
"""
from __future__ import annotations

from html import escape
from typing import Any, Iterable, Mapping, Optional, Sequence

from . import _plan_view as view
from ._plan import INSTANCE, RESIDENT, alike, gib, some
from ._plan_diff import Change

SHOWN = 12
"""Rows of a list that stay unfolded; hosts from this many on are folded too."""
LABELLED, LABELLED_IN_TABLE = 0.045, 0.09
"""Parts of a bar from this share on have room for their two letters."""
# All of the same lightness: white letters on them, and they on either background, have contrast enough (a test counts it).
COLOURS = {
    "kv": "#2e6dc5", "state": "#a935d0", "compute": "#a45b26", "output": "#c72f7b", "repack": "#ce3030", "prompt_cache": "#1d7c5c",
    "checkpoints": "#7656d7", "projector": "#207889", "base": "#846b1f", "weights": "#be2da6", "server": "#447b1d", "worker": "#5b5fd1",
    "files": "#6e6e6e"}
STYLE = """
:root{color-scheme:light dark;--ink:#1a1d21;--paper:#fff;--soft:#565d66;--line:#d5d9de;--band:#f3f5f7;--mark:#8a3b00;--good:#1b6b3a}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#15181c;--soft:#a5adb8;--line:#3a4049;--band:#1f242a;--mark:#ffb070;--good:#7fd6a0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:76rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p,ul{margin:.4rem 0}a{color:inherit}
.lead{font-size:1.1rem}.soft{color:var(--soft)}.mark{color:var(--mark);font-weight:600}.good{color:var(--good)}
.notes{border-left:4px solid var(--mark);padding:.1rem 1rem;background:var(--band)}
.wide{overflow-x:auto}.small table{max-width:44rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-weight:600;white-space:nowrap}tbody th{font-weight:600;overflow-wrap:break-word}
.n{text-align:right;white-space:nowrap}td.b{min-width:12rem;width:30%}
details{border:1px solid var(--line);border-radius:4px;margin:.4rem 0;padding:.3rem .8rem}details:has(:target){border-color:var(--mark)}
details>[id]{scroll-margin-top:4rem}
summary{cursor:pointer;overflow-wrap:anywhere}
.bar{display:flex;gap:1px;height:1.5rem;margin:.5rem 0;border:1px solid var(--line);border-radius:3px;overflow:hidden}
td .bar{height:1.1rem;margin:.15rem 0}
.bar i{display:block;font:600 11px/1.4rem system-ui,sans-serif;color:#fff;text-align:center;overflow:hidden;min-width:2px}
td .bar i{line-height:1rem}
.key{display:inline-block;width:1.9em;text-align:center;border-radius:2px;color:#fff;font-weight:600;font-size:.8em}
.bar .t-free,.key.t-free{background:transparent;color:var(--soft)}.key.t-free,.key.t-reserved{outline:1px solid var(--line)}
.bar .t-reserved,.key.t-reserved{background:repeating-linear-gradient(45deg,var(--line) 0 3px,transparent 3px 8px);color:var(--ink)}
""" + "".join(f".t-{name}{{background:{colour}}}" for name, colour in COLOURS.items()) + """
@media print{body{max-width:none;padding:0;font-size:11px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details,tr{break-inside:avoid}}
"""


class Markup(str):
    """Text that is markup already: `tag` makes it and does not escape it again."""


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element. Children and attributes are escaped unless they are `Markup`; None leaves either out; `class_` is `class`."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items() if value is not None)
    inner = "".join(child if isinstance(child, Markup) else _text(child) for child in children if child is not None)
    return Markup(f"<{name}{given}>{inner}</{name}>" if children else f"<{name}{given}/>")


def page(plan: Mapping[str, Any], changes: Optional[Sequence[Change]] = None, notes: Sequence[str] = (), title: str = "The plan of the fleet") -> str:
    """The whole page with a line break at its end.

    `changes` are against what is deployed, None where that is not known; `notes` are sentences that say what the plan assumes.
    The same input gives the same bytes.
    """
    head = tag("head", Markup('<meta charset="utf-8"/>'), Markup('<meta name="viewport" content="width=device-width, initial-scale=1"/>'),
               tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
               tag("title", title), tag("style", Markup(STYLE)))
    parts = (_headline(plan, title), _notes(notes), _refused(plan), _changes(changes), _models(plan), _servers(plan), _shards(plan),
             _said(plan), _hosts(plan), _legend())
    body = tag("body", tag("main", *(part for part in parts if part)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


# --- parts of the page


def _headline(plan: Mapping[str, Any], title: str) -> Markup:
    hosts, refused = plan["hosts"], len(plan["refused"])
    planned = sum(view.used_bytes(host) for host in hosts.values())
    usable = sum(host["memory_usable_bytes"] for host in hosts.values())
    told = (f"{view.plural(len(hosts), 'host')}, {view.plural(len(plan['placement']), 'model')}, {plan['topology']}: "
            f"{gib(planned)} of {gib(usable)} of memory given out. ")
    short = f"{view.plural(len(plan['unmet']), 'model')} on fewer servers than wanted, {view.plural(refused, 'refusal')} below."
    verdict = tag("span", short, class_="mark") if refused or plan["unmet"] else tag("span", "Everything wanted fits.", class_="good")
    return tag("header", tag("h1", title), tag("p", told, verdict, class_="lead"))


def _notes(notes: Sequence[str]) -> Optional[Markup]:
    return tag("section", _list(notes), class_="notes", aria_label="What this plan assumes") if notes else None


def _refused(plan: Mapping[str, Any]) -> Optional[Markup]:
    if not plan["refused"]:
        return None
    rows = [(item["model"], item["host"], gib(item["short_by"]) if item["short_by"] else "", view.fits_with(item["fits_with"]) or "no smaller setting",
             some(item.get("fits_on") or []) or "no other host", item["reason"]) for item in plan["refused"]]
    names = ("model", "server", "short by", "would fit with", "would fit on", "reason")
    return _section("Refused", _folding(_table(names, rows, numbers={2}, bars={5}), len(rows), "refusals"))


def _changes(changes: Optional[Sequence[Change]]) -> Markup:
    title = "Against what is deployed"
    if changes is None:
        return _section(title, tag("p", "What is deployed is not known here.", class_="soft"))
    if not changes:
        return _section(title, tag("p", "The same as this plan: nothing would change."))
    rows = [(change.what, change.kind, some(change.places), ", ".join(f"{name} {before} → {after}" for name, before, after in change.fields))
            for change in changes]
    return _section(title, _folding(_table(("what", "is", "on", "numbers"), rows), len(rows), "changes"))


def _models(plan: Mapping[str, Any]) -> Optional[Markup]:
    placed: dict[str, list[Mapping[str, Any]]] = {name: [] for name in plan["placement"]}
    for host in plan["hosts"].values():
        for instance in host["instances"]:
            for model in instance["models"]:
                placed.setdefault(model["name"], []).append(model)
    rows = [_model_row(name, found, plan) for name, found in placed.items()]
    names = ("model", "kind", "servers", "context", "slots", "cache type", "threads", "memory", "file", "tokens/s expected")
    return _section("Models", _table(names, rows, numbers={3, 4, 6, 7, 8, 9})) if rows else None


def _model_row(name: str, found: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> tuple[Any, ...]:
    if not found:
        return (name, "", tag("span", "nowhere", class_="mark"), *[""] * 7)
    first, hosts = found[0], plan["placement"].get(name, [])
    sizes = [gib(size) for size in sorted({model["memory"]["anonymous"] for model in found})]
    memory, file = sizes[0] if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}", gib(first["memory"]["file"])
    shared = sum(worker["memory_planned"] for host in plan["hosts"].values() for worker in host.get("workers") or [] if worker["model"] == name)
    if shared:
        memory, file = f"{memory} here, {gib(shared)} on workers", f"{file} here"
    return (name, first["kind"], f"{len(hosts)}: {some(hosts)}", first["context"], first["slots"], first["kv_type"],
            view.span(model["threads"] for model in found), memory, file, view.span(model.get("expected_tokens_per_second") for model in found))


def _servers(plan: Mapping[str, Any]) -> Markup:
    warned = {item["host"] for item in plan["warnings"]}
    rows = [(tag("a", name, href=f"#{_anchor(index)}"), some(view.served(host)) or "nothing", f"{host['budget_cores']} of {host['usable_cores']}",
             _bar(host, LABELLED_IN_TABLE), f"{gib(view.used_bytes(host))} of {gib(host['memory_usable_bytes'])}", "warning" if name in warned else "")
            for index, (name, host) in enumerate(plan["hosts"].items())]
    names = ("host", "models", "cores", "memory by term", "given out", "")
    return _section("Hosts", _table(names, rows, numbers={2, 4}, bars={3}))


def _shards(plan: Mapping[str, Any]) -> Optional[Markup]:
    shards = plan.get("shards") or {}
    rows = [(name, shard["server"], some(shard["workers"]), shard["gpu_layers"], shard["tensor_split"], shard["bytes_per_token"],
             "not measured" if shard["network_milliseconds"] is None else shard["network_milliseconds"]) for name, shard in shards.items()]
    names = ("model", "server", "workers", "layers on workers", "split", "bytes a token", "network ms a token")
    return _section("Models split over several hosts", _table(names, rows, numbers={3, 5, 6})) if rows else None


def _said(plan: Mapping[str, Any]) -> Optional[Markup]:
    """Warnings, then advice."""
    told = [tag("li", tag("strong", hosts), f": {message}") for hosts, message in alike(plan["warnings"])]
    told += [tag("li", text) for text in plan["advice"]]
    return _section("To know", _folding(tag("ul", *told), len(told), "warnings and hints")) if told else None


def _hosts(plan: Mapping[str, Any]) -> Markup:
    few = len(plan["hosts"]) < SHOWN
    return _section("Each host", *(_host(_anchor(index), name, host, few) for index, (name, host) in enumerate(plan["hosts"].items())))


def _host(anchor: str, name: str, host: Mapping[str, Any], unfolded: bool) -> Markup:
    parts = view.host_parts(host)
    total = sum(part.bytes for part in parts)
    rows = [(_key(part.term), part.term.name, gib(part.bytes), view.exact(part.bytes), view.percent(part.bytes, total)) for part in parts]
    summary = tag("summary", tag("strong", name), f": {some(view.served(host)) or 'nothing'}; {gib(view.used_bytes(host))} of "
                  f"{gib(host['memory_usable_bytes'])}; {host['budget_cores']} of {host['usable_cores']} cores")
    memory = _table(("", "memory", "size", "bytes", "share"), rows, numbers={2, 3, 4}, caption=f"All memory of {name}: {gib(total)}")
    # Browsers unfold what a link leads into, not a fold that it leads to.
    inside = tag("div", _bar(host), tag("div", memory, class_="small"), *map(_instance, host["instances"]), _workers(host), id=anchor)
    return tag("details", summary, inside, open="open" if unfolded else None)


def _instance(instance: Mapping[str, Any]) -> Markup:
    residency = "" if instance.get("residency", RESIDENT) == RESIDENT else ", models on demand, one at a time"
    node = "" if instance.get("node") is None else f", NUMA node {instance['node']}"
    facts = [f"CPU limit {instance['cpus']} cores", f"pinned to CPUs {instance['cpuset']}" if instance["cpuset"] else "not pinned",
             f"LOCALAI_THREADS {instance['threads']}",
             f"memory limit {gib(instance['memory_limit'])} ({view.exact(instance['memory_limit'])} bytes), of it {gib(instance['memory_planned'])} "
             f"that cannot be dropped and {round(100 * instance['file_share'])} % of the files", f"/tmp {gib(instance['tmp_size'])}"]
    facts += [] if instance["max_active"] is None else [f"at most {view.plural(instance['max_active'], 'model')} loaded at once"]
    rows = [(model["name"], model["threads"], model["threads_batch"], model["context"], model["slots"], model["kv_type"], gib(model["memory"]["anonymous"]),
             gib(model["memory"]["file"]), model.get("expected_tokens_per_second") or "unknown", ", ".join(model["aliases"])) for model in instance["models"]]
    names = ("model", "threads", "for prompts", "context", "slots", "cache type", "memory", "file", "tokens/s expected", "aliases")
    title = "Instance" if instance["name"] == INSTANCE else f"Instance {instance['name']}"
    models = _table(names, rows, numbers=set(range(1, 9)) - {5})
    return tag("div", tag("h3", f"{title}{node}{residency}"), tag("p", "; ".join(facts) + ".", class_="soft"), models)


def _workers(host: Mapping[str, Any]) -> Optional[Markup]:
    rows = [(worker["model"], worker["layers"], worker["threads"], worker["cpus"], worker["cpuset"] or "not pinned", gib(worker["memory_limit"]),
             gib(worker["memory_planned"])) for worker in host.get("workers") or []]
    names = ("part of model", "layers", "threads", "CPU limit", "CPUs", "memory limit", "not droppable")
    return tag("div", tag("h3", "Worker"), _table(names, rows, numbers={1, 2, 3, 5, 6})) if rows else None


def _legend() -> Markup:
    rows = [(_key(term), term.name, term.about) for term in view.TERMS]
    return _section("What the parts of the bars are", _table(("", "part", "is"), rows))


# --- pieces


def _bar(host: Mapping[str, Any], labelled: float = LABELLED) -> Markup:
    parts = view.host_parts(host)
    total = sum(part.bytes for part in parts)
    spans = [tag("i", part.term.code if part.bytes >= labelled * total else "", class_=f"t-{part.term.key}",
                 style=f"width:{view.percent(part.bytes, total)}", title=f"{part.term.name} {gib(part.bytes)}") for part in parts]
    told = ", ".join(f"{part.term.name} {gib(part.bytes)}" for part in parts)
    return tag("div", *spans, class_="bar", role="img", aria_label=f"Memory: {told}")


def _key(term: view.Term) -> Markup:
    return tag("span", term.code, class_=f"key t-{term.key}")


def _section(title: str, *children: Any) -> Markup:
    return tag("section", tag("h2", title), *children)


def _folding(inner: Markup, count: int, what: str) -> Markup:
    """A long list in a fold that says how long it is."""
    return inner if count <= SHOWN else tag("details", tag("summary", f"{count} {what}"), inner)


def _list(texts: Iterable[str]) -> Markup:
    return tag("ul", *(tag("li", text) for text in texts))


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]], numbers: frozenset[int] | set[int] = frozenset(), bars: Iterable[int] = (),
           caption: Optional[str] = None) -> Markup:
    """A table whose first column with text heads its rows. `numbers` are columns to align right, `bars` those that need room."""
    classes = ["n" if column in numbers else "b" if column in bars else None for column in range(len(names))]
    heading = 0 if names[0] else 1
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) if name else tag("td", "") for name, kind in zip(names, classes)))
    body = [tag("tr", *(tag("th", cell, scope="row") if column == heading else tag("td", cell, class_=classes[column]) for column, cell in enumerate(row)))
            for row in rows]
    told = None if caption is None else tag("caption", caption)
    return tag("div", tag("table", told, tag("thead", head), tag("tbody", *body)), class_="wide")


def _anchor(index: int) -> str:
    """The anchor of a host by its place in the plan, since names may hold anything."""
    return f"host-{index}"


def _text(value: Any) -> str:
    """Escaped, without the control characters that no document may hold."""
    return escape("".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in str(value)))
