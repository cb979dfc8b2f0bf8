"""Makes the test vectors of the import of ONNX tree models: files as the usual exporters write them, rows, and what onnxruntime
predicts for them.

Usage: python tests/vectors/onnx/make.py FOLDER

Writes NAME.onnx and NAME.vectors.json ({"rows", "predictions"}, null for a missing value) for each model below; models that must
be refused have no vectors. Made with scikit-learn 1.9.1, skl2onnx 1.20.0, xgboost 2.1.4, onnxmltools 1.16.0, onnx 1.19.1, onnxruntime 1.32.0.
"""

import json
import sys

import numpy as np
import onnxruntime
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as XgboostFloats
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

COLUMNS = 6
OPSETS = {"": 17, "ai.onnx.ml": 3}


def sample(count, seed, missing):
    random = np.random.RandomState(seed)
    rows = random.randn(count, COLUMNS).astype(np.float32)
    rows[:, 3] = np.round(rows[:, 3])
    signal = rows[:, 0] * rows[:, 1] + np.abs(rows[:, 2]) - rows[:, 3] + 0.2 * random.randn(count)
    if missing:
        rows[random.rand(count) < 0.3, 0] = np.nan
    return rows, signal.astype(np.float32)


def write(folder, name, graph, rows=None):
    with open(f"{folder}/{name}.onnx", "wb") as file:
        file.write(graph.SerializeToString())
    if rows is None:
        return
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: rows})
    attack = outputs[1][:, 1] if len(outputs) > 1 else outputs[0].ravel()
    number = lambda value: None if np.isnan(value) else float(value)
    vectors = {"rows": [[number(value) for value in row] for row in rows], "predictions": [float(value) for value in attack]}
    with open(f"{folder}/{name}.vectors.json", "w", encoding="ascii") as file:
        json.dump(vectors, file)
        file.write("\n")


def main():
    folder = sys.argv[1]
    rows, signal = sample(1_000, 1, False)
    gaps, _ = sample(1_000, 1, True)
    attack = (signal > 0.7).astype(int)
    probes, probe_gaps = sample(40, 2, False)[0], sample(40, 2, True)[0]

    def scikit(model, plain=True):
        options = {"zipmap": False} if plain else {}
        kind = {id(model): options} if hasattr(model, "predict_proba") else None
        return to_onnx(model, initial_types=[("rows", FloatTensorType([None, COLUMNS]))], options=kind, target_opset=OPSETS)

    boosted = GradientBoostingClassifier(n_estimators=15, max_depth=3, random_state=1)
    write(folder, "gradient-boosting", scikit(boosted.fit(rows, attack)), probes)
    forest = RandomForestClassifier(n_estimators=5, max_depth=4, random_state=3)
    write(folder, "random-forest", scikit(forest.fit(rows, attack)), probes)
    values = RandomForestRegressor(n_estimators=5, max_depth=4, random_state=4)
    write(folder, "forest-of-values", scikit(values.fit(rows, signal)), probes)
    library = XGBClassifier(n_estimators=15, max_depth=3, base_score=0.5, random_state=5).fit(gaps, attack)
    initial = [("rows", XgboostFloats([None, COLUMNS]))]
    write(folder, "xgboost", convert_xgboost(library, initial_types=initial, target_opset=15), probe_gaps)
    tiny = GradientBoostingClassifier(n_estimators=1, max_depth=1, random_state=6)
    write(folder, "refused-scaler", scikit(make_pipeline(StandardScaler(), tiny).fit(rows, attack), False))
    three = np.digitize(signal, [0.0, 1.0])
    write(folder, "refused-classes", scikit(tiny.fit(rows, three)))


main()
