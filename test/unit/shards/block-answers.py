"""Writes block-answers.json: random blocks of every type and what the gguf package makes of them. Needs: pip install gguf."""
import base64
import json
import pathlib

import gguf
import numpy as np

TYPES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
NUM_BLOCKS = 3

random = np.random.default_rng(5)
answers = {}
for name, scale_offsets in TYPES.items():
    kind = gguf.GGMLQuantizationType[name]
    elements, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (NUM_BLOCKS, num_bytes), dtype=np.uint8)
    for offset in scale_offsets:  # any bytes but those of infinities and NaN
        scales = random.normal(0, 0.05, NUM_BLOCKS).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(NUM_BLOCKS, 2)
    values = gguf.quants.dequantize(blocks, kind).astype("<f4")
    assert values.shape == (NUM_BLOCKS, elements)
    answers[name] = {"blocks": base64.b64encode(blocks.tobytes()).decode(), "float32": base64.b64encode(values.tobytes()).decode()}
about = f"Random blocks and their float32 values (both base64), by gguf {__import__('importlib.metadata').metadata.version('gguf')}: see block-answers.py"
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({"about": about, "answers": answers}, indent=2) + "\n")
