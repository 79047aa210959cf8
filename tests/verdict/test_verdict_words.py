"""Every sentence a verdict can say, as a snapshot: code x margin or none x direction x n."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from harness.verdict import Context, headline
from harness.verdict.words import budget, roughly

SNAPSHOTS = Path(__file__).with_name("sentences.txt")
BANNED = (
    "significant",
    "no difference",
    "proves",
    "proven",
    "outperform",
    "in general",
    "state of the art",
    "p = 0.000",
    "nan",
    "None",
    "Covers .",
    "  ",
)

SHIFTS = {"ahead": 0.05, "slightly ahead": 0.012, "level": 0.0, "slightly behind": -0.012, "behind": -0.05}
SPREAD = (0.001, -0.002, 0.003, -0.001, 0.0015)
MARGINS = {"no margin": None, "margin": 0.01, "wide margin": 0.2}
METRICS = ("accuracy", "loss")
SIZES = (1, 2, 3, 5)


def cases():
    """Name and inputs of each snapshot, in the order of the file."""
    for metric, margin, shift, n in itertools.product(METRICS, MARGINS, SHIFTS, SIZES):
        yield f"{metric}, {margin}, {shift}, n = {n}", metric, MARGINS[margin], SHIFTS[shift], n


def said(kit, metric, margin, shift, n):
    measure = getattr(kit, metric)
    return kit.verdict_of([measure.sign * shift + d for d in SPREAD[:n]], metric=measure, margin=margin)


def snapshots():
    blocks = SNAPSHOTS.read_text(encoding="utf-8").strip().split("\n\n")
    return dict(block.removeprefix("# ").split("\n", 1) for block in blocks)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case[0])
def test_sentence_is_the_snapshot(kit, case):
    name, *inputs = case
    assert said(kit, *inputs).sentence == snapshots()[name]


def test_every_snapshot_has_a_case():
    assert list(snapshots()) == [case[0] for case in cases()]


def test_the_snapshots_hold_every_code_that_has_an_interval(kit):
    codes = {said(kit, *inputs).verdict for _, *inputs in cases()}
    assert codes == {"better", "worse", "equivalent", "better_small", "worse_small", "undecided", "not_compared"}


def other_verdicts(kit):
    """Verdicts of the cases that the snapshots leave out."""
    for claim, trials in (("method", 12), ("setting", 12), ("method", 0)):
        for n in (1, 2, 4, 5):
            yield kit.verdict_of([0.01 * d for d in kit.worked[:n]], claim=claim, trials=trials, replicates=5)
    failing = {"sgd": [*kit.base[:4], None], "adam": [None, *kit.base[1:]]}
    equal = {"sgd": kit.base, "adam": kit.base}
    shifted = {"sgd": kit.base, "adam": [x + 0.01 for x in kit.base]}
    frames = [kit.finals(values) for values in (failing, equal, shifted, {})]
    frames.append(kit.finals(equal, weights=lambda arm, i: str(i)))
    for finals, margin, paired_on in itertools.product(frames, (None, 0.002), ("split, order", "order")):
        yield from kit.judge(finals, arms=("sgd", "adam"), margin=margin, paired_on=paired_on)
    yield from kit.judge(kit.finals(failing, metric=kit.loss), arms=("sgd", "adam"), metric=kit.loss)


def test_banned_phrases_occur_in_no_sentence(kit):
    verdicts = [said(kit, *inputs) for _, *inputs in cases()] + list(other_verdicts(kit))
    context = Context("?", ("mnist-cnn",), ("sgd", "adam"), 12)
    texts = {v.sentence for v in verdicts}
    texts |= {headline([v], metric=getattr(kit, v.metric), context=context) for v in verdicts}
    assert len(texts) > 150
    assert not [(phrase, text) for phrase in BANNED for text in texts if phrase in text]


def test_every_sentence_names_problem_arms_metric_n_and_claim(kit):
    for verdict in other_verdicts(kit):
        assert verdict.sentence.startswith("On mnist-cnn, each optimizer ")
        assert "claim: " in verdict.sentence
        metric = "" if verdict.verdict == "identical" else verdict.metric
        assert all(name in verdict.sentence for name in ("adam", "sgd", metric, f"{verdict.n} "))
        assert ("Covers" in verdict.sentence) == (verdict.lo is not None)


def sentence_of(kit, **options):
    return kit.verdict_of([0.01 * d for d in kit.worked], **options).sentence


def test_claim_method_covers_tuning(kit):
    text = sentence_of(kit)
    assert "each optimizer tuned with 12 trials in each of 5 studies" in text
    assert "5 paired replicates; claim: method)" in text
    assert "Covers split, initialisation, order and tuning; not the choice of test set" in text


def test_claim_setting_does_not_cover_the_luck_of_its_study(kit):
    text = sentence_of(kit, claim="setting")
    assert "each optimizer tuned with 12 trials in one study" in text
    assert "5 paired runs; claim: setting)" in text
    assert "Covers split, initialisation and order; not the luck of the one study, the choice of test set" in text


def test_defaults_do_not_cover_tuning(kit):
    text = sentence_of(kit, trials=0)
    assert "each optimizer at its defaults" in text
    assert "claim: at their defaults)" in text
    assert "Covers split, initialisation and order; not tuning, the choice of test set" in text


def test_arms_with_options_that_the_suite_gives_are_not_called_at_their_defaults(kit):
    text = sentence_of(kit, trials=0, at="given")
    assert "each optimizer as the suite gives it, adam is better" in text
    assert "claim: as given)" in text
    assert "default" not in text


def test_the_test_set_is_in_the_scope_with_its_standard_error(kit):
    values = {"sgd": [0.92, 0.91, 0.93], "adam": [0.93, 0.92, 0.91]}
    for size, text in ((1000, "(1,000 examples: binomial standard error 0.86 pp)"), (10_000, "0.27 pp)")):
        assert text in kit.judge(kit.finals(values, n_examples=size), arms=("sgd", "adam"))[0].sentence


def test_a_test_set_without_known_size_is_named_without_one(kit):
    finals = pd.concat([kit.finals({"sgd": kit.base}), kit.finals({"adam": kit.base[::-1]}, n_examples=9)])
    assert "not the choice of test set or other problems." in kit.judge(finals, arms=("sgd", "adam"))[0].sentence


def test_a_standard_error_is_only_given_for_shares_of_examples(kit):
    text = kit.verdict_of([-0.3, -0.2, -0.4], metric=kit.loss).sentence
    assert "the choice of test set (10,000 examples) or other problems." in text


def test_an_adjusted_level_names_its_family(kit):
    values = {"sgd": kit.base, "adam": [x + 0.001 * i for i, x in enumerate(kit.base)], "lion": kit.base[::-1]}
    text = kit.judge(kit.finals(values), arms=("sgd", "adam", "lion"))[0].sentence
    assert "(97.5 % t-interval, Bonferroni over 2 comparisons, 5 paired replicates; claim: method)" in text


def test_identical_arms_are_called_the_same_computation(kit):
    finals = kit.finals({"sgd": kit.base, "momentum": kit.base}, weights=lambda arm, i: str(i))
    text = kit.judge(finals, arms=("sgd", "momentum"))[0].sentence
    assert "momentum and sgd are the same computation: equal weights in every replicate" in text


def test_an_undecided_verdict_without_margin_tells_what_more_replicates_could_find(kit):
    text = kit.verdict_of([0.01, -0.02, 0.03, -0.01, 0.005]).sentence
    # sd of the differences 1.92 pp, times 1.682, 0.996, 0.660 and 0.454.
    others = "n = 10 one of 1.9 pp, n = 20 one of 1.3 pp and n = 40 one of 0.87 pp."
    assert f"n = 5 finds a difference of 3.2 pp in 4 of 5 cases; {others}" in text


def test_budgets_in_words():
    assert budget("method", "model", 1, 3) == "each model tuned with 1 trial in each of 3 studies"
    assert budget("method", "arm", 6, 1) == "each arm tuned with 6 trials in one study"


@pytest.mark.parametrize(("number", "text"), [(7, "7"), (99, "99"), (143, "140"), (253_211, "250,000")])
def test_estimated_counts_have_two_digits(number, text):
    assert roughly(number) == text
