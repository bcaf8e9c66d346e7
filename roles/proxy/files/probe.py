"""Asks the edge as a client does. Arguments: address, port, server name, file of the certificate that it must show."""
from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys


def connect(address, port, name):
    """A TLS connection to the address, asking for the name; what it shows is compared by the caller."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPConnection(name, timeout=5)
    connection.sock = context.wrap_socket(socket.create_connection((address, port), timeout=5), server_hostname=name)
    return connection


def ask(address, port, name, path):
    """Status, body and certificate of one answer."""
    connection = connect(address, port, name)
    try:
        shown = connection.sock.getpeercert(binary_form=True)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(), shown
    finally:
        connection.close()


def main(address, port, name, certificate):
    """A sentence about the first thing that is not as it must be, else None."""
    with open(certificate, encoding="ascii") as handle:
        first = handle.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    status, _body, shown = ask(address, int(port), name, "/readyz")
    if status != 200:
        return "/readyz answers %d" % status
    if shown != ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN"):]):
        return "the certificate it shows is not the one in %s" % certificate
    status, body, _shown = ask(address, int(port), name, "/v1/models")
    if status != 401 or json.loads(body)["error"]["code"] != 401:
        return "/v1/models without a key answers %d" % status
    return None


if __name__ == "__main__":
    try:
        problem = main(*sys.argv[1:])
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        problem = "%s: %s" % (type(error).__name__, error)
    sys.exit(problem)
