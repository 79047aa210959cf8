"""`harness report --require`: what must be so of the results, for scripts that go on by the exit code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from harness.report import Findings

CLEAN = "clean"
PAIRS = ("better", "better_small", "equivalent", "undecided", "worse_small", "worse", "identical", "not_compared")
CLAIMS = ("reproduced", "not_reproduced", "undecided", "not_compared")
"""Codes of verdicts that a comparison and a claim can have."""
WORDS = tuple(dict.fromkeys((CLEAN, *PAIRS, *CLAIMS)))
NOT_MET = 3
"""Exit code."""


def unmet(found: Findings, required: Sequence[str]) -> str:
    """Why what is required is not so, in one line; empty where it is.

    `clean`: no warning. A verdict's code: each declared comparison has it, or another that is required too; and so for
    claims, where the code is one that claims have.
    """
    rows = found.tables["comparisons"]
    pairs, claims = rows[(rows["kind"] == "pair") & rows["primary"].astype(bool)], rows[rows["kind"] == "claim"]
    reasons = [_warnings(found) if CLEAN in required else ""]
    only_claims = set(required) & set(CLAIMS) - set(PAIRS)
    if due := [code for code in required if code in PAIRS]:
        reasons.append(_others(pairs, due, "comparison") if len(pairs) or not len(claims) else "")
    if due := [code for code in required if code in CLAIMS]:
        reasons.append(_others(claims, due, "claim") if len(claims) or only_claims else "")
    return "; ".join(filter(None, reasons))


def _warnings(found: Findings) -> str:
    codes = dict.fromkeys(remark.code for remark in found.remarks if remark.level == "W")
    return f"'{CLEAN}' is required, and there are warnings ({', '.join(codes)})" if codes else ""


def _others(verdicts: pd.DataFrame, due: Collection[str], kind: str) -> str:
    """How many verdicts are none of those that are due."""
    required = f"'{' or '.join(due)}' is required"
    if verdicts.empty:
        return f"{required}, and the suite declares no {kind}"
    other = verdicts[~verdicts["verdict"].isin(due)]
    if other.empty:
        return ""
    first, many = other.iloc[0], f"{len(other)} of {len(verdicts)} are others"
    return f"{required}, and {many}: the first is '{first['verdict']}', {first['arm']} on {first['problem']}"
