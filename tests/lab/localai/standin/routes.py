"""Which path leads where, and which settings close a group of paths."""
from __future__ import annotations

from . import VERSION
from .admin import Admin, each, fixed, missing, redirect
from .dialects import Dialects
from .inference import Inference
from .service import Service
from .vectors import Vectors
from .web import Handler

Table = dict[str, dict[str, Handler]]


def table(service: Service) -> Table:
    """Every route of this server."""
    admin = Admin(service)
    settings = service.settings
    routes: Table = {**_status(admin), **_inference(service)}
    if not settings["DISABLE_METRICS_ENDPOINT"]:
        routes["/metrics"] = {"GET": admin.metrics}
    if not settings["DISABLE_GALLERY_ENDPOINT"]:
        routes.update(_gallery(admin))
    if not settings["DISABLE_WEBUI"]:
        routes.update(_web_ui(admin))
        if not settings["DISABLE_RUNTIME_SETTINGS"]:
            routes["/api/settings"] = {"GET": fixed({}), "POST": fixed({"success": True})}
    if not settings["DISABLE_MCP"]:
        routes.update(each(("/v1/mcp/chat/completions", "/mcp/chat/completions"), POST=missing("Unimplemented", "mcp")))
        routes["/api/cors-proxy"] = {"GET": fixed({})}
    return routes


def _status(admin: Admin) -> Table:
    return {
        **each(("/readyz", "/healthz"), GET=admin.ready),
        **each(("/v1/models", "/models"), GET=admin.models),
        "/v1/models/capabilities": {"GET": admin.models},
        "/version": {"GET": admin.version},
        "/system": {"GET": admin.system},
        **each(("/backend/monitor", "/v1/backend/monitor"), GET=admin.monitor),
        **each(("/backend/load", "/v1/backend/load"), POST=admin.load),
        **each(("/backend/shutdown", "/v1/backend/shutdown"), POST=admin.shutdown),
        "/.well-known/localai.json": {"GET": fixed({"version": VERSION, "endpoints": {}, "capabilities": {}})},
        "/api/instructions": {"GET": fixed([])},
        "/api/features": {"GET": fixed({"fine_tuning": True, "quantization": True})},
        "/swagger/index.html": {"GET": admin.page},
        "/swagger/doc.json": {"GET": fixed({"swagger": "2.0", "info": {"title": "LocalAI API", "version": "2.0.0"}, "paths": {}})},
        "/api/p2p": {"GET": fixed({"nodes": [], "federated_nodes": []})},
        "/api/p2p/token": {"GET": fixed("")},
        **each(("/api/traces", "/api/backend-traces", "/api/backend-logs"), GET=fixed([])),
        **each(("/api/usage", "/api/usage/all"), GET=fixed({"usage": [], "totals": {}})),
        "/api/ps": {"GET": fixed({"models": []})},
        "/api/tags": {"GET": admin.ollama_tags},
        "/api/version": {"GET": fixed({"version": VERSION})},
        "/api/auth/status": {"GET": fixed({"authEnabled": False, "hasUsers": False, "providers": []})},
        "/api/branding": {"GET": fixed({})},
        **each(("/stores/set", "/stores/delete"), POST=fixed(None)),
        **each(("/stores/get", "/stores/find"), POST=fixed({"keys": [], "values": []})),
        "/v1/responses/:id": {"GET": missing("NotFound", "response not found")},
    }


def _inference(service: Service) -> Table:
    inference, vectors, dialects = Inference(service), Vectors(service), Dialects(service)
    routes: Table = {}
    for path, handler in (
        ("/chat/completions", inference.chat),
        ("/completions", inference.completions),
        ("/edits", inference.edits),
        ("/embeddings", vectors.embeddings),
        ("/moderations", missing("Unimplemented", "moderation")),
        ("/audio/transcriptions", missing("Unimplemented", "")),
        ("/audio/speech", missing("Unimplemented", "")),
        ("/images/generations", missing("Unimplemented", "")),
        ("/images/inpainting", missing("Unimplemented", "")),
        ("/responses", dialects.responses),
        ("/messages", dialects.messages),
    ):
        routes.update(each((f"/v1{path}", path), POST=handler))
    return {
        **routes,
        "/v1/engines/:model/completions": {"POST": inference.completions},
        "/v1/engines/:model/embeddings": {"POST": vectors.embeddings},
        "/v1/rerank": {"POST": vectors.rerank},
        "/v1/tokenize": {"POST": vectors.tokenize},
        "/v1/detokenize": {"POST": vectors.detokenize},
        **each(("/tts", "/vad", "/video", "/v1/detection"), POST=missing("Unimplemented", "")),
        **each(("/api/chat", "/api/generate", "/api/embed", "/api/embeddings"), POST=missing("Unimplemented", "ollama")),
    }


def _gallery(admin: Admin) -> Table:
    return {
        "/models/apply": {"POST": admin.job},
        "/models/import": {"POST": fixed({"success": True})},
        "/models/import-uri": {"POST": admin.job},
        "/models/edit/:name": {"GET": admin.page, "POST": fixed({"success": True})},
        "/models/delete/:name": {"POST": admin.delete},
        "/models/reload": {"POST": admin.reload},
        **each(("/models/available", "/models/galleries", "/models/jobs"), GET=fixed([])),
        "/models/jobs/:uuid": {"GET": missing("NotFound", "could not find any status for ID")},
        "/models/toggle-state/:name/:action": {"PUT": fixed({"success": True})},
        "/models/toggle-pinned/:name/:action": {"PUT": fixed({"success": True})},
        "/backends": {"GET": admin.backends},
        **each(("/backends/available", "/backends/known", "/backends/galleries", "/backends/upgrades"), GET=fixed([])),
        "/backends/jobs/:uuid": {"GET": missing("NotFound", "could not find any status for ID")},
        **each(("/backends/apply", "/backends/upgrades/check"), POST=admin.backend_job),
        "/backends/delete/:name": {"POST": admin.backend_job},
        "/backends/upgrade/:name": {"POST": admin.backend_job},
        "/api/aliases": {"GET": admin.aliases},
    }


def _web_ui(admin: Admin) -> Table:
    return {
        "/": {"GET": redirect("./app")},
        "/browse": {"GET": redirect("./app/browse")},
        "/app": {"GET": admin.page},
        "/app/*": {"GET": admin.page},
        "/favicon.svg": {"GET": admin.page},
        **each(("/api/models", "/api/backends", "/api/operations", "/api/resources"), GET=fixed({})),
        "/api/models/config-json/:name": {"GET": fixed({}), "PATCH": fixed({"success": True})},
        "/api/models/install/:name": {"POST": admin.job},
        "/api/models/delete/:name": {"POST": admin.delete},
        "/api/models/vram-estimate": {"POST": fixed({})},
        "/api/backends/install/:name": {"POST": admin.backend_job},
        "/api/backends/install-external": {"POST": admin.backend_job},
        **each(("/api/p2p/workers", "/api/p2p/federation", "/api/p2p/stats"), GET=fixed({})),
    }
