/** The rows of THE TABLE, one by one: how values and weights lie, where a collective goes, and what stays whole and why. */
import { describe, expect, test } from "@jest/globals";
import { partition } from "../../../src/partition/partition.ts";
import type { Plan } from "../../../src/partition/plan.ts";
import { TABLE } from "../../../src/partition/table.ts";
import { GraphSketch, PLAIN } from "../../support/graph-sketch.ts";
import { OPERATORS } from "../../support/operators.ts";
import { collectivesOf, D, F, lies, planOf, sandwich, weightsOf } from "../../support/plan-sketch.ts";
import { QUANTIZED_OPERATORS } from "../../support/quantized-operators.ts";

describe("product", () => {
  test.each([
    { op: "MatMul", transB: false, column: "Shard(1)", row: "Shard(0)" },
    { op: "Gemm", transB: false, column: "Shard(1)", row: "Shard(0)" },
    { op: "Gemm", transB: true, column: "Shard(0)", row: "Shard(1)" },
    { op: "FusedMatMul", transB: true, column: "Shard(0)", row: "Shard(1)" },
  ] as const)("$op transB=$transB: columnParallel $column, rowParallel $row", ({ op, transB, column, row }) => {
    const sketch = new GraphSketch();
    const up = sketch.product(sketch.embed(7, D), D, F, { op, transB, bias: false }, "up");
    const down = sketch.product(sketch.node("Relu", [up]), F, D, { op, transB, bias: false }, "down");
    sketch.output(down, ["B", "S", D]);
    const plan = planOf(sketch);
    expect(weightsOf(plan).slice(1)).toEqual([`up ${column} columnParallel`, `down ${row} rowParallel`]);
    expect([lies(plan, "up"), lies(plan, "down")]).toEqual(["Shard(2)", "Partial"]);
    expect(collectivesOf(plan)).toEqual(["allReduce down"]);
  });

  test.each(["MatMul", "FusedMatMul", "Gemm"] as const)("%s: a column bias is cut, a row bias is added once", (op) => {
    const sketch = new GraphSketch();
    const up = sketch.product(sketch.embed(7, D), D, F, { op, transB: true, bias: true }, "up");
    sketch.output(sketch.product(up, F, D, { op, transB: true, bias: true }, "down"), ["B", "S", D]);
    const biases = weightsOf(planOf(sketch)).filter((line) => /^(up|down)/.test(line) && !line.includes("rowParallel"));
    expect(biases.map((line) => line.replace("/bias", "")).at(-1)).toBe("down Replicate added once, to a whole value");
    expect(biases.join()).toContain("Shard(0) columnParallel");
  });

  test("with nothing that closes the cut it is not cut", () => {
    const sketch = new GraphSketch();
    sketch.output(sketch.product(sketch.embed(7, D), D, F, PLAIN, "only"), ["B", "S", F]);
    const plan = planOf(sketch);
    expect(weightsOf(plan)[1]).toBe('only Replicate graph output "only" is whole on every rank');
    expect(plan.collectives).toEqual([]);
  });

  test("two row-parallel products that are added share one allReduce", () => {
    const sketch = new GraphSketch();
    const x = sketch.embed(7, D);
    const branches = ["left", "right"].map((name) => {
      return sketch.product(sketch.product(x, D, F, PLAIN), F, D, PLAIN, name);
    });
    const sum = sketch.node("Add", branches, {}, "sum");
    sketch.output(sketch.node("Add", [sum, x], {}, "residual"), ["B", "S", D]);
    const plan = planOf(sketch);
    expect(lies(plan, "sum")).toBe("Partial");
    expect(collectivesOf(plan)).toEqual(["allReduce sum"]);
  });

  test("a transposed first factor is refused", () => {
    const turned = sandwich((sketch, x) => sketch.node("FusedMatMul", [x, sketch.weight([3, F])], { transA: 1 }));
    const plan = partition(turned.build(), { worldSize: 2 });
    expect(weightsOf(plan).at(-1)).toMatch(/^down Replicate/);
    expect(weightsOf(plan)[1]).toMatch(/^up Replicate node ".*" \(FusedMatMul\): its axes are turned$/);
  });

  test("a scaled bias is refused", () => {
    const sketch = new GraphSketch();
    const w = sketch.weight([D, F]);
    const x = sketch.embed(7, D);
    sketch.nodes.push({
      name: "up",
      opType: "Gemm",
      domain: "",
      inputs: [x, w, sketch.weight([F])],
      outputs: ["up"],
      attributes: { beta: { kind: "float", value: 0.5 } },
    });
    sketch.output(sketch.product("up", F, D), ["B", "S", D]);
    expect(weightsOf(planOf(sketch))[1]).toBe("up Replicate its bias is scaled");
  });
});

describe("elementwise", () => {
  test.each(["Relu", "Gelu", "FastGelu", "QuickGelu", "Sigmoid", "Tanh", "Erf", "Neg", "Identity", "Cast"])(
    "%s carries a cut",
    (op) => {
      const plan = planOf(sandwich((sketch, x) => sketch.node(op, [x], {}, "between")));
      expect(lies(plan, "between")).toBe("Shard(2)");
      expect(collectivesOf(plan)).toEqual(["allReduce down"]);
    },
  );

  test.each(["Add", "Sub", "Mul", "Div", "BiasGelu"])("%s: a weight along the cut axis is cut alike", (op) => {
    const plan = planOf(sandwich((sketch, x) => sketch.node(op, [x, sketch.weight([F])], {}, "between")));
    expect(weightsOf(plan)).toContain("between Shard(0) columnParallel");
  });

  test("a weight of size 1 stays whole", () => {
    const plan = planOf(sandwich((sketch, x) => sketch.node("Mul", [x, sketch.weight([1])], {}, "between")));
    expect(lies(plan, "between")).toBe("Shard(2)");
    expect(plan.weights.find(({ node }) => node === "between")?.sharding.kind).toBe("Replicate");
  });

  test("a whole value beside a cut one is refused", () => {
    const plan = planOf(
      sandwich((sketch, x) => {
        const whole = sketch.embed(7, F);
        return sketch.node("Mul", [x, whole], {}, "between");
      }),
    );
    expect(weightsOf(plan)[1]).toBe('up Replicate node "between" (Mul): its inputs are not cut alike');
  });

  test("two values cut along different axes are refused", () => {
    const plan = planOf(
      sandwich((sketch, x) => {
        const square = sketch.node("Reshape", [x, sketch.integers([0, 0, 2, 6])]);
        const half = sketch.node("Slice", [square, ...[0, 2, 3].map((bound) => sketch.integers([bound]))]);
        const sum = sketch.node("Add", [half, sketch.node("Transpose", [half], { perm: [0, 1, 3, 2] })], {}, "between");
        return sketch.node("Reshape", [sum, sketch.integers([0, 0, 4])]);
      }, 4),
    );
    expect(weightsOf(plan)[1]).toBe('up Replicate node "between" (Add): its inputs are not cut alike');
  });

  test("what is not linear needs the allReduce first", () => {
    const plan = planOf(sandwich((sketch, x) => sketch.node("Relu", [x])));
    expect([lies(plan, "down"), lies(plan, "last")]).toEqual(["Partial", "Replicate"]);
  });
});

describe("normalization", () => {
  test.each(["LayerNormalization", "SimplifiedLayerNormalization"] as const)("%s of a cut axis is refused", (op) => {
    const plan = planOf(sandwich((sketch, x) => sketch.norm(x, F, op)));
    expect(weightsOf(plan)[1]).toMatch(/^up Replicate node ".*" \(.*LayerNormalization\): .* needs the whole axis 2$/);
  });

  test("Softmax of the cut axis makes it whole; of a later axis it carries the cut", () => {
    const refused = planOf(sandwich((sketch, x) => sketch.node("Softmax", [x], { axis: -1 }, "between")));
    expect(weightsOf(refused)[1]).toBe('up Replicate node "between" (Softmax): Softmax needs the whole axis 2');

    const carried = planOf(
      sandwich((sketch, x) => {
        const heads = sketch.node("Reshape", [x, sketch.integers([0, 0, 3, 4])]);
        return sketch.node("Reshape", [sketch.node("Softmax", [heads], { axis: -1 }), sketch.integers([0, 0, 12])]);
      }),
    );
    expect(collectivesOf(carried)).toEqual(["allReduce down"]);
  });

  test("a norm of a sum needs the sum", () => {
    const sketch = sandwich((_, x) => x);
    sketch.nodeWith(
      "SkipSimplifiedLayerNormalization",
      ["down", "gather_1", sketch.weight([D])],
      ["norm", "", "", "s"],
    );
    sketch.output("s", ["B", "S", D]);
    expect(collectivesOf(planOf(sketch))).toEqual(["allReduce down"]);
  });
});

describe("movement", () => {
  test("Split along the cut axis: gate and up in one product", () => {
    const sketch = new GraphSketch();
    const both = sketch.product(sketch.embed(7, D), D, 2 * F, PLAIN, "gate_up");
    sketch.nodeWith("Split", [both], ["gate", "up"], { axis: -1, num_outputs: 2 });
    const gated = sketch.node("Mul", [sketch.node("Relu", ["gate"]), "up"]);
    sketch.output(sketch.product(gated, F, D, PLAIN, "down"), ["B", "S", D]);
    const plan = planOf(sketch, 5);
    const { sharding } = plan.weights[1]!;
    expect(sharding).toMatchObject({ kind: "Shard", axis: 0 });
    expect(sharding.kind === "Shard" && sharding.runs[4]).toEqual([
      { begin: 10, end: 12 },
      { begin: 22, end: 24 },
    ]);
    expect(plan.nodes[2]?.constants[1]).toEqual([
      [3, 3],
      [3, 3],
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
  });

  test("Reshape, Transpose, Slice and Gather of other axes carry the cut", () => {
    const plan = planOf(
      sandwich((sketch, x) => {
        const heads = sketch.node("Reshape", [x, sketch.integers([0, 0, 3, 4])], {}, "heads");
        const turned = sketch.node("Transpose", [heads], { perm: [0, 2, 1, 3] }, "turned");
        const cut = [0, 2].map((bound) => sketch.integers([bound]));
        const sliced = sketch.node("Slice", [turned, ...cut, sketch.integers([3])], {}, "sliced");
        const back = sketch.node("Transpose", [sliced], { perm: [0, 2, 1, 3] });
        return sketch.node("Reshape", [back, sketch.integers([0, 0, -1])]);
      }, 6),
    );
    expect(["heads", "turned", "sliced"].map((name) => lies(plan, name))).toEqual(["Shard(2)", "Shard(1)", "Shard(1)"]);
    expect(collectivesOf(plan)).toEqual(["allReduce down"]);
  });

  test("Transpose sends the cut axis where the permutation says", () => {
    const plan = planOf(
      sandwich((sketch, x) => {
        const heads = sketch.node("Reshape", [x, sketch.integers([0, 0, 3, 4])]);
        const turned = sketch.node("Transpose", [heads], { perm: [0, 3, 1, 2] }, "turned"); // [B, 4, S, 3]
        const back = sketch.node("Transpose", [turned], { perm: [0, 2, 3, 1] });
        return sketch.node("Reshape", [back, sketch.integers([0, 0, 12])]);
      }),
    );
    expect(lies(plan, "turned")).toBe("Shard(3)");
  });

  test("Gather of a single position takes its axis away", () => {
    const plan = planOf(
      sandwich((sketch, x) => sketch.node("Gather", [x, sketch.integers([0], [])], { axis: 1 }, "first")),
    );
    expect(lies(plan, "first")).toBe("Shard(1)");
  });

  test.each<[string, string, (sketch: GraphSketch, x: string) => string]>([
    [
      "Gather of the cut axis",
      "(Gather): indices reach over the whole axis 2",
      (sketch, x) => sketch.node("Gather", [x, sketch.integers([5, 0])], { axis: 2 }),
    ],
    [
      "Slice of the cut axis",
      "(Slice): a stretch of the cut axis 2 is taken",
      (sketch, x) => sketch.node("Slice", [x, ...[1, 3, 2].map((bound) => sketch.integers([bound]))]),
    ],
    [
      "Reshape that mixes the cut axis with positions",
      "(Reshape): the new shape is not known",
      (sketch, x) => {
        const mixed = sketch.node("Reshape", [x, sketch.integers([0, -1, 6])]);
        const apart = sketch.node("Reshape", [mixed, sketch.integers([0, -1, 12])]);
        return sketch.node("Slice", [apart, ...[0, 2, 2].map((bound) => sketch.integers([bound]))]);
      },
    ],
    [
      "Reshape that mixes the cut axis with the one before",
      "(Reshape): axis 3 cannot be followed through the new shape",
      (sketch, x) => {
        const heads = sketch.node("Reshape", [x, sketch.integers([0, 0, 3, 4])]);
        const turned = sketch.node("Transpose", [heads], { perm: [0, 1, 3, 2] }); // [B, S, 4, 3]
        const mixed = sketch.node("Reshape", [turned, sketch.integers([0, 0, 2, 6])]);
        const half = sketch.node("Slice", [mixed, ...[0, 1, 2].map((bound) => sketch.integers([bound]))]);
        const part = sketch.node("Slice", [half, ...[0, 2, 3].map((bound) => sketch.integers([bound]))]);
        return sketch.node("Reshape", [part, sketch.integers([0, 0, 2])]);
      },
    ],
    [
      "Reshape that puts an axis of 1 before the cut one",
      "(Reshape): axis 2 cannot be followed through the new shape",
      (sketch, x) => {
        const wide = sketch.node("Reshape", [x, sketch.integers([0, 0, 1, 12])]);
        const cut = [0, 2, 3].map((bound) => sketch.integers([bound]));
        return sketch.node("Reshape", [sketch.node("Slice", [wide, ...cut]), sketch.integers([0, 0, 2])]);
      },
    ],
    [
      "a product over positions",
      "(MatMul): a product of two activations is cut along its batch axes only",
      (sketch, x) => {
        const turned = sketch.node("Transpose", [x], { perm: [0, 2, 1] }); // [B, F, S]
        const mixed = sketch.node("MatMul", [turned, sketch.embed(7, 2)]); // [B, F, 2]
        return sketch.node("Slice", [mixed, ...[0, 2, 1].map((bound) => sketch.integers([bound]))]);
      },
    ],
  ])("%s is refused", (_, reason, between) => {
    expect(weightsOf(planOf(sandwich(between, 2)))[1]).toContain(`up Replicate node`);
    expect(weightsOf(planOf(sandwich(between, 2)))[1]).toContain(reason);
  });

  test("a Partial is moved before it is added up", () => {
    const sketch = sandwich((_, x) => x);
    sketch.output(sketch.node("Gather", ["down", "logits_positions"], { axis: 1 }, "wanted"), ["B", "M", D]);
    sketch.outputs.shift();
    sketch.nodes.splice(-2, 1);
    const plan = planOf(sketch);
    expect(collectivesOf(plan)).toEqual(["allReduce wanted"]);
  });

  test("a gathered packed axis is put back in order", () => {
    const sketch = new GraphSketch();
    const both = sketch.product(sketch.embed(7, D), D, 2 * F, PLAIN, "gate_up");
    sketch.nodeWith("Split", [both], ["gate", "up"], { axis: 2, num_outputs: 2 });
    sketch.output(sketch.product(sketch.node("Mul", ["gate", "up"]), F, D), ["B", "S", D]);
    sketch.output(both, ["B", "S", 2 * F]);
    expect(collectivesOf(planOf(sketch, 3))).toContain("allGather gate_up");
  });

  test("the table of an embedding is replicated", () => {
    expect(weightsOf(planOf(sandwich((_, x) => x)))[0]).toBe("gather_1 Replicate every rank looks up rows of it");
  });
});

describe("head", () => {
  test("is vocabularyParallel, its logits are gathered outside the graph", () => {
    const sketch = new GraphSketch();
    sketch.head(sketch.embed(7, D), D, 3);
    const plan = planOf(sketch, 4);
    expect(weightsOf(plan)[1]).toBe("logits Shard(0) vocabularyParallel");
    expect(plan.weights[1]?.rankBytes).toEqual([32, 32, 32, 0]);
    expect(collectivesOf(plan)).toEqual(["allGather logits outside"]);
  });

  test("logits made of packed parts are gathered inside the graph, in order", () => {
    const sketch = new GraphSketch();
    const both = sketch.product(sketch.embed(7, D), D, 6);
    sketch.nodeWith("Split", [both, sketch.integers([2, 4])], ["first", "second"], { axis: 2 });
    sketch.node("Concat", ["first", "second"], { axis: 2 }, "joined");
    sketch.output(sketch.product("joined", 6, D), ["B", "S", D]);
    sketch.node("Identity", ["joined"], {}, "logits");
    sketch.output("logits", ["B", "S", 6]);
    expect(collectivesOf(planOf(sketch))).toContain("allGather logits");
  });

  test("tied to the embedding it is a second weight of the rank", () => {
    const sketch = new GraphSketch();
    const table = sketch.weight([7, D], "table");
    sketch.node("FusedMatMul", [sketch.embed(7, D, table), table], { transB: 1 }, "logits");
    sketch.output("logits", ["B", "S", 7]);
    const plan = planOf(sketch);
    expect(plan.weights.map(({ weight, localName, sharding }) => [weight, localName, sharding.kind])).toEqual([
      ["table", "table", "Replicate"],
      ["table", "table/2", "Shard"],
    ]);
  });
});

describe("attention", () => {
  const heads = { headDim: 4, packed: true, bias: false, rotary: false };

  test("key/value heads that several ranks hold are never added up", () => {
    const sketch = new GraphSketch();
    const x = sketch.embed(7, D);
    const attended = sketch.attention(x, D, 0, { ...heads, numHeads: 3, numKeyValueHeads: 1, packed: false });
    const key = sketch.nodes.find(({ name }) => name === attended)!.inputs[1]!;
    const sum = sketch.node("Add", [sketch.product(attended, 12, D), sketch.product(key, 4, D)]);
    sketch.output(sum, ["B", "S", D]);
    expect(weightsOf(planOf(sketch))).toContain(
      `${key} Replicate a product would add up key/value heads that several ranks hold`,
    );
  });

  test("key/value heads that several ranks hold are never gathered; those of one rank each are", () => {
    const planWith = (numKeyValueHeads: number): Plan => {
      const sketch = new GraphSketch();
      const x = sketch.embed(7, D);
      const attended = sketch.attention(x, D, 0, { ...heads, numHeads: 3, numKeyValueHeads, packed: false });
      const key = sketch.nodes.find(({ name }) => name === attended)!.inputs[1]!;
      sketch.output(sketch.product(attended, 12, D, PLAIN, "o_proj"), ["B", "S", D]);
      sketch.output(sketch.node("Identity", [key], {}, "key"), ["B", "S", 4 * numKeyValueHeads]);
      return planOf(sketch, 4);
    };
    expect(collectivesOf(planWith(1))).toEqual([]);
    expect(collectivesOf(planWith(3))).toEqual(["allReduce o_proj", "allGather key"]);
  });

  test("a cache that another node reads whole is not cut", () => {
    const sketch = new GraphSketch();
    const attended = sketch.attention(sketch.embed(7, D), D, 0, { ...heads, numHeads: 2, numKeyValueHeads: 2 });
    sketch.output(sketch.product(attended, 8, D), ["B", "S", D]);
    sketch.output(sketch.node("Abs", ["past_key_values.0.key"], {}, "seen"), ["B", 2, 6, 4]);
    const plan = planOf(sketch);
    expect(weightsOf(plan)[1]).toMatch(/^fusedmatmul_3 Replicate node "seen" \(Abs\): Abs has no rule$/);
    expect(plan.collectives).toEqual([]);
  });

  test("MultiHeadAttention and RotaryEmbedding are cut by heads", () => {
    const sketch = new GraphSketch();
    sketch.inputs.push({ name: "position_ids", dataType: "int64", shape: ["B", "S"] });
    const x = sketch.embed(7, D);
    const [q, k, v] = [0, 1, 2].map(() => sketch.product(x, D, 12));
    const tables = [sketch.weight([6, 2]), sketch.weight([6, 2])];
    const turned = [q!, k!].map((name) =>
      sketch.node("RotaryEmbedding", [name, "position_ids", ...tables], { num_heads: 3 }),
    );
    const inputs = [...turned, v!, sketch.weight([36])];
    const attended = sketch.node("MultiHeadAttention", inputs, { num_heads: 3 }, "attended");
    sketch.output(sketch.product(attended, 12, D), ["B", "S", D]);
    const plan = partition(sketch.build(), { worldSize: 2 });
    expect(lies(plan, "attended")).toBe("Shard(2)");
    expect(plan.nodes.at(-2)?.attributes).toEqual({ num_heads: [2, 1] });
    expect(collectivesOf(plan)).toHaveLength(1);
  });
});

test("an op without a rule reads everything whole", () => {
  const plan = planOf(sandwich((sketch, x) => sketch.node("Abs", [x], {}, "between")));
  expect(weightsOf(plan)[1]).toBe('up Replicate node "between" (Abs): Abs has no rule');
});

test("the interpreter knows every op of the table but those no sketch uses", () => {
  expect(
    Object.keys(TABLE).filter((op) => OPERATORS[op] === undefined && QUANTIZED_OPERATORS[op] === undefined),
  ).toEqual(["Clip", "Exp", "Where"]);
});
