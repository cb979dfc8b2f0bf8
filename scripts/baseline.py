#!/usr/bin/env python3
"""Ours beside XGBoost 300x8 and scikit-learn's isolation forest, on the same rows, in one run; beside STIDE where rows are sequences.

pip install xgboost scikit-learn pandas numpy
scripts/baseline.py --data FOLDER [--threatguard target/release/threatguard] [--only nsl-kdd,...] [--seeds 1,2,3] [--json FILE]

Every data set goes through the same three commands: train, evaluate, score. Nothing is tuned for any of them. Thresholds come from
training rows alone: ours as the program fixes it, theirs as the 99.2 % quantile of benign rows that were not fitted on.

Sets that end in -in-time are taken in the file's order: the first tenth is known, then every row is tested before it is learned from,
and labels come 1,000 rows late. There XGBoost is shown as it is after the first tenth, and fitted anew to all rows whose label has come, as
often as ours; its threshold then comes from the newest 2,000 benign rows that it scored before their label came.

adfa-ld has traces of system calls, one a row: learned from are normal ones alone, as the set's authors meant it, so trees have nothing to
tell apart. STIDE (Forrest et al. 1996, windows of six calls) learns from the same rows; its threshold comes from a fifth that was held out.
AUC-once is the AUC with each trace once, because nearly half of the normal ones are copies of others; then come ours, member by member.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile
import time
import zipfile

import numpy as np
import pandas as pd
import xgboost
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

WARM_UP, DELAY, NEWEST = 0.1, 1_000, 2_000
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

STIDE_WINDOW = 6


def adfa(folder):
    """Traces to learn from and traces to tell apart, with their class."""
    parts = {"Training_Data_Master": [], "Validation_Data_Master": [], "Attack_Data_Master": []}
    with zipfile.ZipFile(folder / "adfa-ld/ADFA-LD.zip") as archive:
        for name in sorted(archive.namelist()):
            _, part, *folders, file = name.split("/") if name.count("/") > 1 else ("", "", "")
            if part in parts and file.endswith(".txt"):
                kind = re.sub(r"[_0-9]+$", "", folders[0]) if folders else "normal"
                parts[part].append((kind, " ".join(archive.read(name).decode().split())))
    table = lambda *names: pd.DataFrame(sum((parts[name] for name in names), []), columns=["class", "calls"])
    return table("Training_Data_Master"), table("Validation_Data_Master", "Attack_Data_Master")


SEQUENCES = {"adfa-ld": adfa}
IN_TIME = {"cicids-in-time": (CICIDS, "Labelb", [], "0"), "iotid20-in-time": (IOT, "Label", IDS, "0")}


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


def their_trees(seed):
    return xgboost.XGBClassifier(n_estimators=300, max_depth=8, random_state=seed)


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
            trees = their_trees(seed).fit(x[~held], y[~held])
            score = lambda rows: trees.predict(rows, output_margin=True)
        line = measures(y_test, score(x_test), np.quantile(score(x[held & ~y]), 1 - NOMINAL), unseen)
        if name != "scikit IF":
            plain = trees.predict(x_test).astype(bool)
            line["acc@0.5"], line["FPR@0.5"] = np.mean(plain == y_test), np.mean(plain[~y_test])
        yield name, line | {"seconds": time.time() - began}


def stide(traces):
    """What share of a trace's windows no learned trace has."""
    windows = lambda trace: list(zip(*(trace.split()[at:] for at in range(STIDE_WINDOW))))
    known = {window for trace in traces for window in windows(trace)}
    return lambda rows: np.array([np.mean([window not in known for window in windows(trace)] or [0.0]) for trace in rows])


def ours(binary, folder, train, test, label, benign, unseen, seed, options=()):
    """Our line, and the program's own report."""
    files = [folder / "train.csv", folder / "test.csv"]
    train.to_csv(files[0], index=False)
    test.to_csv(files[1], index=False)
    model, out, report = folder / f"model-{seed}", folder / "scores.csv", folder / "report.json"
    run = lambda *words: subprocess.run([binary, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.time()
    run("train", "--data", files[0], "--label", label, "--benign", benign, "--seed", seed, "--out", model, *options)
    seconds = time.time() - began
    run("evaluate", "--model", model, "--data", files[1], "--label", label, "--json", report)
    run("score", "--model", model, "--data", files[1], "--out", out)
    told = json.loads(report.read_text())
    said, scores = told["ensemble"], pd.read_csv(out).score.to_numpy()
    line = measures((test[label].astype(str) != benign).to_numpy(), scores, said["deployed"]["threshold"], unseen)
    # The program's own figures must be those that scikit-learn finds in its scores.
    assert abs(line["AUC"] - said["rocAuc"]) < 1e-6 and abs(line["TPR@1%"] - said["tprAtFpr"]["0.01"]) < 1e-9, (line, said)
    return line | {"seconds": seconds}, told, scores


def frozen_in_time(x, y, warm, seed):
    """XGBoost as it is after the first rows."""
    held = np.random.default_rng(seed).random(warm) < 0.2
    trees = their_trees(seed).fit(x[:warm][~held], y[:warm][~held])
    scores = trees.predict(x[warm:], output_margin=True)
    threshold = np.quantile(trees.predict(x[:warm][held & ~y[:warm]], output_margin=True), 1 - NOMINAL)
    return scores, np.full(len(scores), threshold)


def refitted_in_time(x, y, warm, seed, every):
    """XGBoost fitted anew to all rows whose label has come."""
    scores, thresholds = np.zeros(len(y)), np.zeros(len(y))
    _, first = frozen_in_time(x, y, warm, seed)
    for at in range(warm, len(y), every):
        known, block = max(warm, at + 1 - DELAY), slice(at, min(at + every, len(y)))
        scores[block] = their_trees(seed).fit(x[:known], y[:known]).predict(x[block], output_margin=True)
        benign = scores[warm:known][~y[warm:known]][-NEWEST:]
        thresholds[block] = np.quantile(benign, 1 - NOMINAL) if len(benign) >= 100 else first[0]
    return scores[warm:], thresholds[warm:]


def ours_in_time(binary, folder, rows, label, benign, seed, every):
    file, report, out = folder / "rows.csv", folder / "report.json", folder / "scores.csv"
    rows.to_csv(file, index=False)
    protocol = ["--warm-up", WARM_UP, "--label-delay", DELAY, "--refit-every", every, "--seed", seed]
    words = ["evaluate", "--test-then-train", "--data", file, "--label", label, "--benign", benign, "--json", report, "--scores", out]
    subprocess.run([binary, *map(str, words + protocol)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said, told = json.loads(report.read_text()), pd.read_csv(out)
    return said, told.score.to_numpy(), told.threshold.to_numpy()


def as_told(measures):
    """A line of the program's own figures."""
    rates = {f"TPR@{float(rate) * 100:g}%": tpr for rate, tpr in measures["tprAtFpr"].items()}
    deployed = {"acc": measures["deployed"]["accuracy"], "TPR": measures["deployed"]["tpr"], "FPR": measures["deployed"]["fpr"]}
    return {"AUC": measures["rocAuc"], "PR": measures["prAuc"]} | rates | deployed


def of_members(report):
    return {f"  {name}": as_told(measures) for name, measures in report["members"].items()}


def in_time(options, name, seed):
    """One line for each contestant, on the same rows in the same order."""
    file, label, drop, benign = IN_TIME[name]
    rows = pd.read_csv(options.data / file).drop(columns=drop)
    x, y, warm = rows.drop(columns=label).to_numpy(np.float32), (rows[label].astype(str) != benign).to_numpy(), int(len(rows) * WARM_UP)
    none = np.zeros(len(y) - warm, bool)

    def line(scores, thresholds):
        ranked = measures(y[warm:], scores, 0.0, none)
        judged = measures(y[warm:], (scores > thresholds).astype(float), 0.5, none)
        return ranked | {key: judged[key] for key in ("acc", "TPR", "FPR")}

    lines, began = {}, time.time()

    def add(who, scores, thresholds):
        nonlocal began
        lines[who] = line(scores, thresholds) | {"seconds": time.time() - began}
        began = time.time()

    with tempfile.TemporaryDirectory() as folder:
        said, scores, thresholds = ours_in_time(options.threatguard, pathlib.Path(folder), rows, label, benign, seed, options.refit_every)
    add("threatguard", scores, thresholds)
    mine, ensemble = lines["threatguard"], said["ensemble"]
    # The program's own figures must be those that scikit-learn finds in its scores.
    assert abs(mine["AUC"] - ensemble["rocAuc"]) < 1e-6 and abs(mine["FPR"] - ensemble["deployed"]["fpr"]) < 1e-9, (mine, ensemble)
    lines |= {"ours, frozen": as_told(said["frozen"])} | of_members(said)
    add("XGBoost frozen", *frozen_in_time(x, y, warm, seed))
    # Without sampling, its seed decides the first threshold only.
    if seed == options.seeds[0]:
        add("XGBoost refitted", *refitted_in_time(x, y, warm, seed, options.refit_every))
    return lines


def at_once(options, name, seed):
    train, test, label, benign = SETS[name](options.data, seed)
    attack = (test[label].astype(str) != benign).to_numpy()
    unseen = attack & ~test[label].isin(set(train[label])).to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        mine, _, _ = ours(options.threatguard, pathlib.Path(folder), train, test, label, benign, unseen, seed)
    return dict(theirs(train, test, label, benign, unseen, seed)) | {"threatguard": mine}


def of_sequences(options, name, seed):
    train, test = SEQUENCES[name](options.data)
    y, none = (test["class"] != "normal").to_numpy(), np.zeros(len(test), bool)
    once = ~pd.DataFrame({"attack": y, "calls": test.calls}).duplicated().to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        words = ["--sequence", "calls"]
        mine, told, scores = ours(options.threatguard, pathlib.Path(folder), train, test, "class", "normal", none, seed, words)
    began = time.time()
    held = np.random.default_rng(seed).random(len(train)) < 0.2
    threshold = np.quantile(stide(train.calls[~held])(train.calls[held]), 1 - NOMINAL)
    theirs = stide(train.calls)(test.calls)
    lines = {"STIDE": measures(y, theirs, threshold, none) | {"AUC-once": roc_auc_score(y[once], theirs[once])}}
    lines["STIDE"]["seconds"] = time.time() - began
    return lines | {"threatguard": mine | {"AUC-once": roc_auc_score(y[once], scores[once])}} | of_members(told)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--threatguard", default="target/release/threatguard")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=[*SETS, *IN_TIME, *SEQUENCES])
    arguments.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    arguments.add_argument("--refit-every", type=int, default=50, help="rows that are scored by one fit, where they come in time")
    arguments.add_argument("--json", type=pathlib.Path)
    options = arguments.parse_args()
    results = {}
    for name in options.only:
        print(f"== {name}", flush=True)
        for seed in options.seeds:
            lines = (in_time if name in IN_TIME else of_sequences if name in SEQUENCES else at_once)(options, name, seed)
            for who, line in lines.items():
                results.setdefault(name, {}).setdefault(who, []).append(line)
                print(f"{who:18} seed {seed} " + " ".join(f"{key} {value:.4f}" for key, value in line.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
