/** The graph of a shape is the one that would be read from a checkpoint of that shape. */
import { expect, test } from "@jest/globals";
import { loadModel } from "../../../src/model/model.ts";
import { planRandomCheckpoint } from "../../../src/model/random-checkpoint.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";
import { TINY_LLAMA } from "../../support/write-checkpoint.ts";

const directory = useTemporaryDirectory();

test.each(["float32", "int8", "int4"] as const)("%s", async (computeType) => {
  const config = { ...TINY_LLAMA, hidden_size: 96, intermediate_size: 64 };
  const checkpoint = planRandomCheckpoint("test", config, { computeType });
  if (computeType === "float32") checkpoint.write(directory);
  const { graph } = await loadModel(directory, { computeType });
  expect(checkpoint.graph.nodes).toEqual(graph.nodes);
  expect([...checkpoint.graph.weights.keys()]).toEqual([...graph.weights.keys()]);
});
