"""A random Llama in onnxruntime-genai's format, as its model builder writes one, but from numpy alone."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKERS = ("<pad>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
TEXT = (
    "where is my order? i would like a refund, please. the parcel has arrived and it is damaged.",
    "你好，您的订单已经发货，请耐心等待。谢谢您的理解与支持！",
    "thank you so much 😀🎉",
)


def write_llama(
    folder: Path,
    *,
    hidden: int = 32,
    inner: int = 64,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    context: int = 256,
    vocabulary: int = 384,
    bits: Literal[8] | None = None,
    positions: bool = False,
    mixing: bool = False,
    template: str | None = TEMPLATE,
    seed: int = 0,
) -> Path:
    """Writes the folder. ``bits`` 8: weights as the builder's ``-p int8`` has them, else float32.

    ``positions``: rotate by an input ``position_ids``. ``mixing``: rows look at the other rows of their batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = _Graph(np.random.default_rng(seed), bits)
    size = hidden // heads
    graph.inputs(layers, kv_heads, size, positions)
    graph.node("ReduceSum", ["attention_mask", graph.constant(np.array([1]))], "summed", keepdims=0)
    graph.node("Sub", ["summed", graph.constant(np.array([1]))], "less")
    graph.node("Cast", ["less"], "seqlens", to=TensorProto.INT32)
    graph.node("Shape", ["attention_mask"], "shape")
    graph.node("Gather", ["shape", graph.constant(np.array(1))], "total_64")
    graph.node("Cast", ["total_64"], "total", to=TensorProto.INT32)
    angles = np.arange(context)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    cosines, sines = (graph.constant(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
    graph.node("Gather", [graph.weight((vocabulary, hidden), 1.0), "input_ids"], "x")
    for layer in range(layers):
        a, b = f"{layer}.a", f"{layer}.b"
        graph.norm("x", f"{a}.norm", hidden)
        graph.matmul(f"{a}.norm", f"{a}.qkv", hidden, (heads + 2 * kv_heads) * size)
        graph.node(
            "GroupQueryAttention",
            [f"{a}.qkv", "", "", f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"]
            + ["seqlens", "total", cosines, sines]
            + (["position_ids"] if positions else []),
            [f"{a}.attended", f"present.{layer}.key", f"present.{layer}.value"],
            domain="com.microsoft",
            num_heads=heads,
            kv_num_heads=kv_heads,
            do_rotary=1,
        )
        graph.matmul(f"{a}.attended", f"{a}.out", hidden, hidden)
        graph.node("Add", ["x", f"{a}.out"], f"{a}.x")
        graph.norm(f"{a}.x", f"{b}.norm", hidden)
        graph.matmul(f"{b}.norm", f"{b}.gate", hidden, inner)
        graph.matmul(f"{b}.norm", f"{b}.up", hidden, inner)
        graph.node("Sigmoid", [f"{b}.gate"], f"{b}.open")
        graph.node("Mul", [f"{b}.gate", f"{b}.open"], f"{b}.silu")
        graph.node("Mul", [f"{b}.silu", f"{b}.up"], f"{b}.inner")
        graph.matmul(f"{b}.inner", f"{b}.out", inner, hidden)
        graph.node("Add", [f"{a}.x", f"{b}.out"], f"{layer}.y")
        graph.rename("x", f"{layer}.y")
    graph.norm("x", "last", hidden)
    if mixing:
        graph.node("ReduceMean", ["last"], "mean", axes=[0], keepdims=1)
        graph.node("Add", ["last", "mean"], "mixed")
    graph.matmul("mixed" if mixing else "last", "logits", hidden, vocabulary)
    graph.save(folder / "model.onnx", vocabulary)
    tokenizer = _tokenizer(vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    card = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(card))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    decoder = {
        "session_options": {"log_id": "genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": size,
        "hidden_size": hidden,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            **({"position_ids": "position_ids"} if positions else {}),
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
    }
    change_config(
        folder,
        model={
            "type": "llama",
            "context_length": context,
            "vocab_size": vocabulary,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "decoder": decoder,
        },
        search={"do_sample": False, "max_length": context, "past_present_share_buffer": True, "top_k": 50},
    )
    return folder


def change_config(folder: Path, **sections: dict[str, Any]) -> None:
    """Lays ``sections`` over the folder's genai_config.json."""
    path = folder / "genai_config.json"
    tree = json.loads(path.read_text()) if path.exists() else {}
    for name, section in sections.items():
        tree[name] = tree.get(name, {}) | section
    path.write_text(json.dumps(tree))


class _Graph:
    """Nodes and weights in the making."""

    def __init__(self, random: np.random.Generator, bits: int | None) -> None:
        self._random = random
        self._bits = bits
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._names: dict[str, str] = {}

    def inputs(self, layers: int, kv_heads: int, size: int, positions: bool) -> None:
        info = helper.make_tensor_value_info
        for name, length in (("input_ids", "s"), ("attention_mask", "t"), ("position_ids", "s")):
            if positions or name != "position_ids":
                self._inputs.append(info(name, TensorProto.INT64, ["b", length]))
        for layer in range(layers):
            for kind in ("key", "value"):
                past = ["b", kv_heads, "p", size]
                self._inputs.append(info(f"past_key_values.{layer}.{kind}", TensorProto.FLOAT, past))
                self._outputs.append(info(f"present.{layer}.{kind}", TensorProto.FLOAT, ["b", kv_heads, "q", size]))

    def rename(self, name: str, target: str) -> None:
        """From here on ``name`` means ``target``."""
        self._names[name] = target

    def node(self, kind: str, inputs: list[str], outputs: str | list[str], **attributes: Any) -> None:
        self._nodes.append(
            helper.make_node(
                kind,
                [self._names.get(name, name) for name in inputs],
                [outputs] if isinstance(outputs, str) else outputs,
                name=f"node_{len(self._nodes)}",
                **attributes,
            )
        )

    def constant(self, value: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, shape: tuple[int, ...], scale: float) -> str:
        return self.constant((self._random.standard_normal(shape) * scale).astype(np.float32))

    def norm(self, source: str, target: str, size: int) -> None:
        weight = self.constant(np.ones(size, np.float32))
        self.node("SimplifiedLayerNormalization", [source, weight], target, axis=-1, epsilon=1e-5, stash_type=1)

    def matmul(self, source: str, target: str, rows: int, columns: int) -> None:
        scale = 2.0 / rows**0.5
        if self._bits is None:
            self.node("MatMul", [source, self.weight((rows, columns), scale)], target)
            return
        weights = (self._random.standard_normal((columns, rows // 32, 32)) * scale).astype(np.float32)
        scales = np.abs(weights).max(axis=2) / 127
        quantized = (np.rint(weights / scales[:, :, None]) + 128).astype(np.uint8)
        self.node(
            "MatMulNBits",
            [source, self.constant(quantized), self.constant(scales.ravel())],
            target,
            domain="com.microsoft",
            K=rows,
            N=columns,
            bits=8,
            block_size=32,
            accuracy_level=4,
        )

    def save(self, path: Path, vocabulary: int) -> None:
        self._outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "s", vocabulary]))
        made = helper.make_graph(self._nodes, "llama", self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), str(path))


def _tokenizer(vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[AddedToken(marker, special=True) for marker in MARKERS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer
