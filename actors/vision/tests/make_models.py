"""Small random-weight models as ONNX and safetensors files, with what onnxruntime makes of fixed inputs.

usage: make_models.py FOLDER [--only FAMILY] [--all] [--full]     one folder a model below FOLDER
needs: torch, Pillow, transformers, onnx, onnxruntime, onnxscript, safetensors, numpy; torchvision, timm and open_clip_torch for their models

Each folder holds the files as a user would bring them (`*.onnx`, `model.safetensors`, `config.json`, `preprocessor_config.json`) and
`expected.json`: for every model file the inputs and the vectors, `{"file": .., "side": .. | "tokens": [[..]], "vectors": [[..]]}`. Pixels are
`((i * 2654435761 + 12345 + picture) mod 2^32) >> 24` for the i-th byte of `[side, side, 3]`. Vectors are not normalised. The ones in `models/` are
committed, so that the tests need no Python; `--all` makes variants beside them, `--full` the same families in the sizes that are published:
`GOTHAM_TEST_MODELS=FOLDER cargo nextest run -p vision parity` runs those, too.
"""
import argparse, json, os, shutil, warnings
import numpy as np, onnx, onnxruntime, torch
from torch import nn
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(3)
PICTURES = 2
TOKENS = [[5, 9, 3, 11, 7, 2], [5, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 2], [5, 2]]


def pixels(side):
    count = side * side * 3
    index = np.arange(count, dtype=np.uint64)
    return np.stack([(((index * 2654435761 + 12345 + p) % (1 << 32)) >> 24).astype(np.uint8).reshape(side, side, 3) for p in range(PICTURES)])


def prepared(side, processor):
    x = pixels(side).astype(np.float32) / np.float32(255)
    x = (x - np.float32(processor["image_mean"])) / np.float32(processor["image_std"])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def randomise(model, seed=1):
    """Initial weights are too small or too regular (zero biases, unit gains) to show a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if not tensor.is_floating_point() or name.endswith("mask"):
            continue
        with torch.no_grad():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.dim() < 2:
                offset = 1.0 if ("norm" in name.lower() or "bn" in name.lower() or ".1." in name) and name.endswith("weight") else 0.0
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2 + offset)
            else:
                fan = tensor[0].numel()
                embeds = "embed" in name and "patch" not in name
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * (0.5 if embeds else 1.2 * fan ** -0.5))
    return model.eval()


class Only(nn.Module):
    """One output of a model, by name."""
    def __init__(self, model, output, inputs):
        super().__init__(); self.model, self.output, self.names = model, output, inputs
    def forward(self, *values):
        result = self.model(**dict(zip(self.names, values)))
        return result if self.output is None else getattr(result, self.output)


def export(module, inputs, names, output, path, dynamo, opset, free):
    """Writes an ONNX file by the TorchScript or the dynamo exporter; `free` names the axes that stay open."""
    axes = {name: dict(free[name]) for name in names}
    if dynamo:
        shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in free[name]} for name in names)
        program = torch.onnx.export(module, inputs, dynamo=True, opset_version=opset, input_names=names, output_names=[output],
                                    dynamic_shapes=(shapes,) if isinstance(module, Only) else shapes, verbose=False, external_data=False)
        program.save(path, external_data=False)
    else:
        axes[output] = {0: "batch"}
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=opset, input_names=names, output_names=[output],
                          dynamic_axes=axes, do_constant_folding=True)
    slim(path)


def slim(path):
    """Without the exporter's notes and with short names: both are larger than small weights."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output) + list(model.graph.initializer):
        value.ClearField("metadata_props") if hasattr(value, "metadata_props") else None
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:], model.functions[:]
    names = {value.name: value.name for value in list(model.graph.input) + list(model.graph.output)}
    short = lambda name: names.setdefault(name, f"v{len(names)}") if name else name
    for index, node in enumerate(model.graph.node):
        node.name = f"/{index}"
        node.input[:], node.output[:] = [short(name) for name in node.input], [short(name) for name in node.output]
    for tensor in model.graph.initializer:
        tensor.name = short(tensor.name)
    onnx.save(model, path)


def run(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    return session.run(None, {k: v for k, v in feeds.items() if k in known})[0]


def vector(result, pooling, last=None):
    if result.ndim == 2:
        return result[0]
    return {"mean": lambda: result[0].mean(axis=0), "cls": lambda: result[0, 0], "last": lambda: result[0, -1]}[pooling]()


class Folder:
    def __init__(self, root, name):
        self.path, self.cases = os.path.join(root, name), []
        os.makedirs(self.path, exist_ok=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def json(self, name, value):
        with open(self.file(name), "w") as file:
            json.dump(value, file, separators=(",", ":")); file.write("\n")

    def weights(self, model, name="model.safetensors", keep=lambda key: True):
        state = {k: v.contiguous().clone() for k, v in model.state_dict().items() if keep(k) and v.is_floating_point()}
        save_file(state, self.file(name), metadata={"format": "pt"})

    def picture(self, file, side, vectors):
        self.cases.append({"file": file, "side": side, "vectors": [[float(f"{x:.7g}") for x in v] for v in vectors]})

    def texts(self, file, tokens, vectors):
        self.cases.append({"file": file, "tokens": tokens, "vectors": [[float(f"{x:.7g}") for x in v] for v in vectors]})

    def close(self):
        self.json("expected.json", self.cases)
        print(f"{self.path}: {len(self.cases)} cases")


BATCH = {0: "batch"}
BATCH_LENGTH = {0: "batch", 1: "length"}


def vision(folder, model, output, side, processor, file, dynamo, opset):
    module = Only(model, output, ["pixel_values"])
    x = torch.from_numpy(prepared(side, processor))
    export(module, (x,), ["pixel_values"], "image_embeds" if output != "last_hidden_state" else output, folder.file(file), dynamo, opset,
           {"pixel_values": BATCH})
    vectors = [vector(run(folder.file(file), {"pixel_values": x[i:i + 1].numpy()}), "cls") for i in range(PICTURES)]
    return vectors


def text(folder, model, output, tokens, file, dynamo, opset, masked, pooling, fixed=False):
    names = ["input_ids", "attention_mask"] if masked else ["input_ids"]
    module = Only(model, output, names)
    sample = np.array([tokens[1], tokens[1][::-1]] if not fixed else tokens[:2])
    ids = torch.from_numpy(sample).long()
    inputs = (ids, torch.ones_like(ids)) if masked else (ids,)
    axes = BATCH if fixed else BATCH_LENGTH
    export(module, inputs, names, "text_embeds" if output != "last_hidden_state" else output, folder.file(file), dynamo, opset,
           {name: axes for name in names})
    vectors = []
    for ids in tokens:
        feed = {"input_ids": np.array([ids], dtype=np.int64), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        vectors.append(vector(run(folder.file(file), feed), pooling))
    return vectors


CLIP_PROCESSOR = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_center_crop": True, "resample": 3,
                  "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True,
                  "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def clip(root, full):
    from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection, CLIPTextModelWithProjection
    for name, act, side, patch, layers in [("clip", "quick_gelu", 40, 8, 2), ("clip-gelu", "gelu", 36, 12, 1)]:
        folder = Folder(root, name)
        size = dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_hidden_layers=layers)
        if full:
            side, patch, size = 224, 32, dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
        text_size = dict(size, hidden_size=512, intermediate_size=2048, num_attention_heads=8) if full else dict(size, hidden_size=12)
        config = CLIPConfig(
            text_config=dict(text_size, vocab_size=64, max_position_embeddings=77 if full else 16, hidden_act=act, eos_token_id=2, bos_token_id=5,
                             pad_token_id=1),
            vision_config=dict(size, image_size=side, patch_size=patch, hidden_act=act), projection_dim=512 if full else 20)
        model = randomise(CLIPModel(config))
        config.save_pretrained(folder.path)
        processor = dict(CLIP_PROCESSOR, size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        folder.json("preprocessor_config.json", processor)
        for tower in (config.vision_config, config.text_config):
            tower.projection_dim = config.projection_dim
        towers = CLIPVisionModelWithProjection(config.vision_config), CLIPTextModelWithProjection(config.text_config)
        for tower in towers:
            assert not tower.load_state_dict(model.state_dict(), strict=False).missing_keys
            tower.eval()
        folder.weights(model)
        # The highest token ends a text: what older configurations look for.
        tokens = [[63 if t == 2 else t for t in ids] for ids in TOKENS]
        for kind, dynamo, opset in [("", False, 14), ("_dynamo", True, 18)]:
            vectors = vision(folder, towers[0], "image_embeds", side, processor, f"vision_model{kind}.onnx", dynamo, opset)
            folder.picture(f"vision_model{kind}.onnx", side, vectors)
            vectors_text = text(folder, towers[1], "text_embeds", tokens, f"text_model{kind}.onnx", dynamo, opset, kind == "", "last")
            folder.texts(f"text_model{kind}.onnx", tokens, vectors_text)
        folder.picture("model.safetensors", side, vectors)
        folder.texts("model.safetensors", tokens, vectors_text)
        folder.close()


def siglip(root, full):
    from transformers import SiglipConfig, SiglipModel
    folder = Folder(root, "siglip")
    side, patch, length = (224, 16, 64) if full else (33, 8, 12)
    size = dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12) if full else \
        dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_hidden_layers=2)
    config = SiglipConfig(text_config=dict(size, vocab_size=64, max_position_embeddings=length, pad_token_id=1, eos_token_id=1, bos_token_id=5),
                          vision_config=dict(size, image_size=side, patch_size=patch))
    model = randomise(SiglipModel(config))
    config.save_pretrained(folder.path)
    processor = dict(HALF, image_processor_type="SiglipImageProcessor", do_resize=True, do_rescale=True, do_normalize=True, resample=3,
                     rescale_factor=1 / 255, size={"height": side, "width": side})
    folder.json("preprocessor_config.json", processor)
    folder.weights(model)
    towers = model.vision_model, model.text_model
    tokens = [(ids + [1] * length)[:length] for ids in TOKENS]
    for kind, dynamo, opset in [("", False, 17), ("_dynamo", True, 18)]:
        vectors = vision(folder, towers[0], "pooler_output", side, processor, f"vision_model{kind}.onnx", dynamo, opset)
        folder.picture(f"vision_model{kind}.onnx", side, vectors)
        vectors_text = text(folder, towers[1], "pooler_output", tokens, f"text_model{kind}.onnx", dynamo, opset, False, "last", fixed=dynamo)
        folder.texts(f"text_model{kind}.onnx", tokens, vectors_text)
    folder.picture("model.safetensors", side, vectors)
    folder.texts("model.safetensors", tokens, vectors_text)
    folder.close()


class Sentence(nn.Module):
    """What a sentence model does behind its encoder: mean over the mask, length 1."""
    def __init__(self, model):
        super().__init__(); self.model = model
    def forward(self, input_ids, attention_mask):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).expand(states.size()).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, p=2, dim=1)


def encoders(root, full):
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel, DistilBertConfig, DistilBertModel
    from transformers import MPNetConfig, MPNetModel
    size = dict(hidden_size=384, intermediate_size=1536, num_attention_heads=12, num_hidden_layers=6) if full else \
        dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_hidden_layers=2)
    distil = dict(dim=size["hidden_size"], hidden_dim=size["intermediate_size"], n_heads=size["num_attention_heads"], n_layers=size["num_hidden_layers"])
    kinds = {
        "bert": lambda: BertModel(BertConfig(**size, vocab_size=64, max_position_embeddings=512 if full else 24, attn_implementation="eager")),
        "bert-tanh": lambda: BertModel(BertConfig(**size, vocab_size=64, max_position_embeddings=24, hidden_act="gelu_new"), add_pooling_layer=False),
        "roberta": lambda: RobertaModel(RobertaConfig(**size, vocab_size=64, max_position_embeddings=26, pad_token_id=1, bos_token_id=5, eos_token_id=2)),
        "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**size, vocab_size=64, max_position_embeddings=26, pad_token_id=1, bos_token_id=5,
                                                                eos_token_id=2, type_vocab_size=1)),
        "distilbert": lambda: DistilBertModel(DistilBertConfig(**distil, vocab_size=64, max_position_embeddings=24, attn_implementation="eager")),
        "mpnet": lambda: MPNetModel(MPNetConfig(**size, vocab_size=64, max_position_embeddings=26)),
    }
    for name, make in kinds.items():
        folder = Folder(root, name)
        model = randomise(make())
        model.config.save_pretrained(folder.path)
        folder.weights(model, keep=lambda key: not key.startswith("pooler"))
        variants = [("model.onnx", False, 13 if name == "distilbert" else 14), ("model_dynamo.onnx", True, 18)]
        for file, dynamo, opset in variants:
            vectors = text(folder, model, "last_hidden_state", TOKENS, file, dynamo, opset, True, "mean")
            if name != "mpnet":
                folder.texts(file, TOKENS, vectors)
        if name != "mpnet":
            folder.texts("model.safetensors", TOKENS, vectors)
        if name == "bert":
            sentence = Sentence(model).eval()
            ids = torch.tensor([TOKENS[1], TOKENS[1]])
            for file, dynamo, opset in [("sentence.onnx", False, 16), ("sentence_dynamo.onnx", True, 20)]:
                names = ["input_ids", "attention_mask"]
                export(sentence, (ids, torch.ones_like(ids)), names, "sentence_embedding", folder.file(file), dynamo, opset,
                       {n: BATCH_LENGTH for n in names})
                feeds = [{"input_ids": np.array([t]), "attention_mask": np.ones((1, len(t)), dtype=np.int64)} for t in TOKENS]
                folder.texts(file, TOKENS, [run(folder.file(file), feed)[0] for feed in feeds])
        folder.close()


def vit(root, full):
    from transformers import ViTConfig, ViTModel, Dinov2Config, Dinov2Model
    size = dict(hidden_size=384, intermediate_size=1536, num_attention_heads=6, num_hidden_layers=12) if full else \
        dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_hidden_layers=2)
    side, patch = (224, 16) if full else (35, 7)
    kinds = {"vit": lambda: ViTModel(ViTConfig(**size, image_size=side, patch_size=patch), add_pooling_layer=False),
             "dinov2": lambda: Dinov2Model(Dinov2Config(**size, image_size=side, patch_size=patch))}
    for name, make in kinds.items():
        folder = Folder(root, name)
        model = randomise(make())
        processor = dict(HALF, image_processor_type="ViTImageProcessor", do_resize=True, do_rescale=True, do_normalize=True, resample=2,
                         rescale_factor=1 / 255, size={"height": side, "width": side})
        folder.json("preprocessor_config.json", processor)
        for file, dynamo, opset in [("model.onnx", False, 15), ("model_dynamo.onnx", True, 18)]:
            folder.picture(file, side, vision(folder, model, "last_hidden_state", side, processor, file, dynamo, opset))
        folder.close()


class Features(nn.Module):
    """What a classifier looks at: everything before its last layer."""
    def __init__(self, body, *head):
        super().__init__(); self.body, self.head = body, nn.Sequential(*head)
    def forward(self, pixel_values):
        return self.head(self.body(pixel_values))


def convnets(root, full):
    from functools import partial
    from torchvision.models import MobileNetV2, MobileNetV3, EfficientNet, ConvNeXt
    from torchvision.models.mobilenetv3 import InvertedResidualConfig
    from torchvision.models.efficientnet import MBConvConfig
    from torchvision.models.convnext import CNBlockConfig
    side = 224 if full else 45
    row = lambda *values: InvertedResidualConfig(*values, dilation=1, width_mult=1.0)
    small = [row(16, 3, 16, 16, True, "RE", 2), row(16, 3, 40, 24, False, "RE", 2), row(24, 5, 48, 24, True, "HS", 1)]
    block = lambda *values: MBConvConfig(*values, width_mult=1.0, depth_mult=1.0)
    blocks = [block(1, 3, 1, 8, 8, 1), block(4, 5, 2, 8, 16, 2)]
    makes = {
        "mobilenet-v2": lambda: MobileNetV2(inverted_residual_setting=None if full else [[1, 8, 1, 1], [6, 8, 2, 2]], width_mult=1.0 if full else 0.5),
        "mobilenet-v3": lambda: MobileNetV3(small, last_channel=24, norm_layer=partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)),
        "efficientnet": lambda: EfficientNet(blocks, dropout=0.0, last_channel=64),
        "convnext": lambda: ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)]),
    }
    for name, make in makes.items():
        folder = Folder(root, name)
        model = randomise(make())
        heads = {"mobilenet-v3": lambda: [model.avgpool, nn.Flatten(1), model.classifier[0], model.classifier[1]],
                 "convnext": lambda: [model.avgpool, model.classifier[0], nn.Flatten(1)],
                 "mobilenet-v2": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]}
        module = Features(model.features, *heads.get(name, lambda: [model.avgpool, nn.Flatten(1)])()).eval()
        processor = dict(IMAGENET, image_processor_type="ViTImageProcessor", do_resize=True, do_rescale=True, do_normalize=True, resample=2,
                         rescale_factor=1 / 255, size={"height": side, "width": side})
        folder.json("preprocessor_config.json", processor)
        x = torch.from_numpy(prepared(side, processor))
        for file, dynamo, opset in [("model.onnx", False, 13), ("model_dynamo.onnx", True, 18)]:
            export(module, (x,), ["pixel_values"], "features", folder.file(file), dynamo, opset, {"pixel_values": BATCH})
            folder.picture(file, side, [run(folder.file(file), {"pixel_values": x[i:i + 1].numpy()})[0] for i in range(PICTURES)])
        folder.close()


class Call(nn.Module):
    """One method of a model."""
    def __init__(self, model, method):
        super().__init__(); self.model, self.method = model, method
    def forward(self, x):
        return getattr(self.model, self.method)(x)


def others(root, full):
    """Towers by open_clip and a vision transformer by timm, whose attention is one fused product."""
    import open_clip, timm
    vision = dict(image_size=224, layers=12, width=768, patch_size=32) if full else dict(image_size=32, layers=1, width=24, head_width=8, patch_size=8)
    words = dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12) if full else \
        dict(context_length=14, vocab_size=64, width=16, heads=4, layers=2)
    side, embed = vision["image_size"], 512 if full else 24
    folder = Folder(root, "open-clip")
    model = randomise(open_clip.model.CLIP(embed_dim=embed, vision_cfg=vision, text_cfg=words, quick_gelu=False))
    folder.json("open_clip_config.json", {"model_cfg": dict(embed_dim=embed, vision_cfg=vision, text_cfg=words), "preprocess_cfg": {}})
    folder.json("preprocessor_config.json", dict(CLIP_PROCESSOR, size={"shortest_edge": side}, crop_size={"height": side, "width": side}))
    folder.json("config.json", {"text_config": {"max_position_embeddings": words["context_length"]}})
    folder.weights(model, "open_clip_model.safetensors")
    torch.save(model.state_dict(), folder.file("open_clip_pytorch_model.bin"))
    tokens = [[63 if t == 2 else t for t in ids] for ids in TOKENS]
    x = torch.from_numpy(prepared(side, CLIP_PROCESSOR))
    with torch.no_grad():
        vectors = [model.encode_image(x[i:i + 1])[0].tolist() for i in range(PICTURES)]
        padded = [ids + [0] * (words["context_length"] - len(ids)) for ids in tokens]
        vectors_text = [model.encode_text(torch.tensor([ids]))[0].tolist() for ids in padded]
    for file in ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]:
        folder.picture(file, side, vectors)
        folder.texts(file, tokens, vectors_text)
    export(Call(model, "encode_image"), (x,), ["pixel_values"], "image_embeds", folder.file("vision_model.onnx"), False, 17, {"pixel_values": BATCH})
    folder.picture("vision_model.onnx", side, [run(folder.file("vision_model.onnx"), {"pixel_values": x[i:i + 1].numpy()})[0] for i in range(PICTURES)])
    folder.close()
    folder = Folder(root, "timm-vit")
    size = dict(embed_dim=384, depth=12, num_heads=6, patch_size=16, img_size=224) if full else \
        dict(embed_dim=16, depth=2, num_heads=4, patch_size=8, img_size=40)
    model = randomise(timm.models.vision_transformer.VisionTransformer(num_classes=0, **size))
    side = size["img_size"]
    processor = dict(HALF, image_processor_type="ViTImageProcessor", resample=3, size={"height": side, "width": side})
    folder.json("preprocessor_config.json", processor)
    x = torch.from_numpy(prepared(side, processor))
    for file, dynamo, opset in [("model.onnx", False, 15), ("model_dynamo.onnx", True, 18)]:
        export(model, (x,), ["x"], "features", folder.file(file), dynamo, opset, {"x": BATCH})
        folder.picture(file, side, [run(folder.file(file), {"x": x[i:i + 1].numpy()})[0] for i in range(PICTURES)])
    folder.close()


def pictures(root, full):
    """Pillow's pixels for each filter and each way to a square, of a picture by the formula above."""
    from PIL import Image
    cases = []
    for width, height in [(61, 47), (40, 90), (9, 8)]:
        index = np.arange(width * height * 3, dtype=np.uint64)
        picture = (((index * 2654435761 + 12345) % (1 << 32)) >> 24).astype(np.uint8).reshape(height, width, 3)
        # Both passes round and clip to bytes, and libraries differ in which pass comes first: a picture that is enlarged must not reach
        # the ends of the range, or noise would show the order instead of the filter.
        soft = min(width, height) < 12
        picture = Image.fromarray((picture // 4 + 96) if soft else picture)
        for resample in [1, 2, 3]:
            side, shorter = 12, 16
            ways = [({"height": side, "width": side}, False), ({"shortest_edge": shorter}, True)]
            for size, crops in ways:
                if crops:
                    scaled = [shorter if length == min(width, height) else int(shorter * length / min(width, height)) for length in (width, height)]
                    resized = picture.resize(scaled, resample)
                    left, top = (scaled[0] - side) // 2, (scaled[1] - side) // 2
                    resized = resized.crop((left, top, left + side, top + side))
                else:
                    resized = picture.resize((side, side), resample)
                processor = dict(HALF, size=size, resample=resample, do_center_crop=crops, crop_size={"height": side, "width": side})
                cases.append({"width": width, "height": height, "soft": soft, "processor": processor, "pixels": resized.tobytes().hex()})
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "pictures.json"), "w") as file:
        json.dump(cases, file, separators=(",", ":")); file.write("\n")


# Variants that the committed ones stand for.
BESIDE = ("clip-gelu", "bert-tanh", "roberta")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder"); parser.add_argument("--only"); parser.add_argument("--full", action="store_true")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(7)
    for family in (clip, siglip, encoders, vit, convnets, others, pictures):
        if arguments.only in (None, family.__name__):
            family(arguments.folder, arguments.full)
    for name in () if arguments.all or arguments.full else BESIDE:
        shutil.rmtree(os.path.join(arguments.folder, name), ignore_errors=True)


if __name__ == "__main__":
    main()
