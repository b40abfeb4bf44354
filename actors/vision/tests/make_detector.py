"""A small random-weight detector as it is published for browsers, with what onnxruntime makes of fixed inputs.

usage: make_detector.py FOLDER     the folder yolos below FOLDER
needs: numpy, onnx, onnxruntime

The graph has the shape that YOLOS has when it is exported for pictures of any size (Fang et al. 2021): a class token in front of the patches,
detection tokens behind them, a table of places that is resized to the picture inside the graph, another one added after the first layer,
heads on the last positions alone. Pixels are those of make_models.py.
"""
import json, os, sys
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE, PATCH, WIDTH, HEADS, LAYERS, WIDE, QUERIES, LABELS = 40, 8, 16, 4, 2, 24, 6, 4
TABLE = (4, 7)
GENERATOR = np.random.default_rng(11)
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

nodes, weights = [], []


def weight(array, kind=np.float32):
    name = f"w{len(weights)}"
    weights.append(numpy_helper.from_array(np.asarray(array, dtype=kind), name))
    return name


def ints(*values):
    return weight(values, np.int64)


def random(*shape, scale=0.5, offset=0.0):
    return weight(GENERATOR.standard_normal(shape) * scale + offset)


def op(kind, *inputs, output=None, **attributes):
    output = output or f"v{len(nodes)}"
    nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
    return output


def linear(x, depth, columns):
    return op("Add", op("MatMul", x, random(depth, columns, scale=1.2 * depth ** -0.5)), random(columns, scale=0.2))


def norm(x):
    return op("LayerNormalization", x, random(WIDTH, scale=0.2, offset=1.0), random(WIDTH, scale=0.2), axis=-1, epsilon=1e-12)


def table(places, size):
    """[1, 1 + rows * columns + queries, width] with the patches' part resized to `size`."""
    rows, columns = TABLE
    first = op("Slice", places, ints(0), ints(1), ints(1))
    last = op("Slice", places, ints(-QUERIES), ints(2 ** 62), ints(1))
    patches = op("Transpose", op("Slice", places, ints(1), ints(-QUERIES), ints(1)), perm=[0, 2, 1])
    patches = op("Reshape", patches, ints(1, WIDTH, rows, columns))
    patches = op("Resize", patches, "", "", op("Concat", ints(1, WIDTH), size, axis=0), mode="cubic", cubic_coeff_a=-0.75,
                 coordinate_transformation_mode="half_pixel", nearest_mode="floor")
    patches = op("Transpose", op("Reshape", patches, ints(1, WIDTH, -1)), perm=[0, 2, 1])
    return op("Concat", first, patches, last, axis=1)


def attention(x):
    split = lambda part, order: op("Transpose", op("Reshape", part, ints(0, -1, HEADS, WIDTH // HEADS)), perm=order)
    queries, keys, values = (linear(x, WIDTH, WIDTH) for _ in range(3))
    scores = op("MatMul", split(queries, [0, 2, 1, 3]), split(keys, [0, 2, 3, 1]))
    shares = op("Softmax", op("Div", scores, weight((WIDTH // HEADS) ** 0.5)), axis=-1)
    mixed = op("Transpose", op("MatMul", shares, split(values, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    return linear(op("Reshape", mixed, ints(0, -1, WIDTH)), WIDTH, WIDTH)


def gelu(x):
    return op("Mul", op("Mul", x, op("Add", op("Erf", op("Div", x, weight(2 ** 0.5))), weight(1.0))), weight(0.5))


def head(x, columns, output, *last):
    for _ in range(2):
        x = op("Relu", linear(x, WIDTH, WIDTH))
    x = linear(x, WIDTH, columns)
    op(last[0] if last else "Identity", x, output=output)


def graph():
    shape = op("Shape", "pixel_values")
    size = op("Div", op("Slice", shape, ints(2), ints(4), ints(0)), ints(PATCH))
    patches = op("Conv", "pixel_values", random(WIDTH, 3, PATCH, PATCH, scale=0.1), random(WIDTH, scale=0.2), kernel_shape=[PATCH, PATCH],
                 strides=[PATCH, PATCH])
    patches = op("Transpose", op("Reshape", patches, ints(0, WIDTH, -1)), perm=[0, 2, 1])
    batch = op("Slice", shape, ints(0), ints(1), ints(0))
    expand = lambda tokens: op("Expand", tokens, op("Concat", batch, ints(1, 1), axis=0))
    count = 1 + TABLE[0] * TABLE[1] + QUERIES
    x = op("Concat", expand(random(1, 1, WIDTH)), patches, expand(random(1, QUERIES, WIDTH)), axis=1)
    x = op("Add", x, table(random(1, count, WIDTH), size))
    for layer in range(LAYERS):
        x = op("Add", attention(norm(x)), x)
        x = op("Add", linear(gelu(linear(norm(x), WIDTH, WIDE)), WIDE, WIDTH), x)
        if layer + 1 < LAYERS:
            x = op("Add", x, table(random(1, count, WIDTH), size))
    x = op("Slice", norm(x), ints(-QUERIES), ints(2 ** 62), ints(1))
    head(x, LABELS + 1, "logits")
    head(x, 4, "pred_boxes", "Sigmoid")
    value = lambda name, axes: helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)
    return helper.make_graph(nodes, "yolos", [value("pixel_values", ["batch", "channels", "height", "width"])],
                             [value("logits", ["batch", QUERIES, LABELS + 1]), value("pred_boxes", ["batch", QUERIES, 4])], weights)


def pixels(picture):
    index = np.arange(SIDE * SIDE * 3, dtype=np.uint64)
    x = (((index * 2654435761 + 12345 + picture) % (1 << 32)) >> 24).astype(np.float32).reshape(SIDE, SIDE, 3) / np.float32(255)
    x = (x - np.float32(IMAGENET["image_mean"])) / np.float32(IMAGENET["image_std"])
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], dtype=np.float32)


def main():
    folder = os.path.join(sys.argv[1], "yolos")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    model = helper.make_model(graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    numbers = lambda array: [float(f"{x:.7g}") for x in array.reshape(-1)]
    cases = [dict(zip(("logits", "boxes"), map(numbers, session.run(["logits", "pred_boxes"], {"pixel_values": pixels(picture)})))) for picture in range(2)]
    processor = dict(IMAGENET, image_processor_type="YolosImageProcessor", do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
                     do_pad=True, format="coco_detection", resample=2, size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    config = {"model_type": "yolos", "id2label": {str(label): f"LABEL_{label}" for label in range(LABELS)}}
    for name, value in [("detections.json", cases), ("preprocessor_config.json", processor), ("config.json", config)]:
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file, separators=(",", ":")); file.write("\n")


if __name__ == "__main__":
    main()
