/**
 * Attention: the cut learns that its units are heads.
 *
 * The units are groups (a key/value head and its query heads), and the cache is cut like them; or, where groups cannot be dealt
 * evenly, query heads, and each rank holds the key/value heads that its query heads read.
 *
 *     q|k|v [B, S, (N+2K)*H] Shard(2)   past [B, K, T, H] Shard(1)   ->   attn [B, S, N*H] Shard(2), present Shard(1)
 */
import { Cuts, packed, scaled, units, type Cut } from "../cut.ts";
import {
  REPLICATE,
  alignWith,
  carry,
  findCut,
  intAttribute,
  shard,
  whole,
  wrongGraph,
  type Flow,
  type Layout,
  type Rule,
  type Op,
} from "../rule.ts";
import { countIndices } from "../runs.ts";

interface HeadCuts {
  readonly heads: Cut;
  readonly keyValueHeads: Cut;
}

/**
 * Query heads and the key/value heads that belong to them, dealt together: whole groups where every rank gets one and the largest share
 * is no larger for it; else query heads, though a group may then lie on two ranks.
 */
function cutHeads(numHeads: number, numKeyValueHeads: number, worldSize: number): HeadCuts {
  const groupSize = numHeads / numKeyValueHeads;
  const groups = units(numKeyValueHeads);
  const heads = units(numHeads);
  const whole: HeadCuts = { heads: scaled(groups, groupSize), keyValueHeads: groups };
  const apart: HeadCuts = { heads, keyValueHeads: { kind: "keyValueHeads", of: heads, groupSize } };
  if (groupSize === 1) return whole;
  const isEven = worldSize <= numKeyValueHeads && largestShare(whole, worldSize) <= largestShare(apart, worldSize);
  return isEven ? whole : apart;
}

/** Heads that one of so many equal ranks has at most: a query head costs it rows of q and columns of o, a key/value head rows of k and v. */
function largestShare({ heads, keyValueHeads }: HeadCuts, worldSize: number): number {
  const equal = Array<number>(worldSize).fill(1);
  const [query, keyValue] = [heads, keyValueHeads].map((cut) => new Cuts().deal(cut, equal).map(countIndices));
  return Math.max(...query!.map((count, rank) => count + keyValue![rank]!));
}

/** com.microsoft GroupQueryAttention, with q|k|v packed in its first input or as three. */
export const groupQueryAttention: Rule = (op) => {
  const numHeads = intAttribute(op.node, "num_heads", 0);
  const numKeyValueHeads = intAttribute(op.node, "kv_num_heads", 0);
  if (numHeads < 1 || numKeyValueHeads < 1 || numHeads % numKeyValueHeads !== 0) {
    throw wrongGraph(
      op,
      `${numHeads} heads cannot share ${numKeyValueHeads} key/value heads evenly`,
      "num_heads must be a multiple of kv_num_heads.",
    );
  }
  if (!isQueryCut(op)) return whole(op, "its query is whole");
  const groupSize = numHeads / numKeyValueHeads;
  const { heads, keyValueHeads } = cutHeads(numHeads, numKeyValueHeads, op.worldSize);
  const isPacked = (op.inputs[1]?.name ?? "") === "";
  const headDim = headDimOf(op, isPacked ? numHeads + 2 * numKeyValueHeads : numHeads);
  const query = scaled(heads, headDim);
  const keyValue = scaled(keyValueHeads, headDim);
  return attend(op, {
    reads: [
      [0, 2, isPacked ? packed([query, keyValue, keyValue]) : query],
      [1, 2, keyValue],
      [2, 2, keyValue],
      [3, 1, keyValueHeads], // past_key   [B, K, T, H]
      [4, 1, keyValueHeads], // past_value [B, K, T, H]
      [10, 1, heads], // attention_bias [B, N, S, T]
      [11, 0, heads], // head_sink [N]
    ],
    writes: [shard(2, query), shard(1, keyValueHeads), shard(1, keyValueHeads)],
    attributes: {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      // Beyond onnxruntime's operator: of a group that lies on two ranks, each serves a part.
      group_size: { of: heads, value: () => groupSize },
      first_head: { of: heads, value: ([stretch]) => (stretch?.begin ?? 0) % groupSize },
    },
  });
};

/** com.microsoft MultiHeadAttention with query, key and value apart, [B, S, N*H] each. */
export const multiHeadAttention: Rule = (op) => {
  const numHeads = intAttribute(op.node, "num_heads", 0);
  if ((op.inputs[1]?.name ?? "") === "") return whole(op, "packed query, key and value are not cut here");
  if (!isQueryCut(op)) return whole(op, "its query is whole");
  const heads = units(numHeads);
  const features = scaled(heads, headDimOf(op, numHeads));
  return attend(op, {
    reads: [
      [0, 2, features],
      [1, 2, features],
      [2, 2, features],
      [3, 0, packed([features, features, features])], // bias [3*N*H]
      [5, 1, heads], // attention_bias [B, N, S, T]
      [6, 1, heads], // past_key   [B, N, T, H]
      [7, 1, heads], // past_value [B, N, T, H]
    ],
    writes: [shard(2, features), shard(1, heads), shard(1, heads)],
    attributes: { num_heads: heads },
  });
};

/** Rotary embedding of [B, S, N*H] or [B, N, S, H]: whole heads, each turned on its own. */
export const rotaryEmbedding: Rule = (op) => {
  const found = findCut(op);
  if (found?.index !== 0) return whole(op, "its input is whole");
  const numHeads = intAttribute(op.node, "num_heads", 0);
  const headDim = found.ndim === 4 ? 1 : numHeads > 0 ? headDimOf(op, numHeads) : rotaryDim(op);
  const numUnits = Number(op.inputs[0]?.shape?.[found.axis]) / headDim;
  if (!Number.isInteger(numUnits) || found.axis === 3) return whole(op, "heads of a known size are needed");
  const heads = units(numUnits);
  if (!op.cuts.unify(found.cut, scaled(heads, headDim))) {
    return whole(op, `the cut is not made of heads of ${headDim}`);
  }
  return { ...carry(op, op.inputs[0]!.layout), ...(numHeads > 0 && { attributes: { num_heads: heads } }) };
};

/** Without num_heads a head is as wide as the cos cache [positions, H/2] says. */
function rotaryDim(op: Op): number {
  return 2 * Number(op.inputs[2]?.shape?.[1]);
}

function isQueryCut({ inputs }: Op): boolean {
  return inputs[0]?.layout.kind === "Shard";
}

function headDimOf(op: Op, numHeads: number): number {
  const headDim = Number(op.inputs[0]?.shape?.[2]) / numHeads;
  if (Number.isInteger(headDim)) return headDim;
  throw wrongGraph(
    op,
    `its first input is not ${numHeads} heads of one size`,
    "Its last axis must be a multiple of the number of heads.",
  );
}

interface HeadFlow {
  /** [input, axis, cut]: what of an input is cut; inputs not named are whole. */
  readonly reads: readonly (readonly [number, number, Cut])[];
  readonly writes: readonly Layout[];
  readonly attributes: NonNullable<Flow["attributes"]>;
}

/** Cuts the attention by heads if every input that has heads can be read so. */
function attend(op: Op, { reads, writes, attributes }: HeadFlow): Flow {
  const layouts = op.inputs.map(() => REPLICATE);
  for (const [index, axis, cut] of reads) {
    const layout = alignWith(op, index, axis, cut);
    if (layout === undefined) return whole(op, `input ${index} is not cut by heads`);
    if (index < layouts.length) layouts[index] = layout;
  }
  return {
    reads: layouts,
    writes: writes.slice(0, op.node.outputs.length),
    reason: "the same for every head",
    attributes,
  };
}
