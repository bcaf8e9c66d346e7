"""What an earlier run left on this host, as JSON. Arguments: the configuration's folder, the folder of the secrets."""
from __future__ import annotations

import importlib.util
import json
import os
import sys


def text(path):
    """What a file holds; nothing when it is not there."""
    try:
        with open(path, encoding="ascii") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def main(config, secrets):
    """Certificates and what can be told of keys without reading them."""
    print(json.dumps({
        "library": importlib.util.find_spec("cryptography") is not None,
        "certificate": text(os.path.join(config, "tls.crt")),
        "published": text(os.path.join(config, "ca.crt")),
        "authority": text(os.path.join(secrets, "authority", "ca.crt")),
        "key": os.path.exists(os.path.join(secrets, "proxy", "internal.key")),
    }))


main(*sys.argv[1:])
