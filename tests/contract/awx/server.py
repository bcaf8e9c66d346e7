"""A strict, small AWX: what the modules of awx.awx use of the REST API, held in memory. Not AWX: it runs nothing.

Fields and their defaults are those of AWX 24.6.1 (what its OPTIONS answers tell); an unknown or missing one, a reference to nothing and a rule or
a survey that AWX would refuse are refused. `FLEET_AWX` in the environment has the tests ask a real one instead.
"""
from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator
from urllib.parse import parse_qsl, urlsplit

Item = dict[str, Any]
MUST = object()
PROMPTS: Item = dict.fromkeys((
    "inventory", "scm_branch", "job_type", "job_tags", "skip_tags", "limit", "diff_mode", "verbosity", "execution_environment", "forks",
    "job_slice_count", "timeout"))
NAMED: Item = {"name": MUST, "description": ""}
FIELDS: dict[str, Item] = {
    "organizations": {**NAMED, "max_hosts": 0, "default_environment": None},
    "teams": {**NAMED, "organization": MUST},
    "credential_types": {**NAMED, "kind": MUST, "inputs": {}, "injectors": {}, "managed": False},
    "credentials": {**NAMED, "organization": None, "credential_type": MUST, "inputs": {}},
    "execution_environments": {**NAMED, "organization": None, "image": MUST, "credential": None, "pull": ""},
    "projects": {
        **NAMED, "scm_type": "", "scm_url": "", "scm_branch": "", "scm_clean": False, "credential": None, "organization": None,
        "scm_update_on_launch": False, "allow_override": False, "default_environment": None},
    "inventories": {**NAMED, "organization": MUST, "kind": "", "host_filter": None, "variables": ""},
    "inventory_sources": {
        **NAMED, "inventory": MUST, "source": MUST, "source_path": "", "source_vars": "", "source_project": None, "credential": None,
        "execution_environment": None, "overwrite": False, "overwrite_vars": False, "update_on_launch": False, "update_cache_timeout": 0},
    "notification_templates": {**NAMED, "organization": MUST, "notification_type": MUST, "notification_configuration": {}, "messages": None},
    "job_templates": {
        **NAMED, "job_type": "run", "inventory": None, "project": MUST, "organization": None, "playbook": MUST, "forks": 0, "extra_vars": "",
        "execution_environment": None, "survey_enabled": False, "diff_mode": False, "job_tags": "",
        **{f"ask_{what}_on_launch": False for what in ("job_type", "diff_mode", "variables", "limit", "tags")}},
    "workflow_job_templates": {**NAMED, "organization": None, "allow_simultaneous": False, "survey_enabled": False, "extra_vars": "", "inventory": None},
    "workflow_job_template_nodes": {
        **PROMPTS, "extra_data": {}, "workflow_job_template": MUST, "unified_job_template": None, "all_parents_must_converge": False, "identifier": MUST},
    "workflow_approval_templates": {**NAMED, "timeout": 0},
    "schedules": {**NAMED, **PROMPTS, "extra_data": {}, "rrule": MUST, "unified_job_template": MUST, "enabled": True},
    "project_updates": {}, "inventory_updates": {},
}
REFERENCES = {
    "organization": "organizations", "credential_type": "credential_types", "credential": "credentials", "execution_environment": "execution_environments",
    "project": "projects", "source_project": "projects", "inventory": "inventories", "workflow_job_template": "workflow_job_templates",
    "unified_job_template": "unified_job_templates",
}
UNIFIED = ("job_templates", "workflow_job_templates", "workflow_approval_templates", "projects", "inventory_sources")
FOLLOWED = ("success_nodes", "failure_nodes", "always_nodes")
BUILT_IN = ("Machine", "Vault", "Source Control", "Container Registry")
SECRETS = {"slack": ("token",), "email": ("password",), "webhook": ("password",)}
RULE = re.compile(r"DTSTART;TZID=[A-Za-z_/+-]+:\d{8}T\d{6} RRULE:FREQ=(DAILY|WEEKLY);INTERVAL=1(;BYDAY=(MO|TU|WE|TH|FR|SA|SU)(,(MO|TU|WE|TH|FR|SA|SU))*)?")
QUESTION = {"type": str, "question_name": str, "variable": str, "required": bool}
PASSWORD = "pass-of-awx"  # not a secret: the server lives as long as a test


class Refused(Exception):
    """What AWX answers with status 400, or another one."""

    def __init__(self, status: int = 400, **said: Any) -> None:
        super().__init__(str(said))
        self.status, self.said = status, said


class Store:
    """All objects, by kind and number."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[int, Item]] = {kind: {} for kind in FIELDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[tuple[str, int], Item] = {}
        self.number = 0
        for name in BUILT_IN:
            self.create("credential_types", {"name": name, "kind": "ssh"})

    def create(self, kind: str, data: Item) -> Item:
        fields = FIELDS[kind]
        missing = [name for name, default in fields.items() if default is MUST and not data.get(name)]
        if missing:
            raise Refused(**dict.fromkeys(missing, ["This field is required."]))
        self.number += 1
        item = {**{name: default for name, default in fields.items() if default is not MUST}, **self.checked(kind, data)}
        self.kinds[kind][self.number] = item
        return self.shown(kind, self.number)

    def change(self, kind: str, number: int, data: Item) -> Item:
        self.kinds[kind][number].update(self.checked(kind, data))
        return self.shown(kind, number)

    def checked(self, kind: str, data: Item) -> Item:
        strange = set(data) - set(FIELDS[kind]) - {"type"}
        if strange:
            raise Refused(unknown=sorted(strange))
        for name, value in data.items():
            if name in REFERENCES and value is not None and not self.find(REFERENCES[name], {"id": str(value)}):
                raise Refused(**{name: [f'Invalid pk "{value}" - object does not exist.']})
        if kind == "schedules" and "rrule" in data and not RULE.fullmatch(data["rrule"]):
            raise Refused(rrule=["rrule parsing failed validation"])
        if kind == "job_templates" and "project" in data and not self.kinds["projects"][data["project"]]["allow_override"]:
            raise Refused(playbook=["Playbook not found for project."])
        return {name: "" if value is None and FIELDS[kind][name] == "" else value for name, value in data.items() if name != "type"}

    def shown(self, kind: str, number: int) -> Item:
        """As AWX shows it: secrets hidden, with what leads on from it."""
        item, url = json.loads(json.dumps(self.kinds[kind][number])), f"/api/v2/{kind}/{number}/"
        for name in {"credentials": list(item.get("inputs", {}))}.get(kind, []):
            if name not in ("username", "host", "verify_ssl"):
                item["inputs"][name] = "$encrypted$"
        for name in SECRETS.get(item.get("notification_type", ""), ()):
            item["notification_configuration"][name] = "$encrypted$"
        if kind == "schedules":
            item["next_run"] = "2026-12-01T02:00:00Z" if item["enabled"] else None
        related = {"survey_spec": f"{url}survey_spec/"}
        if item.get("unified_job_template"):
            template = item["unified_job_template"]
            related["unified_job_template"] = next(f"/api/v2/{of}/{template}/" for of in UNIFIED if template in self.kinds[of])
        roles = {f"{role}_role": {"id": f"{kind}.{number}.{role}"} for role in ("admin", "read", "execute", "approval")}
        counts = {other: sum(one.get("organization") == number for one in self.kinds[other].values())
                  for other in ("teams", "inventories", "projects", "job_templates")}
        followed = {name: self.links.get((kind, number, name), []) for name in FOLLOWED}
        return {**item, "id": number, "url": url, "type": kind.rstrip("s"), "related": related, **followed,
                "summary_fields": {"object_roles": roles, "related_field_counts": counts}}

    def find(self, kind: str, query: Item) -> list[Item]:
        kinds = UNIFIED if kind == "unified_job_templates" else (kind,)
        found = [self.shown(one, number) for one in kinds for number in self.kinds[one]]
        return [item for item in found if all(self.meets(item, name, value) for name, value in query.items())]

    def meets(self, item: Item, name: str, value: str) -> bool:
        if name in ("page_size", "order_by", "status__in"):
            return True
        field, _sep, inner = name.partition("__")
        got = item.get(field)
        if inner == "name":
            got = next((one["name"] for one in self.find(REFERENCES[field], {"id": str(got)})), None)
        return str(got) == value

    def remove(self, kind: str, number: int) -> None:
        """With what cannot be without it."""
        del self.kinds[kind][number]
        inside = {"inventories": ("inventory_sources", "inventory"), "workflow_job_templates": ("workflow_job_template_nodes", "workflow_job_template"),
                  "organizations": ("teams", "organization")}
        other, field = inside.get(kind, ("teams", "-"))
        for one in [one for one, item in self.kinds[other].items() if item.get(field) == number]:
            self.remove(other, one)
        self.links = {key: [one for one in there if one != number] for key, there in self.links.items() if key[1] != number}


def checked_survey(spec: Item) -> Item:
    """What AWX demands of a survey. Raises `Refused`."""
    if not isinstance(spec.get("name"), str) or not isinstance(spec.get("description"), str) or not spec.get("spec"):
        raise Refused(error="A field of the survey is missing.")
    for question in spec["spec"]:
        wrong = [name for name, kind in QUESTION.items() if not isinstance(question.get(name), kind)]
        wrong += ["default"] if question["type"] == "integer" and not isinstance(question.get("default", 0), int) else []
        wrong += ["choices"] if question["type"] == "multiplechoice" and not question.get("choices") else []
        if wrong:
            raise Refused(error=f"{wrong} of {question}")
    return spec


class Handler(BaseHTTPRequestHandler):
    """One request. `server.store` holds the objects, `server.refused` everything that was refused."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PATCH(self) -> None:
        self.answer("PATCH")

    def do_DELETE(self) -> None:
        self.answer("DELETE")

    def answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        data = json.loads(self.rfile.read(length) or b"{}")
        try:
            if not self.headers.get("Authorization", "").startswith(("Bearer ", "Basic ")):
                raise Refused(401, detail="Authentication credentials were not provided.")
            status, body = self.route(method, parts.path.strip("/").split("/")[2:], dict(parse_qsl(parts.query)), data)
        except Refused as refused:
            self.server.refused.append((method, self.path, refused.said))
            status, body = refused.status, refused.said
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(text))), ("X-API-Product-Name", "AWX"),
                            ("X-API-Product-Version", "24.6.1")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def route(self, method: str, path: list[str], query: Item, data: Item) -> tuple[int, Any]:
        store, kind = self.server.store, path[0]
        if kind == "tokens":
            return (204, None) if method == "DELETE" else (201, {"id": 1, "token": "token-of-awx", "url": "/api/v2/tokens/1/"})
        if kind == "roles":
            return self.linked(method, ("roles", 0, path[1]), data, "teams")
        if len(path) == 1:
            if method == "POST":
                return 201, store.create(kind, data)
            found = store.find(kind, query)
            return 200, {"count": len(found), "next": None, "previous": None, "results": found}
        number = int(path[1])
        if number not in store.kinds[kind]:
            raise Refused(404, detail="Not found.")
        if len(path) == 2:
            return self.one(method, kind, number, data)
        return self.below(method, kind, number, path[2], data)

    def one(self, method: str, kind: str, number: int, data: Item) -> tuple[int, Any]:
        if method == "DELETE":
            self.server.store.remove(kind, number)
            return 204, None
        return 200, self.server.store.change(kind, number, data) if method == "PATCH" else self.server.store.shown(kind, number)

    def below(self, method: str, kind: str, number: int, what: str, data: Item) -> tuple[int, Any]:
        store = self.server.store
        if what == "survey_spec":
            if method == "POST":
                store.surveys[kind, number] = checked_survey(data)
            if method == "DELETE":
                store.surveys.pop((kind, number), None)
            return 200, store.surveys.get((kind, number), {})
        if what == "create_approval_template":
            made = store.create("workflow_approval_templates", data)
            store.kinds[kind][number]["unified_job_template"] = made["id"]
            return 201, made
        return self.linked(method, (kind, number, what), data, kind if what.endswith("_nodes") else re.sub("_(started|success|error|approvals)$", "", what))

    def linked(self, method: str, key: tuple[str, int, str], data: Item, of: str) -> tuple[int, Any]:
        """What is tied to an object; `of` is its kind."""
        store = self.server.store
        there = store.links.setdefault(key, [])
        if method == "POST":
            if data["id"] not in store.kinds[of]:
                raise Refused(msg="does not exist")
            others = {other for other in FOLLOWED if key[2] in FOLLOWED and other != key[2]}
            if not data.get("disassociate") and any(data["id"] in store.links.get((*key[:2], other), []) for other in others):
                raise Refused(Error="Relationship not allowed.")
            there.remove(data["id"]) if data.get("disassociate") else there.append(data["id"])
            return 204, None
        return 200, {"count": len(there), "next": None, "results": [store.shown(of, number) for number in there]}

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@contextmanager
def serve() -> Iterator[tuple[str, Store, list[Any]]]:
    """Address of a running one, its objects, and what it refused."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.store, server.refused = Store(), []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.store, server.refused  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
