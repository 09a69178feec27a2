/**
 * The plan for people: a table with a row for each weight, layers that are alike as one row, then the totals:
 * bytes per rank, bytes on the wire per token, collectives per step, what is replicated and why.
 */
import { DATA_TYPE_BYTES, type DataType } from "../model/graph.ts";
import type { CollectivePlan, Plan, Sharding, WeightPlan } from "./plan.ts";

export interface PlanTotals {
  /** Bytes of weights on each rank. */
  readonly rankBytes: readonly number[];
  /** Collectives inside the graph, called in every step. */
  readonly numCollectives: number;
  /** Bytes that one rank hands to those collectives for each new token. */
  readonly wireBytesPerToken: number;
  /** Bytes of logits that one rank hands over for each position whose logits are wanted. */
  readonly logitsBytesPerPosition: number;
  /** Bytes that every rank holds alike, by reason. */
  readonly replicated: ReadonlyMap<string, { readonly bytes: number; readonly nodes: readonly string[] }>;
}

/** What the plan costs. Activations are float32. */
export function totalPlan(plan: Plan): PlanTotals {
  const handedOver = (collectives: readonly CollectivePlan[]): number =>
    collectives.reduce((sum, { kind, elementsPerToken }) => {
      return sum + (DATA_TYPE_BYTES.float32 * elementsPerToken) / (kind === "allGather" ? plan.worldSize : 1);
    }, 0);
  const inside = plan.collectives.filter(({ insideGraph }) => insideGraph);
  return {
    rankBytes: Array.from({ length: plan.worldSize }, (_, rank) =>
      plan.weights.reduce((sum, { rankBytes }) => sum + (rankBytes[rank] ?? 0), 0),
    ),
    numCollectives: inside.length,
    wireBytesPerToken: Math.ceil(handedOver(inside)),
    logitsBytesPerPosition: Math.ceil(handedOver(plan.collectives.filter(({ insideGraph }) => !insideGraph))),
    replicated: groupReplicated(plan.weights),
  };
}

function groupReplicated(weights: readonly WeightPlan[]): PlanTotals["replicated"] {
  const groups = new Map<string, { bytes: number; nodes: string[] }>();
  for (const { sharding, reason, rankBytes, node } of weights) {
    if (sharding.kind !== "Replicate") continue;
    const group = groups.get(reason) ?? { bytes: 0, nodes: [] };
    group.bytes += rankBytes[0] ?? 0;
    const { name } = splitLayer(node);
    if (!group.nodes.includes(name)) group.nodes.push(name);
    groups.set(reason, group);
  }
  return groups;
}

/** The table and the totals, ready to print. */
export function printPlan(plan: Plan): string {
  return [...formatRows(plan), "", ...formatTotals(totalPlan(plan), plan.worldSize)].join("\n");
}

const HEADER = ["layer", "node", "weight", "sharding", "collective", "per rank"];

function formatRows(plan: Plan): string[] {
  const collectives = new Map<string, CollectivePlan[]>();
  for (const collective of plan.collectives) {
    collectives.set(collective.node, [...(collectives.get(collective.node) ?? []), collective]);
  }
  const layersOfRow = new Map<string, number[]>();
  for (const alike of groupAlike(plan.weights)) {
    const { node } = alike[0]!;
    const { layer, name } = splitLayer(node);
    const row = rowOf(name, alike, collectives.get(node) ?? []).join("\t");
    collectives.delete(node);
    layersOfRow.set(row, [...(layersOfRow.get(row) ?? []), ...(layer === undefined ? [] : [layer])]);
  }
  for (const [node, left] of collectives) {
    layersOfRow.set([node, "-", "-", describeCollectives(left), "-"].join("\t"), []);
  }
  const rows = [...layersOfRow].map(([row, layers]) => [describeLayers(layers), ...row.split("\t")]);
  return alignColumns([HEADER, ...rows]);
}

/** The weights of one node that have one shape and lie alike (the tables of sines and cosines) share a row. */
function groupAlike(weights: readonly WeightPlan[]): WeightPlan[][] {
  const groups = new Map<string, WeightPlan[]>();
  for (const weight of weights) {
    const key = JSON.stringify([weight.node, weight.shape, weight.dataType, weight.sharding]);
    groups.set(key, [...(groups.get(key) ?? []), weight]);
  }
  return [...groups.values()];
}

function rowOf(name: string, alike: readonly WeightPlan[], collectives: readonly CollectivePlan[]): string[] {
  const { shape, sharding, role, dataType, packedBits, rankBytes } = alike[0]!;
  const times = alike.length > 1 ? `${alike.length} x ` : "";
  return [
    name,
    `${times}[${shape.join(", ")}]`,
    describeSharding(sharding, role),
    describeCollectives(collectives),
    `${describeBytesPerRank(rankBytes.map((bytes) => bytes * alike.length))} ${packedBits === undefined ? SHORT_TYPES[dataType] : `i${packedBits}`}`,
  ];
}

function formatTotals(totals: PlanTotals, worldSize: number): string[] {
  const { rankBytes, numCollectives, wireBytesPerToken, logitsBytesPerPosition, replicated } = totals;
  const groups = [...replicated].map(([reason, { bytes, nodes }]) => [
    "",
    formatBytes(bytes),
    `${nodes.join(", ")}: ${reason}`,
  ]);
  return [
    `weights per rank (P = ${worldSize}): ${rankBytes.map(formatBytes).join(", ")}`,
    `collectives: ${numCollectives} per step; each rank hands over ${formatBytes(wireBytesPerToken)} per token` +
      (logitsBytesPerPosition > 0 ? `, and ${formatBytes(logitsBytesPerPosition)} of logits per position` : ""),
    ...(groups.length > 0 ? ["the same on every rank:", ...alignColumns(groups)] : []),
  ];
}

/** "layers.3.o_proj" is o_proj of layer 3; also "/model/layers.3/attn/o_proj/MatMul". */
function splitLayer(node: string): { layer: number | undefined; name: string } {
  const match = /[./](\d+)[./](.+)$/.exec(node);
  return match === null ? { layer: undefined, name: node } : { layer: Number(match[1]), name: match[2]! };
}

/** 0, 1, 2, 5 -> "0-2, 5" */
function describeLayers(layers: readonly number[]): string {
  const stretches: [number, number][] = [];
  for (const layer of layers) {
    const last = stretches.at(-1);
    if (last !== undefined && layer <= last[1] + 1) last[1] = layer;
    else stretches.push([layer, layer]);
  }
  return stretches.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ") || "-";
}

function describeSharding(sharding: Sharding, role: string): string {
  return sharding.kind === "Shard" ? `Shard(${sharding.axis}) ${role}` : sharding.kind;
}

/** A sum of float32 is what an allReduce usually is; what it is else is said. */
function describeCollectives(collectives: readonly CollectivePlan[]): string {
  const described = collectives.map(({ kind, dataType, shape }) => {
    const what = dataType === "int32" ? `${kind} ${dataType}` : kind;
    return `${what} [${shape?.join(", ") ?? "?"}]`;
  });
  return described.join(", ") || "-";
}

const SHORT_TYPES: Readonly<Record<DataType, string>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
  int64: "i64",
  int32: "i32",
  int8: "i8",
  uint8: "u8",
  bool: "bool",
};

/** One size when all ranks have the same, else the smallest and the largest. */
function describeBytesPerRank(rankBytes: readonly number[]): string {
  const smallest = formatBytes(Math.min(...rankBytes));
  const largest = formatBytes(Math.max(...rankBytes));
  return smallest === largest ? largest : `${smallest} - ${largest}`;
}

function formatBytes(numBytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(numBytes, 1)) / 10));
  return power === 0 ? `${numBytes} B` : `${(numBytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}

/** Columns two blanks apart, each as wide as its widest cell. */
function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
