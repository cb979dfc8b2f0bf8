"""Makes the test vectors of the import of XGBoost models: models as the library writes them, rows, and what it predicts for them.

Usage: python tests/vectors/xgboost/make.py FOLDER [SUFFIX]

Writes NAME[-SUFFIX].json (the model) and NAME[-SUFFIX].vectors.json ({"rows", "margins", "predictions", "contributions"}, null for a
missing value) for each model below; models that must be refused have no vectors. Made with xgboost 3.2.0 and, with the suffix
`old`, 2.1.4, whose models write `base_score` in its former form.
"""

import json
import sys

import numpy as np
import xgboost as xgb

COLUMNS = 6


def sample(count, seed):
    random = np.random.RandomState(seed)
    rows = random.randn(count, COLUMNS).astype(np.float32)
    rows[:, 3] = np.round(rows[:, 3])
    rows[random.rand(count) < 0.3, 0] = np.nan
    rows[random.rand(count) < 0.1, 2] = np.nan
    filled = np.nan_to_num(rows, nan=1.5)
    signal = filled[:, 0] * filled[:, 1] + np.abs(filled[:, 2]) - filled[:, 3] + 0.2 * random.randn(count)
    return rows, signal.astype(np.float32)


def numbers(values):
    return [None if np.isnan(value) else float(value) for value in np.asarray(values, dtype=np.float32).ravel()]


def write(folder, name, suffix, model, rows=None):
    path = f"{folder}/{name}{suffix}"
    model.save_model(path + ".json")
    if rows is None:
        return
    matrix = xgb.DMatrix(rows)
    vectors = {
        "rows": [numbers(row) for row in rows],
        "margins": numbers(model.predict(matrix, output_margin=True)),
        "predictions": numbers(model.predict(matrix)),
        "contributions": [numbers(row) for row in model.predict(matrix, pred_contribs=True)],
    }
    with open(path + ".vectors.json", "w", encoding="ascii") as file:
        json.dump(vectors, file)
        file.write("\n")


def main():
    folder, suffix = sys.argv[1], "-" + sys.argv[2] if len(sys.argv) > 2 else ""
    rows, signal = sample(2_000, 1)
    probes = np.concatenate([sample(40, 2)[0], np.full((1, COLUMNS), np.nan, np.float32)])
    attack = (signal > 0.7).astype(np.float32)
    binary = {"objective": "binary:logistic", "max_depth": 4, "seed": 1}
    write(folder, "logistic", suffix, xgb.train(binary, xgb.DMatrix(rows, attack), 20), probes)
    forest = {"objective": "binary:logitraw", "max_depth": 3, "num_parallel_tree": 3, "subsample": 0.5, "base_score": 0.25, "seed": 2}
    write(folder, "logitraw", suffix, xgb.train(forest, xgb.DMatrix(rows, attack), 5), probes)
    # Pruned nodes stay in the file without a way to them.
    value = {"objective": "reg:squarederror", "max_depth": 5, "gamma": 40000.0, "tree_method": "exact", "seed": 3}
    write(folder, "squared", suffix, xgb.train(value, xgb.DMatrix(rows, 100.0 * signal + 5_000.0), 15), probes)
    if suffix:
        return
    small = {"max_depth": 2, "seed": 4}
    write(folder, "refused-dart", suffix, xgb.train(small | {"booster": "dart"}, xgb.DMatrix(rows, attack), 1))
    write(folder, "refused-linear", suffix, xgb.train({"booster": "gblinear"}, xgb.DMatrix(rows, attack), 1))
    write(folder, "refused-classes", suffix, xgb.train(small | {"objective": "multi:softprob", "num_class": 3}, xgb.DMatrix(rows, attack), 1))
    codes = np.nan_to_num(np.abs(rows[:, :1]), nan=0).round()
    matrix = xgb.DMatrix(codes, attack, feature_types=["c"], enable_categorical=True)
    write(folder, "refused-categories", suffix, xgb.train(small | {"max_cat_to_onehot": 1}, matrix, 1))


main()
