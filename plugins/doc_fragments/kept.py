# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module has which keeps a few files for several writers."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  names:
    description:
      - The files to look at. Those that do not exist are left out of RV(files).
    type: list
    elements: str
    required: true
  files:
    description:
      - New texts by name, each of a file of O(names). A null takes the file away. Nothing is changed without it.
    type: dict
    default: {}
  revision:
    description:
      - The RV(revision) that the new texts were made from. Nothing is compared without it.
    type: str
  changes:
    description:
      - What changes, in lines for people. Diff mode shows them in the place of the texts, and the message of a commit has them.
    type: list
    elements: str
    default: []
"""
