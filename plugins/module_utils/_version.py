# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The collection's version for what runs apart from galaxy.yml; a test holds the two equal."""
from __future__ import annotations

VERSION = "0.1.0"
