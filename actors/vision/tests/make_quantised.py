"""Models of `models/` quantised as they are published for browsers, and what onnxruntime makes of them.

usage: make_quantised.py FOLDER                     the folder that `make_models.py` has filled; adds one folder a model
needs: numpy, onnx, onnxruntime

`vectors` are those of the float graph with the rounded weights put back; `quantised` those of the quantised graph itself, whose activations are
rounded, too.
"""
import json, os, shutil, sys
import numpy as np, onnx, onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def pixels(side, count):
    index = np.arange(side * side * 3, dtype=np.uint64)
    bytes = [(((index * 2654435761 + 12345 + p) % (1 << 32)) >> 24).reshape(side, side, 3) for p in range(count)]
    x = (np.stack(bytes).astype(np.float32) / np.float32(255) - np.float32(IMAGENET[0])) / np.float32(IMAGENET[1])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def restored(plain, quantised):
    """The float graph with every weight as its quantised form has it."""
    parts = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    found = 0
    for tensor in plain.graph.initializer:
        # `Gemm` becomes a product of matrices, for which its weights are turned.
        turned = f"{tensor.name}_Transposed_quantized" in parts
        names = [f"{tensor.name}{'_Transposed' if turned else ''}_{part}" for part in ("quantized", "scale", "zero_point")]
        if names[0] not in parts:
            continue
        numbers, scale, zero = (parts[name].astype(np.float32) for name in names)
        # One scale for each output channel: the last axis of a matrix, the first of a convolution.
        if scale.size > 1:
            along = numbers.ndim - 1 if numbers.ndim == 2 else 0
            shape = [-1 if axis == along else 1 for axis in range(numbers.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        numbers = ((numbers - zero) * scale).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numbers.T if turned else numbers), tensor.name))
        found += 1
    assert found, "nothing was quantised"
    return plain


def vectors(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    known = {given.name for given in session.get_inputs()}
    results = []
    for feed in feeds:
        result = session.run(None, {name: value for name, value in feed.items() if name in known})[0]
        results.append(result[0] if result.ndim == 2 else result[0].mean(axis=0))
    return [[float(f"{number:.7g}") for number in row] for row in results]


def main():
    root = sys.argv[1]
    cases = [("bert", "model.onnx", dict(weight_type=QuantType.QInt8)), ("bert", "model_dynamo.onnx", dict(weight_type=QuantType.QUInt8)),
             ("distilbert", "model.onnx", dict(weight_type=QuantType.QInt8, per_channel=True)),
             ("mobilenet-v3", "model.onnx", dict(weight_type=QuantType.QUInt8)), ("mobilenet-v2", "model.onnx", dict(weight_type=QuantType.QUInt8))]
    made = {}
    for name, file, how in cases:
        folder = os.path.join(root, f"{name}-quantised")
        os.makedirs(folder, exist_ok=True)
        for given in ["config.json", "preprocessor_config.json"]:
            if os.path.exists(os.path.join(root, name, given)):
                shutil.copy(os.path.join(root, name, given), folder)
        source = os.path.join(root, name, file)
        target = file.replace(".onnx", "_quantized.onnx")
        quantize_dynamic(source, os.path.join(folder, target), **how)
        quantised = onnx.load(os.path.join(folder, target))
        case = next(case for case in json.load(open(os.path.join(root, name, "expected.json"))) if case["file"] == file)
        if "side" in case:
            inputs = {"side": case["side"]}
            x = pixels(case["side"], len(case["vectors"]))
            feeds = [{"pixel_values": x[i:i + 1]} for i in range(len(x))]
        else:
            inputs = {"tokens": case["tokens"]}
            feeds = [{"input_ids": np.array([ids], dtype=np.int64), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)} for ids in case["tokens"]]
        exact, noisy = vectors(restored(onnx.load(source), quantised), feeds), vectors(quantised, feeds)
        made.setdefault(folder, []).append({"file": target, **inputs, "vectors": exact, "quantised": noisy})
        cosine = min(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(np.array(exact), np.array(noisy)))
        operators = sorted({node.op_type for node in quantised.graph.node if "nteger" in node.op_type or "inear" in node.op_type})
        print(folder, target, os.path.getsize(os.path.join(folder, target)), cosine, operators)
    for folder, expected in made.items():
        with open(os.path.join(folder, "expected.json"), "w") as file:
            json.dump(expected, file, separators=(",", ":"))
            file.write("\n")


main()
