"""The parts of the LocalAI stand-in: environment, model files, templates, options, requests, keys, routes."""
from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.lab.localai.standin import configs, environment, gguf, gotemplate, options, prompts, requests, settings
from tests.lab.localai.standin.catalog import Catalog
from tests.lab.localai.standin.errors import RequestError, StartError
from tests.lab.localai.standin.keys import Keys, sent_keys
from tests.lab.localai.standin.settings import Settings
from tests.lab.localai.standin.web import Router, is_public, strip


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Settings with directories below tmp_path, and what the test sets."""
    for name in ("models", "configuration"):
        (tmp_path / name).mkdir()

    def settings_with(**more: str) -> Settings:
        paths = {"LOCALAI_MODELS_PATH": str(tmp_path / "models"), "LOCALAI_CONFIG_DIR": str(tmp_path / "configuration")}
        return settings.load({**paths, **{name if name.startswith("LLAMACPP") else f"LOCALAI_{name}": value for name, value in more.items()}})

    return settings_with


# -- environment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "code", "text"),
    [
        ("LOCALAI_TREADS", "2", 1, "LOCALAI_TREADS is unknown"),
        ("LOCALAI_P2P", "true", 1, "LOCALAI_P2P is known"),
        ("LOCALAI_AGENT_POOL_TIMEOUT", "5m", 1, "LOCALAI_AGENT_POOL_TIMEOUT is known"),
        ("LOCALAI_THREADS", "abc", 1, "--threads: expected a valid 64 bit int but got 'abc'"),
        ("LOCALAI_UPLOAD_LIMIT", "15M", 1, "--upload-limit"),
        ("LOCALAI_F16", "maybe", 1, "bool value"),
        ("LOCALAI_LOG_LEVEL", "loud", 80, "must be one of"),
        ("LOCALAI_MODEL_LOAD_FAILURE_COOLDOWN", "soon", 1, "invalid duration"),
    ],
)
def test_a_bad_variable_stops_the_start(name: str, value: str, code: int, text: str) -> None:
    with pytest.raises(StartError, match=text.replace("(", r"\(")) as caught:
        environment.read({name: value})
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["LOCALAI_P2P", "LOCALAI_DISTRIBUTED", "LOCALAI_FEDERATED", "LOCALAI_MODELS"])
@pytest.mark.parametrize("value", ["", "false", "[]", "0"])
def test_an_absent_feature_may_be_switched_off(name: str, value: str) -> None:
    assert environment.read({name: value})


def test_an_alias_of_a_variable_counts_when_the_variable_is_unset() -> None:
    assert environment.read({"THREADS": "3"})["LOCALAI_THREADS"] == 3
    assert environment.read({"THREADS": "3", "LOCALAI_THREADS": "2"})["LOCALAI_THREADS"] == 2


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("0", 0.0)])
def test_durations(text: str, seconds: float) -> None:
    assert environment.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "banana", "10", "s", "10 s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        environment.duration(text)


def test_the_runtime_file_sets_what_the_environment_leaves(make: Any, tmp_path: Path) -> None:
    found = {"threads": 4, "context_size": 2048, "api_keys": ["k"], "watchdog_idle_timeout": "7s"}
    (tmp_path / "configuration" / "runtime_settings.json").write_text(json.dumps(found))
    read = make(THREADS="1", WATCHDOG_IDLE_TIMEOUT="40m")
    assert (read["THREADS"], read["CONTEXT_SIZE"], read.runtime_keys) == (1, 2048, ("k",))
    assert read.watchdog("WATCHDOG_IDLE_TIMEOUT") == 7.0


def test_an_unknown_runtime_key_stops_the_start(make: Any, tmp_path: Path) -> None:
    (tmp_path / "configuration" / "runtime_settings.json").write_text('{"treads": 4}')
    with pytest.raises(StartError, match="'treads'"):
        make()


# -- templates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("plain", {}, "plain"),
        ("<{{.Input}}>", {"Input": "x"}, "<x>"),
        ("<{{ .Content }}>", {}, "<>"),
        ('{{if eq .RoleName "user"}}U{{else if eq .RoleName "system"}}S{{else}}A{{end}}: {{.Content}}', {"RoleName": "user", "Content": "c"}, "U: c"),
        ('{{if eq .RoleName "user"}}U{{else if eq .RoleName "system"}}S{{else}}A{{end}}', {"RoleName": "system"}, "S"),
        ('{{if eq .RoleName "user"}}U{{else if eq .RoleName "system"}}S{{else}}A{{end}}', {"RoleName": "tool"}, "A"),
        ("{{if .SystemPrompt}}[{{.SystemPrompt}}]{{end}}{{.Input}}", {"Input": "i"}, "i"),
        ("a\n{{- if .Input }}  b  {{ end -}}\n  c", {"Input": "i"}, "a  b  c"),
        ('{{if .LastMessage}}{{if eq .Role "user"}}last{{end}}{{end}}', {"LastMessage": True, "Role": "user"}, "last"),
    ],
)
def test_a_template_renders(source: str, values: dict[str, Any], text: str) -> None:
    assert gotemplate.parse(source).render(values) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{.Unknown}}", "{{range .Messages}}{{end}}", "{{if .Input}}", "{{end}}", "{{else}}", "{{toJson .Content}}", '{{if ne .Role "x"}}{{end}}',
        "{{.Input", "a}}",
    ],
)
def test_a_template_beyond_the_subset_is_refused(source: str) -> None:
    with pytest.raises(gotemplate.TemplateError):
        gotemplate.parse(source)


# -- options and model files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("paralel:2", "unknown to LocalAI"), ("grpc_servers:a:1", "no such feature"), ("draft_gpu_layers:1", "no such feature"),
        ("kv_unified:maybe", "true or false"), ("mmproj_use_gpu", "no such feature"),
    ],
)
def test_an_unknown_option_is_refused(entry: str, text: str) -> None:
    with pytest.raises(options.OptionError, match=text):
        options.parse([entry])


def _arguments(*entries: str, **more: Any) -> str:
    setup = options.EngineSetup(model="/m", threads=2, context=4096, batch=512, options=options.parse(list(entries)), **more)
    return " ".join(options.arguments(setup))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], ["--parallel 1", "--kv-unified", "--cache-ram -1", "--ubatch-size 512", "--batch-size 512", "--threads-batch 2", "--ctx-checkpoints 32"]),
        ([], ["--checkpoint-min-step 256", "--cache-reuse 256", "--no-context-shift", "--no-jinja", "--flash-attn auto", "--load-mode mmap"]),
        (["n_parallel:4", "unified_kv:false"], ["--parallel 4", "--no-kv-unified", "--no-cache-idle-slots"]),
        (["cache_ram:0"], ["--cache-ram 0", "--no-cache-idle-slots"]),
        (["use_jinja"], ["--jinja"]),
        (["direct_io:true"], ["--load-mode dio"]),
        (["pooling:mean", "ubatch:128", "fit_params:false"], ["--pooling mean", "--ubatch-size 128", "--fit off"]),
    ],
)
def test_options_become_arguments(entries: list[str], expected: list[str]) -> None:
    found = _arguments(*entries) + " "
    assert [part for part in expected if f"{part} " not in found] == []


def test_a_raw_flag_comes_last_and_keeps_its_colons() -> None:
    assert _arguments("--ctx-size:8192", "--override-tensor:a=b:c").endswith("--ctx-size 8192 --override-tensor a=b:c")


def test_the_slots_of_the_environment_count_only_without_an_option() -> None:
    assert "--parallel 4" in _arguments(parallel_default="4")
    assert "--parallel 2" in _arguments("parallel:2", parallel_default="4")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"name": "m", "treads": 2}, "unknown key treads"),
        ({"name": "m", "parameters": {"modle": "x"}}, "unknown key parameters.modle"),
        ({"name": "m", "template": {"chat_massage": "x"}}, "unknown key template.chat_massage"),
        ({"name": "m", "mcp": {"stdio": "x"}}, "mcp is known"),
        ({"name": "m", "threads": "two"}, "threads takes integer"),
        ({"name": "m", "threads": True}, "threads takes integer"),
        ({"name": "m", "mmap": "maybe"}, "mmap takes boolean"),
        ({"name": "m", "options": ["paralel:2"]}, "option 'paralel:2' is unknown"),
        ({"name": "m", "known_usecases": ["talk"]}, "'talk' is not one"),
        ({"name": "m", "cache_type_k": "q3"}, "cache_type_k 'q3'"),
        ({"name": "m", "flash_attention": "maybe"}, "flash_attention 'maybe'"),
        ({"name": "m", "parameters": {"model": "../x"}}, "inside the models directory"),
        ({"name": "m", "backend": "llama cpp"}, "not a backend name"),
        ({"name": "a", "alias": "m", "backend": "llama-cpp"}, "an alias takes a name and nothing else"),
        ({"name": "a", "alias": "a"}, "points to itself"),
        ({"name": "m", "template": {"chat": "{{range .X}}"}}, "is not understood"),
    ],
)
def test_a_model_file_is_read_strictly(entry: dict[str, Any], text: str) -> None:
    with pytest.raises(configs.ConfigError, match=f"^m.yaml: .*{text}"):
        configs.read_entry(entry, "m.yaml")


def test_a_file_may_hold_a_list(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("- name: a\n- {name: b, alias: a}\n")
    assert [config.name for config in configs.read_file(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("flash_attention: on", "flash_attention", "on"), ("mmap: off", "mmap", False), ("mmap: true", "mmap", True), ("main_gpu: 1", "main_gpu", "1"),
        ("threads: null", "threads", None),
    ],
)
def test_words_are_read_as_go_reads_them(tmp_path: Path, line: str, key: str, value: object) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"name: m\n{line}\n")
    assert configs.read_file(path)[0].get(key) == value


@pytest.mark.parametrize("text", ["name: [", "just text", "- a\n- b\n"])
def test_a_broken_file_is_skipped_by_localai(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(configs.BrokenFile):
        configs.read_file(path)


def _gguf(path: Path, context: int, template: str) -> Path:
    """A GGUF header with the fields that are guessed from, between fields that are skipped."""
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    tokens = b"".join(text(token) for token in ("a", "bc"))
    pairs = [
        text("general.name") + struct.pack("<I", 8) + text("tiny"),
        text("x.context_length") + struct.pack("<II", 4, context),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + tokens,
        text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 0, 1),
    ]
    if template:
        pairs.append(text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return path


@pytest.mark.parametrize(("context", "template"), [(32768, "{{ x }}"), (2048, "")])
def test_the_header_is_guessed_from(tmp_path: Path, context: int, template: str) -> None:
    assert gguf.guess(_gguf(tmp_path / "m.gguf", context, template)) == gguf.Guess(context, bool(template))


@pytest.mark.parametrize("data", [b"", b"GGUF", b"not a model", b"GGUF" + b"\xff" * 64])
def test_a_foreign_file_gives_no_guess(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(data)
    assert gguf.guess(tmp_path / "m.gguf") == gguf.Guess()


@pytest.mark.parametrize(
    ("entry", "environ", "expected"),
    [
        ({}, {}, {"context": 8192, "threads": settings.physical_cores(), "batch": 512, "jinja": True, "load_mode": "mmap"}),
        ({}, {"CONTEXT_SIZE": "1024", "THREADS": "3"}, {"context": 1024, "threads": 3}),
        ({"context_size": 512, "threads": 1}, {"CONTEXT_SIZE": "1024", "THREADS": "3"}, {"context": 512, "threads": 1}),
        ({"context_size": -1}, {}, {"context": 0}),
        ({}, {"DISABLE_GUESSING": "true"}, {"context": 4096, "jinja": False}),
        ({"mmap": False}, {}, {"load_mode": "none"}),
        ({"mmlock": True}, {}, {"load_mode": "mlock"}),
        ({"embeddings": True, "context_size": 2048}, {}, {"batch": 2048, "embeddings": True}),
        ({"template": {"chat": "{{.Input}}"}}, {}, {"jinja": False}),
        ({"template": {"use_tokenizer_template": True, "chat": "{{.Input}}"}}, {}, {"jinja": True}),
        ({"flash_attention": "disabled", "cache_type_k": "q8_0"}, {}, {"flash_attention": "off", "cache_type_k": "q8_0"}),
    ],
)
def test_a_model_file_becomes_an_engine_setup(make: Any, tmp_path: Path, entry: dict[str, Any], environ: dict[str, str], expected: dict[str, Any]) -> None:
    _gguf(tmp_path / "models" / "m.gguf", 32768, "{{ x }}")
    config = configs.read_entry({"name": "m", "parameters": {"model": "m.gguf"}, **entry}, "m.yaml")
    setup = configs.engine_setup(config, make(**environ))
    assert {name: getattr(setup, name) for name in expected} == expected


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def catalog(make: Any, tmp_path: Path) -> Catalog:
    models = tmp_path / "models"
    for name, text in {
        "chat.yaml": "name: chat\nparameters: {model: w.gguf}\n", "alias.yaml": "name: gpt-4\nalias: chat\n", "lost.yaml": "name: lost\nalias: nothing\n",
        "chain.yaml": "name: chain\nalias: gpt-4\n", "off.yaml": "name: off\ndisabled: yes\n", ".hidden.yaml": "name: hidden\n", "w.gguf": "",
        "notes.txt": "", "loose": "", "README": "",
    }.items():
        (models / name).write_text(text)
    found = Catalog(make())
    found.read_all()
    (models / "late.yaml").write_text("name: late\n")
    return found


def test_models_are_listed_with_loose_files(catalog: Catalog) -> None:
    assert set(catalog.names()) == {"chat", "gpt-4", "lost", "chain", "off", "loose"}


@pytest.mark.parametrize(("name", "target"), [
    ("chat", "chat"), ("gpt-4", "chat"), ("w.gguf", "w.gguf"), ("late", "late"), ("cha", "cha"), ("gguf/x", "gguf/x"),
])
def test_a_name_is_resolved(catalog: Catalog, name: str, target: str) -> None:
    assert catalog.resolve(name).name == target


@pytest.mark.parametrize(("name", "status", "text"), [
    ("nope", 404, "not found. To see available models"), ("lost", 400, "points to unknown model"), ("chain", 400, "chains are not allowed"),
    ("off", 403, "disabled"), ("hidden", 404, "not found"),
])
def test_a_name_is_not_resolved(catalog: Catalog, name: str, status: int, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        catalog.resolve(name)
    assert caught.value.status == status


def test_reading_again_adds_and_never_removes(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "models" / "alias.yaml").unlink()
    catalog.read_all()
    assert {"gpt-4", "late"} <= set(catalog.configs())


# -- requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", '{"model":"a","Model":"b"}', {"model": "b"}),
        ("application/json; charset=utf-8", '{"MODEL":"a","model":"x"}', {"model": "x"}),
        ("application/json", '{"messages":[{"Role":"user","content":{"Key":1}}]}', {"messages": [{"role": "user", "content": {"Key": 1}}]}),
        ("application/x-www-form-urlencoded", '{"model":"a"}', {}),
        ("", "", {}),
    ],
)
def test_a_body_is_read(kind: str, body: str, expected: dict[str, Any]) -> None:
    assert requests.read(kind, body.encode()) == expected


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/json", "{}", "code=415"), ("APPLICATION/JSON", "{}", "code=415"), ("", "{}", "code=415"),
        ("application/json", "{broken", "Syntax error: offset=2, error=invalid character 'b'"),
        ("application/json", '{"model":', "Syntax error"),
        ("application/json", '{"messages":"hello"}', "expected=[]schema.Message, got=string, field=messages, offset="),
        ("application/json", '{"model":1}', "expected=string, got=number, field=model"),
        ("application/json", '{"max_tokens":true}', "expected=int, got=bool"),
        ("application/json", "[]", "got=array"),
    ],
)
def test_a_body_is_refused(kind: str, body: str, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        requests.read(kind, body.encode())
    assert caught.value.status == 400
    assert caught.value.message.startswith("code=400, message=failed parsing request body: ")
    assert text in caught.value.message


def test_a_chat_prompt_goes_through_both_templates() -> None:
    template = {"chat_message": '{{if eq .RoleName "user"}}Q{{else}}A{{end}}: {{.Content}}', "chat": "{{.SystemPrompt}}|{{.Input}}|"}
    config = configs.read_entry({"name": "m", "template": template, "system_prompt": "be brief"}, "m.yaml")
    parts = [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": parts}]
    assert prompts.chat_prompt(config, messages) == "be brief|Q: one\nA: two|"


def test_sampling_takes_the_request_then_the_file_then_the_defaults() -> None:
    config = configs.read_entry({"name": "m", "stopwords": ["END"], "parameters": {"temperature": 0.1, "top_k": 5, "max_tokens": 7}}, "m.yaml")
    found = prompts.sampling(config, {"temperature": 0.5, "stop": "STOP"})
    expected = {"temperature": 0.5, "top_k": 5, "top_p": 0.95, "min_p": 0.0, "seed": -1, "n_predict": 7, "stop": ["STOP", "END"]}
    assert {name: found[name] for name in expected} == expected


# -- keys and routes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ({"Authorization": "Bearer k"}, ["k"]), ({"Authorization": "k"}, ["k"]), ({"Authorization": "bearer k"}, ["bearer k"]), ({"x-api-key": "k"}, ["k"]),
        ({"xi-api-key": "k"}, ["k"]), ({"Cookie": "a=b; token=k"}, ["k"]), ({}, []),
    ],
)
def test_a_key_is_found_where_it_stands(headers: dict[str, str], keys: list[str]) -> None:
    assert sent_keys(headers) == keys


def test_keys_come_from_environment_and_file(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "configuration" / "api_keys.json"
    keys = Keys(make(API_KEY="a,b"))
    assert [keys.accepts({"x-api-key": key}) for key in ("a", "b", "c")] == [True, True, False]
    path.write_text('["c"]')
    keys.refresh()
    assert keys.accepts({"x-api-key": "c"}) and keys.accepts({"x-api-key": "a"})
    path.write_text("broken")
    keys.refresh()
    assert keys.accepts({"x-api-key": "c"})
    path.unlink()
    keys.refresh()
    assert not keys.accepts({"x-api-key": "c"}) and keys.required


def test_no_key_at_all_is_an_open_server(make: Any) -> None:
    assert not Keys(make()).required


@pytest.mark.parametrize(
    ("path", "prefix", "stripped"),
    [
        ("/readyz/", "", "/readyz"), ("/", "", "/"), ("/readyz/v1/models", "/readyz", "/v1/models"), ("/v1/readyz", "/v1/", "/readyz"),
        ("/v10/readyz", "/v1", "/v10/readyz"), ("/v1", "/v1", "/"),
    ],
)
def test_prefix_and_slash_are_cut(path: str, prefix: str, stripped: str) -> None:
    assert strip(path, prefix) == stripped


@pytest.mark.parametrize(
    ("method", "path", "public"),
    [
        ("GET", "/readyz", True), ("HEAD", "/readyz", False), ("GET", "/", True), ("HEAD", "/", True), ("GET", "/v1/models", False), ("GET", "/appx", True),
        ("GET", "/swagger/../v1/models", True), ("POST", "/readyz", False), ("POST", "/api/auth/login", True), ("OPTIONS", "/v1/models", False),
        ("OPTIONS", "/api/auth/me", True), ("GET", "/api/node/x", True), ("GET", "/api/nodes", False),
    ],
)
def test_public_paths(method: str, path: str, public: bool) -> None:
    assert is_public(method, path) is public


def test_the_router_takes_parameters_and_rests() -> None:
    router = Router({"/a": {}, "/a/:name/x": {}, "/b/*": {}})
    assert [router.find(path) and router.find(path)[::2] for path in ("/a", "/a/m/x", "/b/c/d", "/a/m", "/b")] == [
        ("/a", {}), ("/a/:name/x", {"name": "m"}), ("/b/*", {}), None, None,
    ]
