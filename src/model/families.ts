/** The table of architecture families: the one place that a new family is added to. */
import { gemma } from "./families/gemma.ts";
import { gemma2 } from "./families/gemma2.ts";
import { gemma3 } from "./families/gemma3.ts";
import { gpt2 } from "./families/gpt2.ts";
import { llama } from "./families/llama.ts";
import { mistral } from "./families/mistral.ts";
import { phi3 } from "./families/phi3.ts";
import { qwen2 } from "./families/qwen2.ts";
import { qwen3 } from "./families/qwen3.ts";
import { starcoder2 } from "./families/starcoder2.ts";
import type { Family } from "./family.ts";
import type { Settings } from "./settings.ts";

const FAMILIES: readonly Family[] = [llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3, phi3, starcoder2, gpt2];

/**
 * The family that builds this model.
 * @throws {ModelError} listing the known families when it is none of them, or when the weights are quantised.
 */
export function findFamily(config: Settings): Family {
  const modelType = config.choice(
    "model_type",
    FAMILIES.map((family) => family.modelType),
  );
  const family = FAMILIES.find((candidate) => candidate.modelType === modelType)!;
  const architectures = config.strings("architectures");
  if (architectures.length > 0 && !architectures.includes(family.architecture)) {
    config.refuse("architectures", `model type "${modelType}" is built as ${family.architecture}.`);
  }
  if (config.has("quantization_config")) {
    config.refuse("quantization_config", "convert the checkpoint to F32, F16 or BF16.");
  }
  return family;
}
