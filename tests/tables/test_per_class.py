"""How classes fared and which was taken for which, as tables, against hand arithmetic and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

from harness.plan import DataFacts
from harness.tables import columns
from tests.small import FACTS, ok
from tests.tables.test_tables import built

COUNTS = [[8, 1, 1], [0, 0, 5], [3, 0, 2]]
KEPT = {
    "task": "classification",
    "examples": 20,
    "support": [10, 5, 5],
    "predicted": [11, 1, 8],
    "right": [8, 0, 2],
    "confusion": COUNTS,
    "auc": [0.9, 0.25, 0.5],
    "mistakes": [],
}
GIVEN = {"tuning.trials": 0, "compare.replicates": 2}


def answer(kept):
    return lambda payload: {**ok(payload), **({"details": kept} if payload["phase"] == "final" else {})}


def facts(names=()):
    return DataFacts(240, 100, (4,), 3, names, FACTS.fingerprints)


def test_classes_have_what_sklearn_finds(tmp_path):
    made = built(tmp_path, GIVEN, answer(KEPT), facts=facts(("cat", "dog", "owl")))["classes"]
    assert len(made) == 2 * 2 * 3
    first = made[(made["arm"] == "adam") & (made["replicate"] == 1)]
    true, taken = zip(*[(t, p) for t in range(3) for p in range(3) for _ in range(COUNTS[t][p])], strict=True)
    due = precision_recall_fscore_support(true, taken, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), due, strict=True):
        assert first[name].tolist() == pytest.approx(values), name
    assert first["auc"].tolist() == KEPT["auc"]
    assert first["name"].tolist() == ["cat", "dog", "owl"]
    assert set(made["setting"]) == {"given"}


def test_classes_without_names_have_numbers_alone(tmp_path):
    made = built(tmp_path, GIVEN, answer(KEPT), facts=facts())["classes"]
    assert made["class"].tolist()[:3] == [0, 1, 2]
    assert made["name"].isna().all()


def test_a_class_without_examples_has_no_recall_and_one_that_never_occurs_no_f1(tmp_path):
    kept = {**KEPT, "support": [10, 0, 0], "predicted": [9, 1, 0], "right": [9, 0, 0], "auc": [0.9, None, None]}
    made = built(tmp_path, GIVEN, answer(kept), facts=facts())["classes"].head(3)
    assert made["precision"].tolist() == [1.0, 0.0, 0.0]
    assert made["recall"].tolist()[:1] == [0.9]
    assert made["recall"].isna().tolist() == [False, True, True]
    assert made["f1"].isna().tolist() == [False, False, True]
    assert made["auc"].isna().tolist() == [False, True, True]


def test_pairs_of_classes_that_do_not_occur_have_no_row(tmp_path):
    made = built(tmp_path, GIVEN, answer(KEPT), facts=facts())["confusion"]
    one = made[(made["arm"] == "sgd") & (made["replicate"] == 0)]
    matrix = one.pivot(index="true", columns="predicted", values="count").fillna(0).to_numpy(int)
    assert (matrix == np.array(COUNTS)).all()
    assert len(one) == np.count_nonzero(COUNTS)


@pytest.mark.parametrize("kept", [None, {"task": "regression", "pairs": {"target": [1.0], "output": [2.0]}}])
def test_records_without_classes_have_no_rows(tmp_path, kept):
    made = built(tmp_path, GIVEN, answer(kept))
    for name in ("classes", "confusion"):
        assert made[name].empty
        assert list(made[name].columns) == columns.names(name)


def test_more_classes_than_have_a_matrix_have_their_row_all_the_same(tmp_path):
    kept = {name: part for name, part in KEPT.items() if name not in ("confusion", "auc")}
    made = built(tmp_path, GIVEN, answer(kept), facts=facts())
    assert made["confusion"].empty
    assert made["classes"]["auc"].isna().all()
    assert pd.notna(made["classes"]["f1"]).all()
