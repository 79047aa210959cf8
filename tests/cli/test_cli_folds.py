"""Cross-validation, label budgets, published claims and axes of problems, from the suite to the report."""

from __future__ import annotations

import json

import pandas as pd

from harness import load

FOLDS = {"problem.folds": 3, "compare.replicates": None, "problem.train_examples": None, "tuning": None}


def records(project, folder="results/suite"):
    return [json.loads(path.read_text()) for path in sorted((project.folder / folder / "runs").glob("*/*.json"))]


def test_folds_are_replicates_that_test_on_every_training_example_once(project):
    result = project.write(suite=FOLDS).run("run", "suite.toml")
    assert result.code == 0, result.err
    tested = [
        (record["spec"]["fold"]["index"], row[6])
        for record in records(project)
        if record["spec"]["problem"]["optimizer"]["use"] == "sgd"
        for row in record["result"]["evaluations"]
        if row[3:5] == ["test", "accuracy"]
    ]
    assert sorted(tested) == [(0, 80), (1, 80), (2, 80)]
    results = load(project.folder / "results/suite")
    row = results.verdicts.iloc[0]
    assert (row["method"], row["n"]) == ("corrected paired t", 3)
    assert "folds" in row["sentence"]
    assert set(results.summary["unit"]) == {"fold"}
    report = project.read("results/suite/report/report.md")
    assert "H020" in report
    assert "Nadeau and Bengio 2003" in report
    assert "each example in one of the 3 folds" in report


def test_a_published_claim_is_judged_in_the_tables_the_report_and_the_answer(project):
    claim = {"statement": "It is nearly perfect.", "arm": "adam", "at_least": 0.99}
    lax = {"statement": "It is better than a guess.", "arm": "adam", "at_least": 0.05, "split": "train"}
    problems = {"epochs": [2, 4]}
    for one in (claim, lax):
        one["problem"] = "clouds-line+epochs-2"
    suite = {"claim": [claim, lax], "tuning": None, "problems": problems, "problem.epochs": None}
    result = project.write(suite=suite).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "Of 2 published claims: 1 reproduced, 1 not reproduced." in result.out
    table = pd.read_csv(project.folder / "results/suite/tables/comparisons.csv")
    claims = table[table["kind"] == "claim"]
    assert claims["verdict"].tolist() == ["not_reproduced", "reproduced"]
    assert claims["baseline"].tolist() == ["at least 0.99", "at least 0.05"]
    report = project.read("results/suite/report/report.md")
    assert 'Claim "It is nearly perfect." (adam on clouds-line+epochs-2, test accuracy at least 99.00 %)' in report
    assert "came to it on validation within 4 epochs" in report
    assert "Test accuracy over training budget" in report
    figure = pd.read_csv(project.folder / "results/suite/report/figures/over-epochs.csv")
    assert sorted(set(figure["x"])) == [2, 4]


def test_a_claim_alone_is_a_question_too(project):
    claim = {"statement": "It is better than a guess.", "at_least": 0.05}
    changes = {"arms": None, "compare.baseline": None, "claim": [claim], "tuning": None}
    result = project.write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert result.out.startswith("Of 1 published claim: 1 reproduced.\n")


def test_label_budgets_are_an_axis_of_problems_with_a_curve_over_it(project):
    changes = {"problem.train_examples": None, "problems": {"labels_per_class": [15, 40, "all"]}, "tuning": None}
    result = project.write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    figure = pd.read_csv(project.folder / "results/suite/report/figures/over-labels-per-class.csv")
    assert figure[figure["arm"] == "sgd"]["x_text"].tolist() == ["15", "40", "all: 80"]
    assert set(figure["n"]) == {3}
    examples = {
        record["spec"]["problem"]["labels_per_class"]: record["result"]["examples"] for record in records(project)
    }
    assert examples == {15: 60, 40: 160, "all": 320}


def test_examples_are_an_axis_whose_figure_shows_the_summarys_numbers(project):
    changes = {"problem.train_examples": None, "problems": {"train_examples": [30, 120]}, "tuning": None}
    assert project.write(suite=changes).run("run", "suite.toml").code == 0
    summary = load(project.folder / "results/suite").summary
    figure = pd.read_csv(project.folder / "results/suite/report/figures/over-train-examples.csv")
    for _, row in figure.iterrows():
        at = (summary["problem"] == row["problem"]) & (summary["arm"] == row["arm"]) & (summary["metric"] == "accuracy")
        assert abs(100 * summary[at]["mean"].iloc[0] - row["mean"]) < 1e-9
