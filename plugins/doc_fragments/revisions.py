# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module has which changes the revisions of a running LocalAI."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - An admin key of LocalAI.
    type: str
    required: true
  port:
    description:
      - Port of LocalAI in its container.
    type: int
    default: 8080
  load_timeout:
    description:
      - Seconds until a new revision must be loaded.
    type: int
    default: 1800
  drain_timeout:
    description:
      - Seconds that the answers of a revision get to end before it is stopped.
    type: int
    default: 600
  root:
    description:
      - Read the files of the host below this directory.
    type: path
    default: /
"""
