"""Ways to fine-tune: which parameter learns, how fast."""

from __future__ import annotations

from harness.hookspecs import Int, Phase, Strategy, hookimpl
from harness.strategies import Transfer


def full(t: Transfer) -> list[Phase]:
    """Everything learns: the backbone at the learning rate, the head at `head_scale` times it.

    Raises:
        PluginError: `head_scale` is not above 0 and finite.
    """
    return [Phase(lambda p: t.options.head_scale if p.head else 1.0)]


def freeze(t: Transfer) -> list[Phase]:
    """The last `last_k` blocks learn, the head counted as one of them; "all" is `full`.

    Raises:
        ValueError: `last_k` is neither a whole number of at least 1 nor "all".
    """
    last_k = t.options.last_k
    if last_k == "all":
        return [Phase(lambda p: 1.0)]
    if isinstance(last_k, bool) or not isinstance(last_k, int) or last_k < 1:
        raise ValueError(f"freeze: last_k must be a whole number of at least 1, or 'all', got {last_k!r}")
    return [Phase(lambda p: 1.0 if p.depth < last_k else None)]


@hookimpl
def harness_strategies() -> list[Strategy]:
    """`full`, `freeze`."""
    return [
        Strategy(
            "full",
            phases=full,
            defaults={"head_scale": 1.0},
            source="Kornblith, Shlens, Le 2019 (arXiv:1805.08974): fine-tuning",
        ),
        Strategy(
            "freeze",
            phases=freeze,
            defaults={"last_k": 2},
            # 5 stages at most: 1 is the head alone, and what 5 would be, "all", is `full`.
            space={"last_k": Int(1, 4)},
            source="Donahue et al. 2014 (arXiv:1310.1531); Yosinski et al. 2014 (arXiv:1411.1792): frozen layers",
        ),
    ]
