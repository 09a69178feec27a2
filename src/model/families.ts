/** The table of architecture families: the one place that a new family is added to. */
import { gpt2 } from "./families/gpt2.ts";
import { llama } from "./families/llama.ts";
import type { Family } from "./family.ts";
import type { Settings } from "./settings.ts";

const FAMILIES: readonly Family[] = [llama, gpt2];

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
