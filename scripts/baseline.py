#!/usr/bin/env python3
"""Ours beside XGBoost 300x8 and scikit-learn's isolation forest, on the same rows, in one run.

pip install xgboost scikit-learn pandas numpy
scripts/baseline.py --data FOLDER [--threatguard target/release/threatguard] [--only nsl-kdd,...] [--seeds 1,2,3] [--json FILE]

Every data set goes through the same three commands: train, evaluate, score. Nothing is tuned for any of them. Thresholds come from
training rows alone: ours as the program fixes it, theirs as the 99.2 % quantile of benign rows that were not fitted on.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import pandas as pd
import xgboost
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

RATES = (0.001, 0.008, 0.01, 0.05)
NOMINAL = 0.008


def nsl_names(folder):
    lines = (folder / "nsl-kdd/field_names.csv").read_text().split("\n")
    return [line.split(",")[0] for line in lines if line]


def nsl(test):
    def load(folder, seed):
        names = nsl_names(folder) + ["label", "difficulty"]
        read = lambda name: pd.read_csv(folder / "nsl-kdd" / name, header=None, names=names).drop(columns="difficulty")
        return read("KDDTrain+.csv.gz"), read(test), "label", "normal"
    return load


def kdd99(folder, seed):
    read = lambda name: pd.read_csv(folder / "kdd99" / name, header=None, names=nsl_names(folder) + ["label"])
    return read("kddcup.data_10_percent.gz"), read("corrected.gz"), "label", "normal."


def split(file, label, drop, distinct):
    def load(folder, seed):
        rows = pd.read_csv(folder / file).drop(columns=drop)
        if distinct:
            rows = rows.drop_duplicates()
        rows = rows.sample(frac=1.0, random_state=seed)
        cut = len(rows) * 4 // 5
        return rows[:cut], rows[cut:], label, "0"
    return load


def parts(first, second):
    """Both parts of a set together, each row once, split at random."""
    def load(folder, seed):
        train, test, label, benign = first(folder, seed)
        rows = pd.concat([train, test] if second else [test]).drop_duplicates().sample(frac=1.0, random_state=seed)
        cut = len(rows) * 4 // 5
        return rows[:cut], rows[cut:], label, benign
    return load


def payloads(folder, seed):
    read = lambda part: pd.read_csv(folder / f"http-attacks/httpparams_payload_{part}.csv.gz").drop(columns="attack_type")
    return read("train"), read("test"), "label", "norm"


CICIDS, IOT = "cicids2017-sample/cic_0.01km.csv.gz", "iotid20-sample/IoT_2020_b_0.01_fs.csv.gz"
IDS = ["Flow_ID", "Src_IP", "Timestamp"]
CTU_LEAKS = ["scenario", "window_index", "background_flow_count", "normal_flow_count"]
SETS = {
    "nsl-kdd": nsl("KDDTest+.txt.gz"),
    "nsl-kdd-21": nsl("KDDTest-21.txt.gz"),
    "kdd99": kdd99,
    "cicids-random": split(CICIDS, "Labelb", [], False),
    "cicids-distinct": split(CICIDS, "Labelb", [], True),
    "iotid20-random": split(IOT, "Label", IDS, False),
    "iotid20-distinct": split(IOT, "Label", IDS, True),
    "nsl-distinct": parts(nsl("KDDTest+.txt.gz"), True),
    "kdd99-distinct": parts(kdd99, False),
    "ctu13-distinct": split("ctu13-windows/ctu13_windows_10s.csv.gz", "is_attack", CTU_LEAKS, True),
    "http-payloads": payloads,
}


def encoded(train, test, label):
    """Numbers as they are, words one column each as the training rows have them; not those that hardly repeat."""
    words = [name for name in train.columns if name != label and not pd.api.types.is_numeric_dtype(train[name])]
    unique = [name for name in words if train[name].nunique() * 2 > len(train)]
    train, test, words = train.drop(columns=unique), test.drop(columns=unique), [name for name in words if name not in unique]
    a = pd.get_dummies(train.drop(columns=label), columns=words, dtype=np.float32)
    b = pd.get_dummies(test.drop(columns=label), columns=words, dtype=np.float32).reindex(columns=a.columns, fill_value=0)
    names = [str(i) for i in range(a.shape[1])]
    return a.set_axis(names, axis=1).astype(np.float32), b.set_axis(names, axis=1).astype(np.float32)


def measures(y, scores, threshold, unseen):
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    alert = scores > threshold
    line = {"AUC": roc_auc_score(y, scores), "PR": average_precision_score(y, scores)}
    line.update({f"TPR@{rate * 100:g}%": tpr[fpr <= rate].max() for rate in RATES})
    line.update({"acc": np.mean(alert == y), "TPR": np.mean(alert[y]), "FPR": np.mean(alert[~y])})
    if unseen.any():
        at_one = np.sort(scores[~y])[::-1][int((~y).sum() * 0.01)]
        line["unseen@1%"], line["unseen"] = np.mean(scores[unseen] > at_one), np.mean(alert[unseen])
    return line


def theirs(train, test, label, benign, unseen, seed):
    y, y_test = (train[label].astype(str) != benign).to_numpy(), (test[label].astype(str) != benign).to_numpy()
    x, x_test = encoded(train, test, label)
    held = np.random.default_rng(seed).random(len(x)) < 0.2
    for name in ("XGBoost 300x8", "scikit IF"):
        began = time.time()
        if name == "scikit IF":
            forest = IsolationForest(n_estimators=100, max_samples=256, random_state=seed).fit(x[~held & ~y])
            score = lambda rows: -forest.score_samples(rows)
        else:
            trees = xgboost.XGBClassifier(n_estimators=300, max_depth=8, random_state=seed).fit(x[~held], y[~held])
            score = lambda rows: trees.predict(rows, output_margin=True)
        line = measures(y_test, score(x_test), np.quantile(score(x[held & ~y]), 1 - NOMINAL), unseen)
        if name != "scikit IF":
            plain = trees.predict(x_test).astype(bool)
            line["acc@0.5"], line["FPR@0.5"] = np.mean(plain == y_test), np.mean(plain[~y_test])
        yield name, line | {"seconds": time.time() - began}


def ours(binary, folder, train, test, label, benign, unseen, seed):
    files = [folder / "train.csv", folder / "test.csv"]
    train.to_csv(files[0], index=False)
    test.to_csv(files[1], index=False)
    model, out, report = folder / f"model-{seed}", folder / "scores.csv", folder / "report.json"
    run = lambda *words: subprocess.run([binary, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.time()
    run("train", "--data", files[0], "--label", label, "--benign", benign, "--seed", seed, "--out", model)
    seconds = time.time() - began
    run("evaluate", "--model", model, "--data", files[1], "--label", label, "--json", report)
    run("score", "--model", model, "--data", files[1], "--out", out)
    said = json.loads(report.read_text())["ensemble"]
    scores = pd.read_csv(out).score.to_numpy()
    line = measures((test[label].astype(str) != benign).to_numpy(), scores, said["deployed"]["threshold"], unseen)
    # The program's own figures must be those that scikit-learn finds in its scores.
    assert abs(line["AUC"] - said["rocAuc"]) < 1e-6 and abs(line["TPR@1%"] - said["tprAtFpr"]["0.01"]) < 1e-9, (line, said)
    return line | {"seconds": seconds}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--threatguard", default="target/release/threatguard")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=list(SETS))
    arguments.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    arguments.add_argument("--json", type=pathlib.Path)
    options = arguments.parse_args()
    results = {}
    for name in options.only:
        print(f"== {name}", flush=True)
        for seed in options.seeds:
            train, test, label, benign = SETS[name](options.data, seed)
            attack = (test[label].astype(str) != benign).to_numpy()
            unseen = attack & ~test[label].isin(set(train[label])).to_numpy()
            with tempfile.TemporaryDirectory() as folder:
                mine = ours(options.threatguard, pathlib.Path(folder), train, test, label, benign, unseen, seed)
            lines = dict(theirs(train, test, label, benign, unseen, seed)) | {"threatguard": mine}
            for who, line in lines.items():
                results.setdefault(name, {}).setdefault(who, []).append(line)
                print(f"{who:14} seed {seed} " + " ".join(f"{key} {value:.4f}" for key, value in line.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
