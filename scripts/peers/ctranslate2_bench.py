"""Times CTranslate2 on one prompt: prints {"prefill": tokens/s, "decode": tokens/s} as JSON.

    python3 ctranslate2_bench.py MODEL THREADS PROMPT_TOKENS NEW_TOKENS REPEATS
"""

import json
import statistics
import sys
import time

import ctranslate2


def main():
    model, *numbers = sys.argv[1:]
    threads, prompt_tokens, new_tokens, repeats = map(int, numbers)
    generator = ctranslate2.Generator(model, device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads)
    prompt = ["<s>"] + [f"t{3 + i % 1000}" for i in range(prompt_tokens - 1)]

    def seconds(length):
        started = time.perf_counter()
        generator.generate_batch([prompt], max_length=length, min_length=length, sampling_topk=1, include_prompt_in_result=False, end_token="t3")
        return time.perf_counter() - started

    seconds(2)
    runs = []
    for _ in range(repeats):
        first = seconds(1)
        runs.append((prompt_tokens / first, new_tokens / (seconds(new_tokens + 1) - first)))
    prefill, decode = (statistics.median(values) for values in zip(*runs))
    print(json.dumps({"prefill": prefill, "decode": decode}))


if __name__ == "__main__":
    main()
