"""scikit-learn's IsolationForest on rows from a CSV file, as a yardstick for ours on the same rows.

Usage: python tests/sklearn_forest.py ROWS.csv [SEEDS]

The file has a header; the columns `label` (0 benign, 1 attack) and `split` (`fit` or `test`) are named so, every other column is
a feature. Fits 100 trees of 256 rows on the rows of `fit` (whatever their label says), scores those of `test`, and prints one
JSON line {"auc", "tprAt1PercentFpr", "seeds", "fitRows", "testRows"}: the mean over the seeds 0..SEEDS-1, 1 when not given.
Must never fit on a row of `test`.
"""

import json
import sys

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score


def true_positive_rate(labels, scores, false_positive_rate):
    """Share of attacks above the smallest threshold that lets at most this share of the benign rows through."""
    benign = np.sort(scores[labels == 0])[::-1]
    threshold = benign[min(int(false_positive_rate * len(benign)), len(benign) - 1)]
    return float(np.mean(scores[labels == 1] > threshold))


def main():
    path, seeds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with open(path, encoding="ascii") as file:
        header = file.readline().strip().split(",")
        cells = np.array([line.strip().split(",") for line in file])
    label, split = header.index("label"), header.index("split")
    features = cells[:, [i for i in range(len(header)) if i not in (label, split)]].astype(np.float32)
    labels, fit = cells[:, label].astype(int), cells[:, split] == "fit"
    results = []
    for seed in range(seeds):
        forest = IsolationForest(n_estimators=100, max_samples=min(256, int(fit.sum())), random_state=seed).fit(features[fit])
        scores = -forest.score_samples(features[~fit])
        results.append((roc_auc_score(labels[~fit], scores), true_positive_rate(labels[~fit], scores, 0.01)))
    auc, rate = np.mean(results, axis=0)
    print(json.dumps({"auc": auc, "tprAt1PercentFpr": rate, "seeds": seeds, "fitRows": int(fit.sum()), "testRows": int((~fit).sum())}))


main()
