"""Small random-weight MobileNets as safetensors under the names of torchvision, timm and Hugging Face, with what onnxruntime makes of them.

usage: make_mobilenets.py FOLDER                              one folder a model below FOLDER, as `make_models.py` writes them
needs: numpy, onnx, onnxruntime, safetensors

The graphs are built here from the tables of the papers (Sandler et al. 2018, table 2; Howard et al. 2019, tables 1 and 2), with widths of a few
channels; padding, epsilon, gates and what follows the mean are those of the libraries whose names are used.
"""
import json, os, sys
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

SIDE, PICTURES = 45, 2
# Kernel, expands, gated, hard swish, stride; the width changes with each stage, given as the last number.
V2 = [(3, False, False, None, 1, 4)] + [(3, True, False, None, stride, width) for width, count, first in
      [(4, 2, 2), (6, 3, 2), (6, 4, 2), (8, 3, 1), (8, 3, 2), (10, 1, 1)] for stride in [first] + [1] * (count - 1)]
LARGE = [(3, 0, 0, 0, 1, 4), (3, 1, 0, 0, 2, 6), (3, 1, 0, 0, 1, 6), (5, 1, 1, 0, 2, 6), (5, 1, 1, 0, 1, 6), (5, 1, 1, 0, 1, 6), (3, 1, 0, 1, 2, 8),
         (3, 1, 0, 1, 1, 8), (3, 1, 0, 1, 1, 8), (3, 1, 0, 1, 1, 8), (3, 1, 1, 1, 1, 10), (3, 1, 1, 1, 1, 10), (5, 1, 1, 1, 2, 12), (5, 1, 1, 1, 1, 12),
         (5, 1, 1, 1, 1, 12)]
SMALL = [(3, 0, 1, 0, 2, 4), (3, 1, 0, 0, 2, 6), (3, 1, 0, 0, 1, 6), (5, 1, 1, 1, 2, 8), (5, 1, 1, 1, 1, 8), (5, 1, 1, 1, 1, 8), (5, 1, 1, 1, 1, 10),
         (5, 1, 1, 1, 1, 10), (5, 1, 1, 1, 2, 12), (5, 1, 1, 1, 1, 12), (5, 1, 1, 1, 1, 12)]
# The number of blocks of each stage, as timm numbers them.
STAGES = {"v2": [1, 2, 3, 4, 3, 3, 1], "large": [1, 2, 3, 4, 2, 3], "small": [1, 2, 3, 2, 3]}
TABLES = {"v2": V2, "large": LARGE, "small": SMALL}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class Graph:
    def __init__(self, seed, epsilon, same):
        self.random, self.epsilon, self.same = np.random.default_rng(seed), epsilon, same
        self.tensors, self.nodes, self.constants, self.count = {}, [], [], 0

    def node(self, operator, inputs, **attributes):
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def tensor(self, name, value):
        self.tensors[name] = value.astype(np.float32)
        return name

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.float32(value), name))
        return name

    def convolution(self, x, name, shape, stride=1, groups=1, bias=False):
        """Weights whose sums keep the size of what goes in."""
        weight = self.tensor(f"{name}.weight", self.random.normal(size=shape) * 1.4 * np.prod(shape[1:]) ** -0.5)
        inputs = [x, weight] + ([self.tensor(f"{name}.bias", self.random.normal(size=shape[0]) * 0.3)] if bias else [])
        kernel = shape[2]
        pads = {"auto_pad": "SAME_UPPER"} if self.same else {"pads": [kernel // 2] * 4}
        return self.node("Conv", inputs, strides=[stride] * 2, group=groups, kernel_shape=[kernel] * 2, **pads)

    def norm(self, x, name, channels):
        normal = lambda scale, offset: self.random.normal(size=channels) * scale + offset
        parts = [("weight", normal(0.2, 1.0)), ("bias", normal(0.3, 0.2)), ("running_mean", normal(0.2, 0.0)),
                 ("running_var", self.random.uniform(0.5, 1.5, channels))]
        return self.node("BatchNormalization", [x] + [self.tensor(f"{name}.{part}", value) for part, value in parts], epsilon=self.epsilon)

    def curve(self, x, kind):
        if kind == "relu6":
            return self.node("Clip", [x, self.constant(0), self.constant(6)])
        return self.node({"relu": "Relu", "hswish": "HardSwish"}[kind], [x])

    def gate(self, x, names, channels, squeezed):
        mean = self.node("GlobalAveragePool", [x])
        reduced = self.node("Relu", [self.convolution(mean, names[0], (squeezed, channels, 1, 1), bias=True)])
        raised = self.convolution(reduced, names[1], (channels, squeezed, 1, 1), bias=True)
        return self.node("Mul", [x, self.node("HardSigmoid", [raised], alpha=1 / 6, beta=0.5)])


def names(dialect, kind, index):
    """What the library calls the parts of a block: convolution and norm of each, and the two layers of the gate."""
    _, expands, gated, *_ = TABLES[kind][index]
    if dialect == "torchvision" and kind == "v2":
        folder = f"features.{index + 1}.conv"
        at = 1 if expands else 0
        return {"expand": (f"{folder}.0.0", f"{folder}.0.1"), "filter": (f"{folder}.{at}.0", f"{folder}.{at}.1"),
                "project": (f"{folder}.{at + 1}", f"{folder}.{at + 2}")}
    if dialect == "torchvision":
        folder, at = f"features.{index + 1}.block", 1 if expands else 0
        pair = lambda part: (f"{folder}.{part}.0", f"{folder}.{part}.1")
        return {"expand": pair(0), "filter": pair(at), "gate": (f"{folder}.{at + 1}.fc1", f"{folder}.{at + 1}.fc2"), "project": pair(at + 1 + bool(gated))}
    if dialect == "timm":
        stage, at = 0, index
        while at >= STAGES[kind][stage]:
            at, stage = at - STAGES[kind][stage], stage + 1
        folder = f"blocks.{stage}.{at}"
        gate = (f"{folder}.se.conv_reduce", f"{folder}.se.conv_expand")
        if not expands:
            return {"filter": (f"{folder}.conv_dw", f"{folder}.bn1"), "gate": gate, "project": (f"{folder}.conv_pw", f"{folder}.bn2")}
        return {"expand": (f"{folder}.conv_pw", f"{folder}.bn1"), "filter": (f"{folder}.conv_dw", f"{folder}.bn2"), "gate": gate,
                "project": (f"{folder}.conv_pwl", f"{folder}.bn3")}
    folder = "mobilenet_v2.conv_stem" if index == 0 else f"mobilenet_v2.layer.{index - 1}"
    pair = lambda part: (f"{folder}.{part}.convolution", f"{folder}.{part}.normalization")
    return {"expand": pair("expand_1x1"), "filter": pair("conv_3x3"), "project": pair("reduce_1x1")}


def ends(dialect, kind):
    blocks = len(TABLES[kind])
    if dialect == "torchvision":
        return ("features.0.0", "features.0.1"), (f"features.{blocks + 1}.0", f"features.{blocks + 1}.1")
    if dialect == "timm":
        last = len(STAGES[kind])
        return ("conv_stem", "bn1"), (("conv_head", "bn2") if kind == "v2" else (f"blocks.{last}.0.conv", f"blocks.{last}.0.bn1"))
    pair = lambda name: (f"mobilenet_v2.{name}.convolution", f"mobilenet_v2.{name}.normalization")
    return pair("conv_stem.first_conv"), pair("conv_1x1")


def build(dialect, kind, seed, tensorflow):
    epsilon = 1e-3 if tensorflow or (dialect == "torchvision" and kind != "v2") else 1e-5
    graph = Graph(seed, epsilon, tensorflow)
    outer = "relu6" if kind == "v2" else "hswish"
    (stem, stem_norm), (last, last_norm) = ends(dialect, kind)
    channels = 4
    x = graph.curve(graph.norm(graph.convolution("pixels", stem, (channels, 3, 3, 3), 2), stem_norm, channels), outer)
    for index, (kernel, expands, gated, swish, stride, width) in enumerate(TABLES[kind]):
        called, before, wide = names(dialect, kind, index), x, channels * 2 if expands else channels
        curve = "relu6" if kind == "v2" else "hswish" if swish else "relu"
        if expands:
            x = graph.curve(graph.norm(graph.convolution(x, called["expand"][0], (wide, channels, 1, 1)), called["expand"][1], wide), curve)
        filtered = graph.convolution(x, called["filter"][0], (wide, 1, kernel, kernel), stride, wide)
        x = graph.curve(graph.norm(filtered, called["filter"][1], wide), curve)
        if gated:
            x = graph.gate(x, called["gate"], wide, 4)
        x = graph.norm(graph.convolution(x, called["project"][0], (width, wide, 1, 1)), called["project"][1], width)
        if stride == 1 and width == channels:
            x = graph.node("Add", [before, x])
        channels = width
    x = graph.curve(graph.norm(graph.convolution(x, last, (24, channels, 1, 1)), last_norm, 24), outer)
    x = graph.node("GlobalAveragePool", [x])
    if dialect == "timm" and kind != "v2":
        x = graph.node("HardSwish", [graph.convolution(x, "conv_head", (20, 24, 1, 1), bias=True)])
    x = graph.node("Flatten", [x])
    # A classifier, which is not part of the features.
    graph.tensor("classifier.weight", graph.random.normal(size=(5, 24)))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [PICTURES, 3, SIDE, SIDE])
    features = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
    used = [numpy_helper.from_array(value, name) for name, value in graph.tensors.items() if name != "classifier.weight"]
    made = helper.make_graph(graph.nodes, "mobilenet", [pixels], [features], graph.constants + used)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model, graph.tensors


def pictures(mean, deviation):
    index = np.arange(SIDE * SIDE * 3, dtype=np.uint64)
    bytes = [(((index * 2654435761 + 12345 + p) % (1 << 32)) >> 24).reshape(SIDE, SIDE, 3) for p in range(PICTURES)]
    x = np.stack(bytes).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((x - np.float32(mean)) / np.float32(deviation)).transpose(0, 3, 1, 2), dtype=np.float32)


def main():
    cases = [("torchvision", "v2", False), ("torchvision", "large", False), ("torchvision", "small", False), ("timm", "v2", False), ("timm", "large", False),
             ("timm", "small", True), ("transformers", "v2", True)]
    for seed, (dialect, kind, tensorflow) in enumerate(cases):
        folder = os.path.join(sys.argv[1], f"mobilenet-{kind}-{dialect}")
        os.makedirs(folder, exist_ok=True)
        model, tensors = build(dialect, kind, seed, tensorflow)
        mean, deviation = ([0.5] * 3, [0.5] * 3) if dialect == "transformers" else IMAGENET
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        vectors = session.run(None, {"pixels": pictures(mean, deviation)})[0]
        save_file(tensors, os.path.join(folder, "model.safetensors"))
        processor = dict(image_processor_type="ViTImageProcessor", do_resize=True, do_rescale=True, do_normalize=True, resample=2, rescale_factor=1 / 255,
                         size={"height": SIDE, "width": SIDE}, image_mean=mean, image_std=deviation)
        files = {"preprocessor_config.json": processor,
                 "expected.json": [{"file": "model.safetensors", "side": SIDE, "vectors": [[float(f"{v:.7g}") for v in row] for row in vectors]}]}
        if dialect == "transformers":
            files["config.json"] = {"model_type": "mobilenet_v2", "tf_padding": True}
        if dialect == "timm":
            files["config.json"] = {"architecture": f"{'tf_' if tensorflow else ''}mobilenet{kind}", "pretrained_cfg": {}}
        for name, content in files.items():
            with open(os.path.join(folder, name), "w") as file:
                json.dump(content, file)
        print(folder, vectors.std(), vectors.shape, sum(value.size for value in tensors.values()))


main()
