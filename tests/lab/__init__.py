"""The hermetic lab: real servers, registry and hub in containers, from package registries alone. `python -m tests.lab up`."""
