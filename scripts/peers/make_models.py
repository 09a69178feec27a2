"""Writes a Llama checkpoint of a given shape, with random weights, in the formats of the peers that compare-peers.mjs times.

    python3 make_models.py config.json DIRECTORY     writes DIRECTORY/q4_0.gguf, q8_0.gguf and ctranslate2-int8/

Needs the packages gguf, numpy and ctranslate2.
"""

import json
import sys
from pathlib import Path

import ctranslate2
import gguf
import numpy as np

STANDARD_DEVIATION = 0.02
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>"]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]  # llama.cpp looks for the newline among them
NUM_FIRST_TOKENS = len(SPECIAL_TOKENS) + len(BYTE_TOKENS)


class Shape:
    """The sizes of config.json."""

    def __init__(self, config):
        self.layers = config["num_hidden_layers"]
        self.hidden = config["hidden_size"]
        self.ffn = config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.head_dim = self.hidden // self.heads
        self.vocab = config["vocab_size"]
        self.context = config["max_position_embeddings"]


def random(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32) * STANDARD_DEVIATION


def layer_matrices(shape, rng):
    """Name -> [out, in], drawn when asked for, so that one layer is held at a time."""
    d, f, kv = shape.hidden, shape.ffn, shape.kv_heads * shape.head_dim
    sizes = {"q": (d, d), "k": (kv, d), "v": (kv, d), "o": (d, d), "gate": (f, d), "up": (f, d), "down": (d, f)}
    return {name: random(rng, *size) for name, size in sizes.items()}


def write_gguf(path, shape, kind):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocab)
    writer.add_tokenizer_model("llama")
    tokens = SPECIAL_TOKENS + BYTE_TOKENS + [f"t{i}" for i in range(NUM_FIRST_TOKENS, shape.vocab)]
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * shape.vocab)
    kinds = gguf.TokenType
    first_kinds = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * len(BYTE_TOKENS)
    writer.add_token_types(first_kinds + [kinds.NORMAL] * (shape.vocab - NUM_FIRST_TOKENS))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name, values):
        quantised = gguf.quants.quantize(values, kind)
        writer.add_tensor(name, quantised, raw_dtype=kind)

    rng = np.random.default_rng(0)
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    ones = np.ones(shape.hidden, dtype=np.float32)
    matrix("token_embd.weight", random(rng, shape.vocab, shape.hidden))
    for layer in range(shape.layers):
        for name, values in layer_matrices(shape, rng).items():
            matrix(f"blk.{layer}.{names[name]}.weight", values)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    writer.add_tensor("output_norm.weight", ones)
    matrix("output.weight", random(rng, shape.vocab, shape.hidden))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_ctranslate2(directory, shape):
    spec = ctranslate2.specs.TransformerDecoderModelSpec.from_config(
        shape.layers,
        shape.heads,
        activation=ctranslate2.specs.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        num_heads_kv=shape.kv_heads,
    )
    rng = np.random.default_rng(0)
    ones = np.ones(shape.hidden, dtype=np.float32)
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = random(rng, shape.vocab, shape.hidden)
    for layer in decoder.layer:
        m = layer_matrices(shape, rng)
        attention, ffn = layer.self_attention, layer.ffn
        attention.linear[0].weight = np.concatenate([m["q"], m["k"], m["v"]])
        attention.linear[1].weight = m["o"]
        ffn.linear_0.weight, ffn.linear_0_noact.weight, ffn.linear_1.weight = m["gate"], m["up"], m["down"]
        attention.layer_norm.gamma = ones
        ffn.layer_norm.gamma = ones
    decoder.layer_norm.gamma = ones
    decoder.projection.weight = random(rng, shape.vocab, shape.hidden)
    spec.register_vocabulary(SPECIAL_TOKENS + [f"t{i}" for i in range(len(SPECIAL_TOKENS), shape.vocab)])
    spec.config.layer_norm_epsilon = 1e-5
    spec.validate()
    spec.optimize(quantization="int8")
    directory.mkdir(parents=True, exist_ok=True)
    spec.save(str(directory))


def main():
    shape = Shape(json.loads(Path(sys.argv[1]).read_text()))
    directory = Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    write_gguf(directory / "q4_0.gguf", shape, gguf.GGMLQuantizationType.Q4_0)
    write_gguf(directory / "q8_0.gguf", shape, gguf.GGMLQuantizationType.Q8_0)
    write_ctranslate2(directory / "ctranslate2-int8", shape)


if __name__ == "__main__":
    main()
