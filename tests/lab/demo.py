"""`make demo`: the lab up, the product's site.yml and verify.yml against it, a real answer, and how to go on."""
from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab" / "demo"
INVENTORY = STATE / "inventory" / "hosts.yml"
VERDICT = STATE / "verdict.json"
HEADER = STATE / "authorization.header"
CA = STATE / "edge-ca.crt"
KEY = "/opt/localai/secrets/consumers/default.key"
QUESTION = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}


def run(command: Sequence[str | Path]) -> None:
    """Run one step with its output shown; a failure ends the demo with the step's own exit code."""
    code = subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode
    if code:
        print(f"\nThe demo stopped: `{' '.join(map(str, command))}` ended with exit code {code}. What went wrong is above.", file=sys.stderr)
        raise SystemExit(code)


def playbook(name: str, *more: str) -> None:
    """Run one of the product's playbooks against the lab."""
    run([Path(sys.executable).parent / "ansible-playbook", "-i", INVENTORY, f"playbooks/{name}.yml", *more])


def read(host: str, path: str) -> str:
    """A file of a lab server, by Ansible's own connection."""
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible", "-i", INVENTORY, host, "-m", "ansible.builtin.slurp", "-a", f"src={path}"],
        cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"})
    found = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"][host]
    return base64.b64decode(found["content"]).decode()


def private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def facts() -> dict[str, Any]:
    """Gateway, its address, domain and first model as the inventory has them."""
    shown = subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", INVENTORY, "--list"], cwd=ROOT, check=True, capture_output=True, text=True)
    inventory = json.loads(shown.stdout)
    gateway = inventory["localai_gateway"]["hosts"][0]
    values = inventory["_meta"]["hostvars"][gateway]
    return {
        "gateway": gateway, "address": values["ansible_host"], "domain": values["proxy_domain"],
        "model": values["models_wanted"][0]["name"], "aliases": values["models_wanted"][0].get("aliases", []),
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def plan_rows(report: dict[str, Any]) -> list[list[str]]:
    """The plan of each instance (what cannot be dropped) beside what its container was measured to hold (anonymous and file pages together)."""
    measured = {(row["host"], row["instance"]): row for row in report["verdict"]["measured"]}
    rows = [["HOST", "MODEL", "THREADS", "CONTEXT", "SLOTS", "INSTANCE PLANNED", "INSTANCE HOLDS", "LIMIT"]]
    for host, entry in report["plan"]["hosts"].items():
        for instance in entry["instances"]:
            seen = measured[host, instance["name"]]
            for model in instance["models"]:
                rows.append([
                    host, model["name"], str(model["threads"]), str(model["context"]), str(model["slots"]),
                    gib(seen["memory_planned"]), gib(seen["memory_anonymous"] + seen["memory_file"]), gib(seen["memory_limit"]),
                ])
    return rows


def gib(size: int | None) -> str:
    """Bytes for people."""
    return "-" if size is None else f"{size / 2**30:.2f} GiB"


def ask(at: dict[str, Any]) -> str:
    """The model's answer, asked exactly as the printed line asks."""
    done = subprocess.run(["bash", "-c", curl(at)], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)["choices"][0]["text"].strip()


def curl(at: dict[str, Any]) -> str:
    """A line to paste; the key stays in a file, out of the process list."""
    body = json.dumps({"model": (at["aliases"] or [at["model"]])[-1], **QUESTION})
    return (
        f"curl -sS --fail-with-body -m 100 --cacert {CA.relative_to(ROOT)} --resolve {at['domain']}:443:{at['address']} -H @{HEADER.relative_to(ROOT)} \\\n"
        f"    -H 'Content-Type: application/json' -d '{body}' \\\n"
        f"    https://{at['domain']}/v1/completions"
    )


def main() -> int:
    """Exit code 0 when the model answered; 1 or a step's own code otherwise."""
    phases: list[tuple[str, float]] = []
    start = last = time.monotonic()

    def done(name: str) -> None:
        nonlocal last
        now = time.monotonic()
        phases.append((name, now - last))
        last = now

    run([sys.executable, "-m", "tests.lab", "up", "--instance", "demo"])
    done("lab")
    playbook("site")
    done("site.yml")
    playbook("verify", "-e", f"common_verdict_path={VERDICT}")
    done("verify.yml")

    at = facts()
    private(HEADER, f"Authorization: Bearer {read(at['gateway'], KEY).strip()}\n")
    CA.write_text(read(at["gateway"], "/opt/localai/config/proxy/ca.crt"), encoding="utf-8")
    answer = ask(at)
    done("first answer")

    print("\nThe plan, and what the running containers hold:\n")
    print(table(plan_rows(json.loads(VERDICT.read_text(encoding="utf-8")))))
    print(f"\nURL      https://{at['domain']}/v1  (here at {at['address']})")
    print(f"Key      {KEY} on {at['gateway']}, for root only; a header for curl with it is in {HEADER.relative_to(ROOT)}")
    print(f"Models   {', '.join([at['model'], *at['aliases']])}")
    print(f"\nAsked \"{QUESTION['prompt']}\", {at['model']} answered:\n\n  {answer}\n")
    print(f"Try it:\n\n  {curl(at)}\n")
    print("Go on:   .venv/bin/ansible-playbook -i .lab/demo/inventory/hosts.yml playbooks/site.yml   (again: nothing changes)")
    print("         make demo-down                          (removes the servers; images stay for the next time)\n")
    print("Time     " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in phases) + f"; together {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
