#!/usr/bin/python
# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: blob_share
short_description: Offers blobs of a host to other hosts while a play runs
version_added: 0.1.0
description:
  - Starts a small read-only file service in the background of the host, or ends it. M(localai.fleet.gguf_file) asks it through
    O(localai.fleet.gguf_file#module:peers).
  - It gives the blobs of O(blobs) and nothing else, whole ones and unfinished ones as they grow, to clients that prove that they know the secret
    which it makes at its start. It proves the same to them. The secret never travels between hosts.
  - It ends by itself when nothing happens for O(deadline) seconds, so also when the controller dies, and in any case after two days.
author:
  - localai.fleet contributors (@localai-fleet)
extends_documentation_fragment:
  - localai.fleet.attributes
options:
  state:
    description: Whether the service runs.
    type: str
    choices: [started, stopped]
    default: started
  dest_dir:
    description: Folder of the blobs. Required for O(state=started).
    type: path
  blobs:
    description: What may be asked for.
    type: list
    elements: dict
    default: []
    suboptions:
      sha256:
        description: SHA-256 of the file.
        type: str
        required: true
      size:
        description: Size in bytes.
        type: int
        required: true
      coming:
        description: Whether this host fetches it in this run.
        type: bool
        default: false
  address:
    description: Address by which other hosts reach this one. The service listens there, or at every address where the host does not have this one.
    type: str
    default: ""
  port:
    description: TCP port. Where it is taken, and with V(0), the service listens at a free one.
    type: int
    default: 0
  secret:
    description:
      - Secret of a service that was started before, as it was returned.
      - Required for O(state=stopped). With O(state=started) a service that answers to it is left as it is.
    type: str
  bandwidth_limit:
    description: Most bytes or bits a second to give to all others together, as in V(20MB/s) or V(160Mbit/s). Empty means no limit.
    type: str
    default: ""
  streams:
    description: To how many others it gives a blob at once. Each further one takes it from somebody else or waits.
    type: int
    default: 2
  deadline:
    description: Seconds without a question and without a download on this host after which the service ends.
    type: int
    default: 7200
notes:
  - Register the result with C(no_log), since it holds the secret.
seealso:
  - module: localai.fleet.gguf_file
"""

EXAMPLES = r"""
- name: Offer a blob
  localai.fleet.blob_share:
    dest_dir: /opt/localai/models/gguf
    address: 192.0.2.11
    port: 8710
    blobs:
      - sha256: 6f85a640a97cf2bf5b8e764087b1e83da0fdb51d7c9fab7d0fece9385611df83
        size: 807694464
  no_log: true
  register: service

- name: Offer it no more
  localai.fleet.blob_share:
    state: stopped
    address: "{{ service.address }}"
    port: "{{ service.port }}"
    secret: "{{ service.secret }}"
"""

RETURN = r"""
address:
  description: Where other hosts reach it, as given.
  type: str
  returned: success
  sample: 192.0.2.11
port:
  description: Where it listens.
  type: int
  returned: when it runs
  sample: 8710
secret:
  description: What its clients must know.
  type: str
  returned: when it was started
pid:
  description: Its process.
  type: int
  returned: when it was started
failure:
  description: What was wrong, where, what was got and what to do, apart.
  type: dict
  returned: failure
"""

import re
import secrets
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FleetError
from ..module_utils._glue import diff, fail
from ..module_utils._pace import parse_rate
from ..module_utils._share import Peer, Unreachable
from ..module_utils._share_service import Offer, detach, listen, offer

END_LIMIT = 10.0
BLOB = {
    "sha256": {"type": "str", "required": True},
    "size": {"type": "int", "required": True},
    "coming": {"type": "bool", "default": False},
}


def argument_spec() -> dict[str, Any]:
    """The options, as documented."""
    return {
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "dest_dir": {"type": "path"},
        "blobs": {"type": "list", "elements": "dict", "default": [], "options": BLOB},
        "address": {"type": "str", "default": ""},
        "port": {"type": "int", "default": 0},
        "secret": {"type": "str", "no_log": True},
        "bandwidth_limit": {"type": "str", "default": ""},
        "streams": {"type": "int", "default": 2},
        "deadline": {"type": "int", "default": 7200},
    }


def desired(params: dict[str, Any]) -> list[Offer]:
    """What is offered. FleetError for values that make no sense."""
    if not 0 <= params["port"] < 65536:
        raise FleetError("The port is none", "port", str(params["port"]), "Give one from 1 to 65535, or 0 for any.")
    for name in ("streams", "deadline"):
        if params[name] < 1:
            raise FleetError("The number must be positive", name, str(params[name]), "Give 1 or more.")
    for blob in params["blobs"]:
        if not re.fullmatch(r"[0-9a-f]{64}", blob["sha256"]) or blob["size"] < 1:
            raise FleetError("A blob cannot be offered", "blobs", f"{blob['sha256']} of {blob['size']} bytes",
                             "Give its SHA-256 in 64 lower-case hexadecimal digits and its size.")
    return [offer(Path(params["dest_dir"] or "/"), blob["sha256"], blob["size"], blob["coming"]) for blob in params["blobs"]]


def running(params: dict[str, Any]) -> Peer | None:
    """The service that answers to the secret on this host."""
    if not params["secret"] or not params["port"]:
        return None
    for address in filter(None, dict.fromkeys([params["address"], "127.0.0.1", "::1"])):
        peer = Peer("this host", address, params["port"], params["secret"])
        try:
            peer.look("")
            return peer
        except Unreachable:
            continue
    return None


def start(params: dict[str, Any], offers: list[Offer]) -> dict[str, Any]:
    """Run it in the background; what its clients need."""
    secret = secrets.token_hex(32)
    service = listen(params["address"], params["port"], offers=offers, secret=secret, rate=parse_rate(params["bandwidth_limit"]),
                     streams=params["streams"], idle=float(params["deadline"]))
    port = service.port
    return {"port": port, "secret": secret, "pid": detach(service)}


def end(peer: Peer) -> None:
    """Tell it to end, and wait until it has. FleetError when it does not."""
    until = time.monotonic() + END_LIMIT
    try:
        peer.stop()
        while time.monotonic() < until:
            peer.look("")
            time.sleep(0.05)
    except Unreachable:
        return
    raise FleetError("The file service does not end", f"{peer.address} port {peer.port}", f"an answer after {END_LIMIT:.0f} seconds",
                     "It ends by itself after its deadline.")


def main() -> None:
    """Read, plan, apply."""
    module = AnsibleModule(argument_spec(), supports_check_mode=True,
                           required_if=[("state", "started", ["dest_dir"]), ("state", "stopped", ["secret", "port"])])
    params, done = module.params, {}
    wanted = params["state"] == "started"
    try:
        offers, peer = desired(params), running(params)
        parse_rate(params["bandwidth_limit"])
        changed = wanted != bool(peer)
        if wanted and peer:
            done = {"port": peer.port}
        elif changed and not module.check_mode:
            done = start(params, offers) if wanted else {}
            if peer:
                end(peer)
    except FleetError as error:
        fail(module, error)
    text = {True: f"offers {len(params['blobs'])} blobs\n", False: ""}
    module.exit_json(changed=changed, address=params["address"], diff=diff(text[bool(peer)], text[wanted], "file service"), **done)


if __name__ == "__main__":
    main()
