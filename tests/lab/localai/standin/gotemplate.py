"""The part of Go's text/template that LocalAI's documented templates use.

Fields (`{{.Input}}`), `{{if .Field}}`, `{{if eq .Field "text"}}`, `{{else if …}}`, `{{else}}`, `{{end}}` and the trim marks `{{-` and
`-}}`. Anything else is an error when the template is read, not when it is used.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Mapping, Sequence, Union

FIELDS = {"Input", "SystemPrompt", "RoleName", "Role", "Content", "MessageIndex", "LastMessage"}

Values = Mapping[str, object]
Condition = Callable[[Values], bool]

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.([A-Za-z]+)")
_EQ = re.compile(r'eq\s+\.([A-Za-z]+)\s+"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Field:
    name: str


@dataclass(frozen=True)
class _If:
    branches: tuple[tuple[Condition, tuple["_Node", ...]], ...]


_Node = Union[_Text, _Field, _If]


class TemplateError(ValueError):
    """The template has something that this subset does not know."""


@dataclass(frozen=True)
class Template:
    """A template that was read without error."""

    nodes: tuple[_Node, ...]

    def render(self, values: Values) -> str:
        """The text with `values` filled in; a missing field is empty."""
        return "".join(_render(node, values) for node in self.nodes)


def parse(source: str) -> Template:
    """Read a template. Raises `TemplateError` naming the part that is not understood."""
    tokens = _tokens(source)
    nodes, rest = _block(tokens, 0, top=True)
    if rest != len(tokens):
        raise TemplateError("{{end}} or {{else}} without {{if}}")
    return Template(tuple(nodes))


def _tokens(source: str) -> list[tuple[str, str]]:
    """("text", …) and ("action", …) in turn, trim marks applied."""
    found: list[tuple[str, str]] = []
    position, trim = 0, False
    for match in _ACTION.finditer(source):
        text = source[position:match.start()]
        text = text.lstrip() if trim else text
        found.append(("text", text.rstrip() if match.group(1) else text))
        found.append(("action", match.group(2)))
        position, trim = match.end(), bool(match.group(3))
    tail = source[position:]
    if "{{" in tail or "}}" in tail:
        raise TemplateError(f"unfinished action in {tail!r}")
    found.append(("text", tail.lstrip() if trim else tail))
    return [token for token in found if token != ("text", "")]


def _block(tokens: Sequence[tuple[str, str]], start: int, top: bool = False) -> tuple[list[_Node], int]:
    """Nodes from `start` to the next {{else}}/{{end}} of this level, and where that stands."""
    nodes: list[_Node] = []
    at = start
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "text":
            nodes.append(_Text(text))
            at += 1
        elif text == "end" or text.split(" ")[0] == "else":
            return nodes, at
        elif text.startswith("if "):
            node, at = _if(tokens, at)
            nodes.append(node)
        else:
            nodes.append(_field(text))
            at += 1
    if not top:
        raise TemplateError("{{if}} without {{end}}")
    return nodes, at


def _if(tokens: Sequence[tuple[str, str]], at: int) -> tuple[_If, int]:
    branches: list[tuple[Condition, tuple[_Node, ...]]] = []
    condition = _condition(tokens[at][1][3:].strip())
    while True:
        nodes, at = _block(tokens, at + 1)
        branches.append((condition, tuple(nodes)))
        action = tokens[at][1]
        if action == "end":
            return _If(tuple(branches)), at + 1
        condition = _condition(action[8:].strip()) if action.startswith("else if ") else lambda values: True


def _condition(text: str) -> Condition:
    equal = _EQ.fullmatch(text)
    if equal:
        name, wanted = _known(equal.group(1)), re.sub(r"\\(.)", r"\1", equal.group(2))
        return lambda values: str(values.get(name, "")) == wanted
    plain = _FIELD.fullmatch(text)
    if plain:
        name = _known(plain.group(1))
        return lambda values: bool(values.get(name))
    raise TemplateError(f"condition {text!r} is not understood")


def _field(text: str) -> _Field:
    match = _FIELD.fullmatch(text)
    if not match:
        raise TemplateError(f"action {{{{{text}}}}} is not understood")
    return _Field(_known(match.group(1)))


def _known(name: str) -> str:
    if name not in FIELDS:
        raise TemplateError(f"field .{name} is not understood")
    return name


def _render(node: _Node, values: Values) -> str:
    if isinstance(node, _Text):
        return node.text
    if isinstance(node, _Field):
        value = values.get(node.name, "")
        return str(value).lower() if isinstance(value, bool) else str(value)
    for condition, nodes in node.branches:
        if condition(values):
            return "".join(_render(inner, values) for inner in nodes)
    return ""
