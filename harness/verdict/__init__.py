"""From the final runs of a suite to answers: numbers with intervals, and the sentences that say them."""

from harness.verdict.answer import winner
from harness.verdict.compare import analyses_of, compare
from harness.verdict.format import Measure
from harness.verdict.headline import headline
from harness.verdict.judge import Judgement, judge, pair
from harness.verdict.judgement import Context, Verdict, context_of, shared_streams
from harness.verdict.lint import Remark, lint
from harness.verdict.robust import Analysis
from harness.verdict.summary import optimism, summarise

__all__ = [
    "Analysis",
    "Context",
    "Judgement",
    "Measure",
    "Remark",
    "Verdict",
    "analyses_of",
    "compare",
    "context_of",
    "headline",
    "judge",
    "lint",
    "optimism",
    "pair",
    "shared_streams",
    "summarise",
    "winner",
]
