/**
 * The cores of this host that this process may use, and its NUMA domains. A core is a list of processors as the kernel numbers
 * them: one, or more where the core runs several hardware threads.
 */
import { readdirSync, readFileSync } from "node:fs";
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
 * The same cores by NUMA domain, in the order of the kernel's numbers: each is near to a part of the host's memory. All in one
 * domain where the kernel does not tell.
 * @param directory the kernel's, for tests
 */
export function listNumaDomains(
  cores: readonly Core[],
  directory = "/sys/devices/system/node",
): readonly (readonly Core[])[] {
  const numbers = listDirectory(directory)
    .flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const domains = numbers
    .map((number) => new Set(parseProcessorList(readText(`${directory}/node${number}/cpulist`)?.trim() ?? "")))
    .map((processors) => cores.filter(([first]) => processors.has(first!)))
    .filter((domain) => domain.length > 0);
  return domains.flat().length === cores.length ? domains : [cores];
}

function allowedProcessors(): readonly number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readText("/proc/self/status") ?? "")?.[1];
  if (list === undefined) return Array.from({ length: availableParallelism() }, (_, processor) => processor);
  return parseProcessorList(list);
}

/** "0-2,4" -> 0 1 2 4 */
function parseProcessorList(list: string): readonly number[] {
  return list.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return part === "" ? [] : Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}

function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
