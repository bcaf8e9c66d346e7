"""A stand-in of the LocalAI v4.9 server for the lab, named so.

LocalAI itself cannot be built from package registries. This program takes the same command line, environment, model files,
backends directory, keys and routes, and runs a real llama.cpp engine, one process for each loaded model, so that sizing, limits,
streaming and memory are real. It is strict where LocalAI is silent: an unknown `LOCALAI_*` variable, an unknown key in a model
file, or a feature that it does not have is a loud failure.
"""
from __future__ import annotations

VERSION = "v4.9.0 (lab stand-in)"
