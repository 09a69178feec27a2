/**
 * Which stored tensor is the input embedding, and which the output head. With tied embeddings a checkpoint may store
 * the one table under either name, or under both.
 */
import type { Checkpoint } from "./checkpoint.ts";
import type { WeightSource } from "./graph.ts";
import type { Settings } from "./settings.ts";

/** The name of the head's weight, stored or not. */
export const HEAD_NAME = "lm_head.weight";

/** A matrix [V, D] as it is stored. */
export interface Table {
  readonly shape: readonly [number, number];
  readonly source: WeightSource;
}

/** The tables of the two ends of a model. */
export interface Embeddings {
  readonly table: Table;
  readonly head: Table;
}

/**
 * Finds the two tables. One that is missing is taken from the other, unless config.json says that they differ.
 * @param tableName the name under which the family stores the input embedding
 * @param shape [V, D]
 * @param tiedByDefault what the family's config means when it does not say tie_word_embeddings
 * @throws {ModelError} when a table is missing that cannot be taken from the other.
 */
export function findEmbeddings(
  checkpoint: Checkpoint,
  config: Settings,
  tableName: string,
  shape: readonly [number, number],
  tiedByDefault: boolean,
): Embeddings {
  const tied = config.boolean("tie_word_embeddings", tiedByDefault);
  const mayShare = tied || !config.has("tie_word_embeddings");
  if (mayShare && checkpoint.has(HEAD_NAME) && !checkpoint.has(tableName)) {
    const head = { shape, source: checkpoint.tensor(HEAD_NAME, shape) };
    return { table: head, head };
  }
  const table = { shape, source: checkpoint.tensor(tableName, shape) };
  if (mayShare && !checkpoint.has(HEAD_NAME)) return { table, head: table };
  const head = { shape, source: checkpoint.tensor(HEAD_NAME, shape) };
  return { table, head: tied ? table : head };
}
