"""The usual libraries on the rows of `cargo bench --bench models`, one thread, round by round.

    python3 benches/models/peers.py set-up     makes a virtual environment for it, in the user's cache
    (the bench starts `peers.py time ROWS LABELS` itself)

ROWS holds 16 little-endian float32 a row, LABELS one a row. Models are fitted once; then each line on standard input is answered by
one line of JSON with the nanoseconds a row that each took in this round.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import venv

PACKAGES = ["numpy", "scikit-learn", "xgboost-cpu", "onnx", "onnxruntime"]
WIDTH, HIDDEN = 16, 32
# Rows of one call: the best of these counts for a library.
BATCHES = [64, 1024, 16384]


def environment():
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "threatguard" / "peers"


def set_up():
    place = environment()
    venv.create(place, with_pip=True)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", *PACKAGES], check=True)
    print(f"ready: {place}")


def lstm_session():
    """A step of 16 features and 32 cells, and a row rebuilt from the memory before it, as an ONNX model: the error of each row."""
    import numpy
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    draw = numpy.random.default_rng(1)
    weight = lambda name, *shape: numpy_helper.from_array(draw.uniform(-0.3, 0.3, shape).astype(numpy.float32), name)
    weights = [
        weight("w", 1, 4 * HIDDEN, WIDTH),
        weight("r", 1, 4 * HIDDEN, HIDDEN),
        weight("b", 1, 8 * HIDDEN),
        weight("d", HIDDEN, WIDTH),
        weight("e", WIDTH),
        numpy_helper.from_array(numpy.array([0], dtype=numpy.int64), "first"),
        numpy_helper.from_array(numpy.array([1], dtype=numpy.int64), "last"),
    ]
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["", "next_h", "next_c"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["h", "first"], ["memory"]),
        helper.make_node("Gemm", ["memory", "d", "e"], ["guess"]),
        helper.make_node("Squeeze", ["x", "first"], ["row"]),
        helper.make_node("Sub", ["row", "guess"], ["miss"]),
        helper.make_node("ReduceSumSquare", ["miss", "last"], ["error"], keepdims=0),
    ]
    tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    memory = [1, "n", HIDDEN]
    graph = helper.make_graph(
        nodes,
        "step",
        [tensor("x", 1, "n", WIDTH), tensor("h", *memory), tensor("c", *memory)],
        [tensor("next_h", *memory), tensor("next_c", *memory), tensor("error", "n")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def batches(rows, size):
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def timed_best(rows, work):
    """Nanoseconds a row of `work(rows of a batch)` over all rows, at the batch size that suits it best."""
    best = float("inf")
    for size in BATCHES:
        parts = batches(rows, size)
        start = time.perf_counter_ns()
        for part in parts:
            work(part)
        best = min(best, (time.perf_counter_ns() - start) / len(rows))
    return best


def main(rows_file, labels_file):
    import numpy
    import onnxruntime
    import sklearn
    import xgboost
    from sklearn.ensemble import IsolationForest

    rows = numpy.fromfile(rows_file, dtype="<f4").reshape(-1, WIDTH)
    labels = numpy.fromfile(labels_file, dtype="<f4")
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=1, n_jobs=1).fit(rows)
    trees = xgboost.XGBClassifier(n_estimators=100, max_depth=6, tree_method="hist", n_jobs=1, random_state=1).fit(rows, labels)
    booster = trees.get_booster()
    booster.set_param({"nthread": 1})
    session = lstm_session()
    # Entities keep their memory between calls, so a library that keeps none is given it and gives it back.
    memory = {size: numpy.zeros((2, 1, size, HIDDEN), dtype=numpy.float32) for size in BATCHES}

    def step(part):
        h, c = memory.get(len(part), numpy.zeros((2, 1, len(part), HIDDEN), dtype=numpy.float32))
        new_h, new_c, _ = session.run(None, {"x": part[None], "h": h, "c": c})
        memory[len(part)] = (new_h, new_c)

    works = {
        "isolation_forest": lambda part: forest.score_samples(part),
        "boosted_trees": lambda part: booster.inplace_predict(part, predict_type="margin"),
        "lstm_autoencoder": step,
    }
    libraries = {
        "isolation_forest": f"scikit-learn {sklearn.__version__}",
        "boosted_trees": f"XGBoost {xgboost.__version__}",
        "lstm_autoencoder": f"ONNX Runtime {onnxruntime.__version__}",
    }
    print(json.dumps(libraries), flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: timed_best(rows, work) for name, work in works.items()}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["set-up"]:
        set_up()
    elif len(sys.argv) == 4 and sys.argv[1] == "time":
        main(*sys.argv[2:])
    else:
        sys.exit(__doc__)
