# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What a GGUF file's name says of it. Publishers follow no one convention, so this reads all of them."""
from __future__ import annotations

import re
from dataclasses import dataclass

MODEL, PROJECTOR, DRAFT, IMATRIX = "model", "projector", "draft", "imatrix"

# general.file_type of a header → quant, as llama.cpp numbers them.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
    14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}

_SIZE = "XXS|XXL|XS|XL|S|M|L|P|H"
# Every label that llama.cpp, its forks and the publishers put in names; without the separator K labels are clear too (q4km).
_QUANTIZED = rf"""
    Q[1-8][-_.]?K (?: [-_.]?(?:{_SIZE}) )? (?: _R[48] )? | Q8_KV
  | P?Q[1-8]_[0-3] (?: [-_](?: 4[-_]4 | 4[-_]8 | 8[-_]8 ) | _(?: R[48] | G\d+ | SOME_F16 | {_SIZE}) )? (?!\.\d)
  | Q[458]-[01] (?!\.\d)
  | Q[1-8]_G\d+
  | IQ4_NL_(?: 4_4 | 4_8 | 8_8 )
  | IQ[1-6][-_.]?(?: XXS | XS | XL | NL | BN | KSS | KS | KT | KL | S | M | L | K ) (?: _R[48] )?
  | TQ[12]_0 | I2_S | MXFP[46] (?: [-_]MOE\d? )? | NVFP4
"""
_FLOAT = r"BF16 | FP?16 | FP?32 | F64 | FP8"
_LABEL = re.compile(
    rf"(?<![^\W_]) (?P<marks>(?:(?:UD|I1)[-_.])*) (?: (?P<quantized>{_QUANTIZED}) | (?P<float>{_FLOAT}) ) (?![^\W_])",
    re.VERBOSE | re.IGNORECASE,
)
_SHARD = re.compile(r"(?:[-_.]split)?[-_.](\d{5})-of-(\d{5})$", re.IGNORECASE)
_ENDING = re.compile(r"\.(?:gguf|dat)$", re.IGNORECASE)
# A file that was cut with split(1), to be joined before use: .gguf.part1of2, .gguf-split-a.
_PIECE = re.compile(r"\.gguf[-_.](?:part[-_.]?(\d+)[-_]?of[-_]?(\d+)|(?:part|split)[-_.]?[a-z\d]+)$", re.IGNORECASE)
_PROJECTOR = re.compile(r"mm-?proj", re.IGNORECASE)
_DRAFT = re.compile(r"(?:mtp|eagle3|dflash|dspark)[-_.]", re.IGNORECASE)
_IMATRIX = re.compile(r"imatrix(?![^\W_])", re.IGNORECASE)
_IMATRIX_TAIL = re.compile(r"(?:(?P<dot>\.)|[-_])imatrix$", re.IGNORECASE)
_QUANT_TAIL = re.compile(r"^[-_.]?(?:imat|imatrix|bf16|fp?16|fp?32)?$", re.IGNORECASE)
_LEFTOVER = re.compile(r"(?:[-_.](?:bf16|fp?16|fp?32))?\.gguf$", re.IGNORECASE)


@dataclass(frozen=True)
class GgufName:
    """The parts of a name. `shard` is (index, count), both from 1. `stem` is the name without label, shard and ending."""

    quant: str | None
    dynamic: bool
    weighted: bool
    kind: str
    shard: tuple[int, int] | None
    stem: str

    @property
    def label(self) -> str | None:
        """The quant as a user asks for it: Q4_K_M, UD-Q4_K_M, i1-Q4_K_M."""
        if self.quant is None:
            return None
        return ("UD-" if self.dynamic else "") + ("i1-" if self.weighted else "") + self.quant


def parse_name(path: str) -> GgufName:
    """Parts of the name of a GGUF file, given with or without its directories.

    The last label wins; a float label counts only where no quantized one is (Name.Q4_K_M-f32.gguf is a Q4_K_M with
    float outputs). A name without a label takes that of its nearest directory. Never fails: a name that says nothing
    has quant None. A name may lie: the header decides (general.file_type).
    """
    *folders, base = path.split("/")
    shard, name = _split_shard(base)
    found = _last_label(name)
    outer = next((label for label in map(_last_label, reversed(folders)) if label), None)
    label = found or outer
    quant = _quant(label) if label else None
    marks = (label["marks"] if label else "").upper()
    if outer and _quant(outer) == quant:
        marks += outer["marks"].upper()
    return GgufName(
        quant=quant, dynamic="UD" in marks, weighted="I1" in marks, kind=_kind(base, name, found), shard=shard,
        stem=_stem(name, found),
    )


def _split_shard(base: str) -> tuple[tuple[int, int] | None, str]:
    """The shard a file name tells of, and the name without it and without its ending."""
    name = _ENDING.sub("", base)
    found = _PIECE.search(base) or _SHARD.search(name)
    if not found:
        return None, name
    index, count = int(found[1] or 0), int(found[2] or 0)
    if 1 <= index <= count:
        return (index, count), name[:found.start()]
    return None, name[:found.start()] if found[1] is None else name


def _last_label(text: str) -> re.Match[str] | None:
    labels = list(_LABEL.finditer(text))
    quantized = [label for label in labels if label["quantized"]]
    return (quantized or labels or [None])[-1]


def _quant(label: re.Match[str]) -> str:
    """One spelling for each quant: upper case, parts joined by underscores (q4km, Q4-K-M → Q4_K_M)."""
    text = (label["quantized"] or label["float"]).upper()
    if text in ("FP16", "FP32"):
        return "F" + text[2:]
    text = re.sub(r"(?<=_MOE)\d$", "", re.sub(r"[-.]", "_", text))
    known = re.fullmatch(rf"(Q[1-8])_?(K)(?:_?({_SIZE}))?(_R[48])?", text)
    known = known or re.fullmatch(r"(IQ[1-6])_?([A-Z]+)()(_R[48])?", text)
    if not known:
        return text
    return "_".join(part for part in known.groups()[:3] if part) + (known[4] or "")


def _kind(base: str, name: str, label: re.Match[str] | None) -> str:
    if base.lower().endswith(".dat"):
        return IMATRIX
    if _PROJECTOR.search(name):
        return PROJECTOR
    tail = _IMATRIX_TAIL.search(name)
    quantized = bool(label and label["quantized"])
    # "-imatrix" behind a quant label says how the quant was made; alone, behind a float or a dot it is the matrix itself.
    if _IMATRIX.match(name) or (tail and (tail["dot"] or not quantized)):
        return IMATRIX
    return DRAFT if _DRAFT.match(name) else MODEL


def _stem(name: str, label: re.Match[str] | None) -> str:
    if not label:
        return _LEFTOVER.sub("", name)
    head, tail = name[:label.start()].rstrip("-_. "), name[label.end():]
    head = _LEFTOVER.sub("", head)
    return head if _QUANT_TAIL.match(tail) else (head + tail).strip("-_. ")
