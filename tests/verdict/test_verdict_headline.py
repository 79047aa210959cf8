"""The report's first line: one sentence, plain words, never a ranking without intervals."""

from __future__ import annotations

import dataclasses
import itertools

import pandas as pd
import pytest
from scipy import stats

from harness.verdict import Context, headline, winner
from harness.verdict.answer import rivals

SMALL = (0.001, -0.001, 0.001, 0.002, 0.0)
ZIGZAG = (0.001, -0.002, 0.003, -0.001, 0.0015)


def arms_of(kit, shifts):
    """Arms whose values are the baseline's plus a shift plus a little spread."""
    spreads = itertools.cycle([SMALL, ZIGZAG, tuple(reversed(ZIGZAG)), tuple(reversed(SMALL))])
    values = {"sgd": kit.base}
    for (arm, shift), spread in zip(shifts.items(), spreads, strict=False):
        values[arm] = [b + shift + s for b, s in zip(kit.base, spread, strict=True)]
    return values


def line(kit, finals, arms, *, problems=("mnist-cnn",), metric=None, trials=6, at="defaults", **chosen):
    metric = metric or kit.accuracy
    verdicts = kit.judge(finals, arms=arms, problems=problems, metric=metric, trials=trials, at=at, **chosen)
    context = Context("Which is better?", tuple(problems), tuple(arms), trials, "optimizer", untuned=at)
    return headline(verdicts, metric=metric, context=context)


def one(kit, shifts, **chosen):
    values = arms_of(kit, shifts)
    setting = "given" if chosen.get("trials", 6) == 0 else "tuned"
    return line(kit, kit.finals(values, setting=setting), tuple(values), **chosen)


TUNED = "On mnist-cnn, tuned alike with 6 trials each, "


@pytest.mark.parametrize(
    ("shift", "margin", "text"),
    [
        (0.02, None, "adam is better than sgd: test accuracy 2.06 pp (1.92 to 2.20) higher"),
        (
            0.02,
            0.002,
            "adam is better than sgd by more than the 0.20 pp declared to matter: "
            "test accuracy 2.06 pp (1.92 to 2.20) higher",
        ),
        (
            0.002,
            0.002,
            "adam is better than sgd, though perhaps by less than the 0.20 pp declared to matter: "
            "test accuracy 0.26 pp (0.12 to 0.40) higher",
        ),
        (-0.02, None, "adam is worse than sgd: test accuracy 1.94 pp (1.80 to 2.08) lower"),
        (
            0.0,
            0.01,
            "adam is equivalent to sgd, differing by less than the 1.0 pp declared to matter: "
            "a test accuracy anywhere from 0.08 pp lower to 0.20 pp higher fits these runs",
        ),
        (
            0.0,
            0.001,
            "it is not decided whether adam is better or worse than sgd: "
            "a test accuracy anywhere from 0.08 pp lower to 0.20 pp higher fits these runs",
        ),
    ],
)
def test_one_comparison_is_one_plain_sentence(kit, shift, margin, text):
    assert one(kit, {"adam": shift}, margin=margin) == f"{TUNED}{text} (95 % interval; 5 paired replicates)."


def test_a_minimised_metric_is_lower_when_it_is_better(kit):
    values = {"sgd": [0.30, 0.31, 0.32], "adam": [0.20, 0.22, 0.21]}
    text = line(kit, kit.finals(values, metric=kit.loss), ("sgd", "adam"), metric=kit.loss, replicates=3)
    assert "adam is better than sgd: test loss 0.100 nats (0.075 to 0.125) lower" in text


def test_what_fits_an_undecided_comparison_goes_from_lower_to_higher_whichever_is_better(kit):
    values = {"sgd": [0.30, 0.31, 0.32], "adam": [0.31, 0.30, 0.34]}  # 0.02 / 3 higher, on average
    text = line(kit, kit.finals(values, metric=kit.loss), ("sgd", "adam"), metric=kit.loss, replicates=3)
    # 0.00667 -+ 4.303 x 0.01528 / sqrt(3)
    assert "a test loss anywhere from 0.031 nats lower to 0.045 nats higher fits these runs" in text


def test_the_best_arm_is_named_with_its_interval_to_every_other(kit):
    text = one(kit, {"adam": 0.03, "lion": 0.0}, margin=0.002)
    assert text.startswith(
        f"{TUNED}adam is the best of 3: its test accuracy is 3.06 pp (2.88 to 3.24) higher than that of sgd and "
    )
    assert "higher than that of lion, each more than the 0.20 pp declared to matter; lion is not separated" in text
    assert text.endswith(
        "(97.5 % intervals with sgd, adjusted for 2 comparisons; the others 95 %, exploratory; 5 paired replicates)."
    )


def test_a_best_baseline_is_named_too(kit):
    text = one(kit, {"adam": -0.03, "lion": -0.05})
    assert text.startswith(f"{TUNED}sgd is the best of 3: its test accuracy is 2.9")
    assert "higher than that of adam and" in text
    assert "exploratory" not in text


def test_a_best_baseline_says_of_what_level_intervals_with_arms_are_that_are_not_declared(kit):
    assert "; the others 95 %, exploratory; 5 paired" in one(kit, {"adam": -0.03, "lion": -0.05}, primary=("adam",))


def test_best_is_not_said_where_the_front_is_undecided(kit):
    text = one(kit, {"adam": 0.03, "lion": 0.0301})
    assert "best" not in text
    assert "adam and lion are better than sgd: test accuracy 3.06 pp (2.88 to 3.24) and 3.06 pp (2.7" in text
    assert "are not separated (" in text


def test_best_is_not_said_where_the_gain_may_be_smaller_than_the_margin(kit):
    assert "best" in one(kit, {"adam": 0.004, "lion": -0.02})
    assert "best" not in one(kit, {"adam": 0.004, "lion": -0.02}, margin=0.004)


def test_all_undecided_says_so(kit):
    text = one(kit, {"adam": 0.0, "lion": 0.0})
    assert text.startswith(
        f"{TUNED}it is not decided whether adam and lion are better or worse than sgd: a test accuracy"
    )
    assert "best" not in text


def test_many_arms_are_summed_up_with_the_ends_of_their_intervals(kit):
    up = {f"up{i}": 0.03 + i / 1e4 for i in range(4)}
    text = one(kit, {**up, **{f"down{i}": -0.03 for i in range(3)}, "level": 0.0})
    assert "up0, up1, up2 and up3 are better than sgd: test accuracy at least 2." in text
    assert "down0, down1 and down2 are worse than sgd: test accuracy at least 2." in text
    assert "it is not decided whether level is better or worse than sgd: a test accuracy anywhere from" in text
    level = next(
        v for v in verdicts_of(kit, {**up, **{f"down{i}": -0.03 for i in range(3)}, "level": 0.0}) if v.arm == "level"
    )
    assert f"from {-100 * level.lo:.2f} pp lower to {100 * level.hi:.2f} pp higher fits" in text
    assert "99.38 % intervals with sgd, adjusted for 8 comparisons" in text


def test_many_undecided_arms_are_not_said_to_fit_what_fits_one_of_them(kit):
    spread = (0.03, -0.02, 0.01, -0.03, 0.02)
    values = {"sgd": kit.base}
    for at in range(1, 8):
        values[f"o{at}"] = [b + at * s for b, s in zip(kit.base, spread, strict=True)]
    text = line(kit, kit.finals(values), tuple(values))
    # mean .002 at, half width t(1 - .025 / 7, 4) sd at / sqrt(5)
    half = 7 * stats.t.ppf(1 - 0.025 / 7, 4) * stats.sem(spread)
    low, high = 100 * (half - 7 * 0.002), 100 * (half + 7 * 0.002)
    assert f"together their intervals reach from {low:.0f} pp lower to {high:.0f} pp higher in test accuracy (" in text
    assert "fits these runs" not in text


def test_the_best_of_many_is_ahead_of_its_nearest_rival_at_least_by(kit):
    others = {
        f"o{i}": [b + 0.001 * i + 0.0001 * (i + 1) * s for s, b in zip((1, 4, 2, 3, 5), kit.base, strict=True)]
        for i in range(7)
    }
    values = {**arms_of(kit, {"adam": 0.08}), **others}
    text = line(kit, kit.finals(values), tuple(values))
    assert "adam is the best of 9: its test accuracy is at least 7.0 pp higher than that of every other arm" in text


def two_problems(kit, first, second):
    finals = [kit.finals(arms_of(kit, shifts), problem=name) for name, shifts in (("a", first), ("b", second))]
    return line(kit, pd.concat(finals), ("sgd", *first), problems=("a", "b"))


def test_problems_are_kept_apart(kit):
    text = two_problems(kit, {"adam": 0.03}, {"adam": 0.0})
    assert text.startswith(
        "On a and b, tuned alike with 6 trials each, on a, adam is better than sgd: test accuracy 3.06 pp"
    )
    assert "; on b, it is not decided whether adam is better or worse than sgd: a test accuracy anywhere from" in text


def test_one_arm_is_one_on_several_problems_and_each_number_names_its_problem(kit):
    text = two_problems(kit, {"adam": -0.03}, {"adam": -0.02})
    assert text == (
        "On a and b, tuned alike with 6 trials each, adam is worse than sgd: test accuracy 2.94 pp (2.76 to 3.12) "
        "lower on a and 1.94 pp (1.76 to 2.12) lower on b (97.5 % intervals with sgd, adjusted for 2 comparisons; "
        "5 paired replicates)."
    )


def test_what_the_names_of_all_problems_share_is_said_once(kit):
    names = ("mnist-cnn+labels-10", "mnist-cnn+labels-50")
    finals = pd.concat([kit.finals(arms_of(kit, {"adam": 0.03}), problem=name) for name in names])
    text = line(kit, finals, ("sgd", "adam"), problems=names)
    assert text.startswith("On mnist-cnn with labels-10 and labels-50, tuned alike with 6 trials each, adam is better")
    assert "higher on labels-10 and 3.06 pp" in text
    assert text.count("mnist-cnn") == 1
    names = tuple(f"mnist-cnn+labels-{n}" for n in range(4))
    finals = pd.concat([kit.finals(arms_of(kit, {"adam": 0.03}), problem=name) for name in names])
    assert line(kit, finals, ("sgd", "adam"), problems=names).startswith("On 4 problems of mnist-cnn, tuned alike")


@pytest.mark.parametrize("names", [("mnist-cnn", "mnist-cnn+steps-9"), ("mnist-cnn+steps-9", "mnist-mlp+steps-9")])
def test_names_that_share_no_beginning_are_said_whole(kit, names):
    finals = pd.concat([kit.finals(arms_of(kit, {"adam": 0.03}), problem=name) for name in names])
    text = line(kit, finals, ("sgd", "adam"), problems=names)
    assert text.startswith(f"On {names[0]} and {names[1]}, tuned alike")


def test_several_arms_on_several_problems_are_named_with_each_number(kit):
    text = two_problems(kit, {"adam": 0.0, "lion": 0.0}, {"adam": 0.0, "lion": 0.0})
    assert "whether adam and lion are better or worse than sgd: a test accuracy anywhere from" in text
    ranges = text.split(" anywhere from ")[1].split(" fits these runs")[0].replace(" or from", ",").split(", ")
    assert [each.split(" for ")[1] for each in ranges] == ["adam on a", "lion on a", "adam on b", "lion on b"]


def test_many_comparisons_on_problems_of_their_own_are_counted(kit):
    shifts = [{f"o{i}": 0.0 if i == at else 0.03 for i in range(5)} for at in range(2)]
    text = two_problems(kit, *shifts)
    assert "in 8 of 10 comparisons the arm is better than sgd: test accuracy at least 2." in text
    assert "on a, it is not decided whether o0 is better or worse than sgd" in text
    assert "on b, it is not decided whether o1 is better or worse than sgd" in text


def test_best_is_said_per_problem(kit):
    text = two_problems(kit, {"adam": 0.03, "lion": 0.0}, {"adam": -0.03, "lion": 0.03})
    assert "adam is the best of 3 on a and lion is the best of 3 on b; on a, adam is better than sgd: test" in text
    assert "; on b, lion is better than sgd: test accuracy" in text


@pytest.mark.parametrize(
    ("n", "text"), [(0, "no replicate is"), (1, "only 1 replicate is"), (2, "only 2 replicates are")]
)
def test_too_few_replicates_say_nothing_yet(kit, n, text):
    finals = kit.finals({"sgd": kit.base[:n], "adam": kit.base[:n]})
    whole = f"Nothing can be said yet: {text} done, and it takes at least 3 to compare adam with sgd."
    assert line(kit, finals, ("sgd", "adam")) == whole


def test_failures_without_a_floor_say_nothing_yet(kit):
    finals = kit.finals({"sgd": [0.3, 0.3, 0.2], "adam": [0.1, None, 0.2]}, metric=kit.loss)
    text = line(kit, finals, ("sgd", "adam"), metric=kit.loss)
    assert (
        text == "Nothing can be said yet: runs failed, so no mean difference exists that would compare adam with sgd."
    )


def test_differences_without_spread_say_nothing_yet(kit):
    finals = kit.finals({"sgd": kit.base, "adam": [x + 0.01 for x in kit.base]})
    assert "the differences do not vary between replicates" in line(kit, finals, ("sgd", "adam"))


def test_arms_that_never_differ_are_told_so(kit):
    same = kit.finals({"sgd": kit.base, "adam": kit.base})
    said = "Nothing can be said yet: adam did not differ from sgd in any of the 5 replicates, so there is no measure"
    assert line(kit, same, ("sgd", "adam")).startswith(said)
    best = {**arms_of(kit, {"lion": 0.02}), "adam": kit.base}
    assert "; adam is in no replicate different from sgd (" in line(kit, kit.finals(best), tuple(best))
    undecided = {**arms_of(kit, {"lion": 0.0}), "adam": kit.base}
    said = line(kit, kit.finals(undecided), tuple(undecided))
    assert "; adam did not differ from sgd in any of the 5 replicates (" in said


def test_failed_runs_are_counted_once_in_the_small_print(kit):
    values = arms_of(kit, {"adam": 0.03, "lion": 0.02})
    values["sgd"] = [None, *values["sgd"][1:]]
    values["lion"][3] = None
    assert "; 2 failed runs count as 10.00 %)." in line(kit, kit.finals(values), tuple(values))


def test_arms_that_are_one_computation_are_called_so(kit):
    finals = kit.finals({"sgd": kit.base, "adam": kit.base}, weights=lambda arm, i: str(i))
    assert line(kit, finals, ("sgd", "adam")) == f"{TUNED}adam is the same computation as sgd (5 paired replicates)."


def test_budget_is_in_the_opening(kit):
    assert one(kit, {"adam": 0.02}, trials=0).startswith("On mnist-cnn, with each optimizer at its defaults, adam is")
    assert "tuned alike in one study of 6 trials each, adam is" in one(kit, {"adam": 0.02}, claim="setting")
    given = one(kit, {"adam": 0.02}, trials=0, at="given")
    assert given.startswith("On mnist-cnn, with each optimizer as the suite gives it, adam is")


def test_without_a_primary_arm_nothing_was_compared(kit):
    assert headline([], metric=kit.accuracy, context=Context("?", (), (), 0)).startswith("Nothing was compared")
    one = Context("?", ("mnist-cnn",), ("sgd",), 0)
    said = headline([], metric=kit.accuracy, context=one)
    assert said == "Nothing was compared: the suite has one arm, sgd."


def verdicts_of(kit, shifts, **chosen):
    values = arms_of(kit, shifts)
    return kit.judge(kit.finals(values), arms=tuple(values), **chosen)


def test_the_winner_is_better_than_every_other_arm(kit):
    assert winner(verdicts_of(kit, {"adam": 0.03, "lion": 0.0}), problem="mnist-cnn") == "adam"
    assert winner(verdicts_of(kit, {"adam": -0.03, "lion": -0.05}), problem="mnist-cnn") == "sgd"
    assert winner(verdicts_of(kit, {"adam": 0.03, "lion": 0.0301}), problem="mnist-cnn") is None
    assert winner(verdicts_of(kit, {"adam": 0.0}), problem="mnist-cnn") is None


NARROWLY = (0.02, 0.005, 0.004, 0.015, 0.006)
"""By how much adam is ahead of lion: told from 0 at 95 %, not at 97.5 %."""


def narrowly(kit, names, **chosen):
    """Verdicts on problems where adam is the best of three by little."""
    assert 0.025 < stats.ttest_1samp(NARROWLY, 0).pvalue < 0.05
    values = arms_of(kit, {"adam": 0.05, "lion": 0.0})
    values["lion"] = [a - d for a, d in zip(values["adam"], NARROWLY, strict=True)]
    finals = pd.concat([kit.finals(values, problem=name) for name in names])
    return kit.judge(finals, arms=tuple(values), problems=names, trials=6, **chosen)


def test_each_further_problem_is_another_chance_to_be_called_best_wrongly(kit):
    assert winner(narrowly(kit, ("a",)), problem="a") == "adam"
    assert winner(narrowly(kit, ("a", "b")), problem="a") is None


def test_a_best_baseline_is_held_to_that_against_arms_that_are_not_declared(kit):
    values = {"sgd": kit.base, "adam": [b - d for b, d in zip(kit.base, NARROWLY, strict=True)]}
    values["lion"] = arms_of(kit, {"lion": -0.05})["lion"]
    found = {}
    for names in (("a",), ("a", "b")):
        finals = pd.concat([kit.finals(values, problem=name) for name in names])
        verdicts = kit.judge(finals, arms=tuple(values), problems=names, primary=("lion",))
        found[names] = winner(verdicts, problem="a")
    assert found == {("a",): "sgd", ("a", "b"): None}


def test_so_is_each_further_look(kit):
    assert winner(narrowly(kit, ("a",), looks=2), problem="a") is None


def test_best_on_several_problems_says_at_which_level(kit):
    assert "the others 95 %, exploratory, but 'best' at 97.5 %; 5 paired" in two_problems(
        kit, {"adam": 0.03, "lion": 0.0}, {"adam": -0.03, "lion": 0.03}
    )


def test_untuned_verdicts_crown_nobody(kit):
    tuned = verdicts_of(kit, {"adam": 0.03})
    untuned = [dataclasses.replace(verdict, setting="untuned", verdict="worse", primary=False) for verdict in tuned]
    assert winner([*tuned, *untuned], problem="mnist-cnn") == "adam"


def test_rivals_are_arms_ahead_of_the_baseline(kit):
    assert [v.baseline for v in rivals(verdicts_of(kit, {"adam": 0.03, "lion": 0.02}))] == ["lion"]
    assert rivals(verdicts_of(kit, {"adam": 0.03, "lion": 0.0})) == []


@pytest.mark.parametrize("shifts", list(itertools.combinations_with_replacement((-0.03, 0.0, 0.002, 0.03), 2)))
@pytest.mark.parametrize("margin", [None, 0.002])
def test_every_headline_is_one_sentence_with_an_interval(kit, shifts, margin):
    text = one(kit, dict(zip(("adam", "lion"), shifts, strict=True)), margin=margin)
    assert text.endswith(").")
    assert ". " not in text
    assert "97.5 % interval" in text
    assert not [name for name in ("nan", "None", "  ", "significant") if name in text]
