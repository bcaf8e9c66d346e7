# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""The one error family of the engines."""
from __future__ import annotations


MOST = 600
"""Characters of what was got that are told; more is a whole file in the place of a word."""


class FleetError(Exception):
    """Bad input or a failed step, told as one sentence.

    The four parts stay apart for machines (`as_dict`) and join for people (`str`):
    what was wrong, where, what was got, what to do next. None of them may hold a secret.
    """

    def __init__(self, what: str, where: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.got, self.do = what, where, got if len(got) <= MOST else f"{got[:MOST]} … ({len(got)} characters)", do

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        got = f": got {self.got}" if self.got else ""
        todo = f" {self.do}" if self.do else ""
        said = f"{self.what}{place}{got}"
        return f"{said}{'' if said.endswith('.') else '.'}{todo}"

    def as_dict(self) -> dict[str, str]:
        """The four parts, for `failure` in a module's result."""
        return {"what": self.what, "where": self.where, "got": self.got, "do": self.do}
