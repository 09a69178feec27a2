/**
 * What messages take between the ranks of a prediction: as --link describes them, or as the ranks that were started find them.
 */
import { shareWorld } from "../api/world.ts";
import { native } from "../collective/native.ts";
import {
  describedLink,
  listExchanges,
  messageSeconds,
  type AlgorithmLimits,
  type MessageTimes,
} from "../partition/collective-cost.ts";
import type { Plan } from "../partition/plan.ts";
import { countTokenBytes, findCompany, type Network, type Placement } from "../partition/predict.ts";
import { measureSize } from "./bench-collectives.ts";
import { readLink } from "./link-option.ts";
import type { MeasuredRanks } from "./measure-machine.ts";

const SMALL_MESSAGE_BYTES = 4;
const LARGE_MESSAGE_BYTES = 1 << 20;
/** Each message is measured so often, and the median counts: other work of a host comes in bursts. */
const NUM_RUNS = 3;
/** Between ranks that share memory, where none were started to measure it: a rank is woken, and reads what the other has written. */
const SHARED_MEMORY = describedLink(10e-6, 5e9);

export interface FoundNetwork extends Network {
  readonly transport: string;
  /** Of its two links, the one that was given or measured. */
  readonly messages: MessageTimes;
}

/** @param givenLink the value of --link */
export function describeNetwork(givenLink: string): FoundNetwork {
  const { latencySeconds, bytesPerSecond } = readLink(givenLink);
  return foundNetwork("--link", describedLink(latencySeconds, bytesPerSecond));
}

/**
 * Measures between the ranks of this world: allReduces of a step's sizes, as far apart as in a step. A rank that has computed since the last
 * message may have to be woken, one that shares its core may have to be waited for, and a network that was idle may let the first
 * bytes pass at once.
 */
export class NetworkProbe {
  readonly #secondsPerByte: number;
  /** Of a small message that the other rank waits for: an exchange between ranks that have computed takes no less. */
  readonly #leastSeconds: number;

  private constructor(secondsPerByte: number, leastSeconds: number) {
    this.#secondsPerByte = secondsPerByte;
    this.#leastSeconds = leastSeconds;
  }

  static async begin(): Promise<NetworkProbe> {
    const { engine } = shareWorld()!;
    const small = await measureSize(engine, SMALL_MESSAGE_BYTES);
    const large = await measureSize(engine, LARGE_MESSAGE_BYTES);
    const nanoseconds = Math.max(large.halfRoundTripNanoseconds - small.halfRoundTripNanoseconds, 1);
    return new NetworkProbe(nanoseconds / 1e9 / LARGE_MESSAGE_BYTES, small.halfRoundTripNanoseconds / 1e9);
  }

  /**
   * Between the first ranks of this world, as many as the plan is for; the others wait.
   * @param workSeconds what each rank computes between two collectives
   * @param here ranks of this host, in the company of each machine of the placement: what they take for the same without a
   *   network, turns on cores included, is not the network's
   */
  async measure(
    plan: Plan,
    placement: Placement,
    workSeconds: number,
    here: readonly MeasuredRanks[],
  ): Promise<FoundNetwork> {
    const { engine } = shareWorld()!;
    const limits = algorithmLimits();
    const isSpread = placement.hosts.length > 1;
    const work = { nanoseconds: Math.round(workSeconds * 1e9), numRanks: plan.worldSize };
    const elements = plan.collectives.filter(({ insideGraph }) => insideGraph).map((each) => each.elementsPerToken);
    const sizes = new Set([
      SMALL_MESSAGE_BYTES,
      ...elements.map((count) => Math.min(countTokenBytes(count), limits.oneShotBytes)),
    ]);
    const messages: { bytes: number; seconds: number }[] = [];
    let transport = "";
    for (const bytes of [...sizes].toSorted((a, b) => a - b)) {
      const runs: number[] = [];
      for (let run = 0; run < NUM_RUNS; run++) {
        const { allReduceNanoseconds, ...times } = await measureSize(engine, bytes, work);
        transport = times.transport;
        const without = isSpread ? await timeWithout(placement, here, { bytes, workSeconds }, limits) : workSeconds;
        runs.push(allReduceNanoseconds / 1e9 - without);
      }
      const exchanges = listExchanges({ kind: "allReduce", bytes }, placement.hosts, limits);
      messages.push({
        bytes: Math.max(...exchanges.map((exchange) => exchange.bytes)),
        seconds: Math.max(runs.toSorted((a, b) => a - b)[NUM_RUNS >> 1]! / exchanges.length, this.#leastSeconds),
      });
    }
    const last = messages.at(-1)!;
    messages.push({
      bytes: last.bytes + LARGE_MESSAGE_BYTES,
      seconds: last.seconds + LARGE_MESSAGE_BYTES * this.#secondsPerByte,
    });
    return foundNetwork(transport, messages);
  }
}

/** What the same calls take on one machine, without what its ranks' memory takes of that: the slowest machine counts. */
async function timeWithout(
  { machines }: Placement,
  here: readonly MeasuredRanks[],
  { bytes, workSeconds }: { readonly bytes: number; readonly workSeconds: number },
  limits: AlgorithmLimits,
): Promise<number> {
  let slowest = 0;
  for (const machine of machines) {
    const ranks = findCompany(here, machine);
    const exchanges = listExchanges({ kind: "allReduce", bytes }, [machine.ranks.length], limits);
    const memorySeconds = exchanges.reduce((sum, each) => sum + messageSeconds(SHARED_MEMORY, each.bytes), 0);
    slowest = Math.max(slowest, (await ranks.exchangeSeconds(bytes, workSeconds)) - memorySeconds);
  }
  return slowest;
}

/** "tcp: 60 us for a small message, 118 MB/s for a large one" */
export function describeMessages({ transport, messages }: FoundNetwork): string {
  const [beforeLast, last] = messages.slice(-2);
  const rate = (last!.bytes - beforeLast!.bytes) / (last!.seconds - beforeLast!.seconds);
  const microseconds = (messages[0]!.seconds * 1e6).toPrecision(3);
  return `${transport}: ${microseconds} us for a small message, ${(rate / 1e6).toPrecision(3)} MB/s for a large one`;
}

function foundNetwork(transport: string, messages: MessageTimes): FoundNetwork {
  const withinHost = transport === "shm" ? messages : SHARED_MEMORY;
  return { ...algorithmLimits(), transport, messages, links: { hosts: messages, "ranks of a host": withinHost } };
}

function algorithmLimits(): AlgorithmLimits {
  const { oneShotBytes, pairBytes } = native();
  return { oneShotBytes, pairBytes };
}
