/**
 * The cores of this host that this process may use, and how --bind-to core deals them out. A core is a list of
 * processors as the kernel numbers them: one, or more where the core runs several hardware threads.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

export type Core = readonly number[];

/** The cores this process may run on, from the kernel (Linux); elsewhere one per available processor. */
export function listCores(): readonly Core[] {
  const allowed = allowedProcessors();
  const cores = new Map<string, number[]>();
  for (const processor of allowed) {
    const siblings = readText(`/sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`);
    const core = siblings?.trim() || String(processor);
    cores.set(core, [...(cores.get(core) ?? []), processor]);
  }
  return [...cores.values()];
}

/**
 * The cores of one rank: its equal share of the host's cores, neighbours together, at least one.
 * Unlike mpirun, which binds to a single core, because a rank of ours computes with several threads.
 */
export function shareOfCores(cores: readonly Core[], localRank: number, localWorldSize: number): readonly Core[] {
  const first = Math.floor((localRank * cores.length) / localWorldSize);
  const end = Math.floor(((localRank + 1) * cores.length) / localWorldSize);
  return cores.slice(first, Math.max(end, first + 1));
}

/** mpirun's picture of a binding: "core 1: [./B]", one letter per core of the host. */
export function drawBinding(cores: readonly Core[], bound: readonly Core[]): string {
  const indices = bound.map((core) => cores.indexOf(core));
  const letters = cores.map((core) => (bound.includes(core) ? "B" : ".")).join("/");
  return `core ${indices.join(", core ")}: [${letters}]`;
}

function allowedProcessors(): readonly number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readText("/proc/self/status") ?? "")?.[1];
  if (list === undefined) return Array.from({ length: availableParallelism() }, (_, processor) => processor);
  return list.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
