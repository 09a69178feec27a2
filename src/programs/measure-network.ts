/**
 * What messages take between the ranks of a prediction: as --link describes them, or as the ranks that were started find them.
 */
import { shareWorld } from "../api/world.ts";
import { native } from "../collective/native.ts";
import { describedLink, listExchanges, type AlgorithmLimits, type MessageTimes } from "../partition/collective-cost.ts";
import type { Plan } from "../partition/plan.ts";
import { countTokenBytes, phaseSeconds, type Network, type Placement } from "../partition/predict.ts";
import { measureSize } from "./bench-collectives.ts";
import { readLink } from "./link-option.ts";

const SMALL_MESSAGE_BYTES = 4;
const LARGE_MESSAGE_BYTES = 1 << 20;
/** No message takes less. */
const LEAST_SECONDS = 1e-6;
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

  private constructor(secondsPerByte: number) {
    this.#secondsPerByte = secondsPerByte;
  }

  static async begin(): Promise<NetworkProbe> {
    const { engine } = shareWorld()!;
    const small = await measureSize(engine, SMALL_MESSAGE_BYTES);
    const large = await measureSize(engine, LARGE_MESSAGE_BYTES);
    const nanoseconds = Math.max(large.halfRoundTripNanoseconds - small.halfRoundTripNanoseconds, 1);
    return new NetworkProbe(nanoseconds / 1e9 / LARGE_MESSAGE_BYTES);
  }

  /**
   * Between the first ranks of this world, as many as the plan is for; the others wait.
   * @param workSeconds what each rank computes between two collectives
   */
  async measure(plan: Plan, placement: Placement, workSeconds: number): Promise<FoundNetwork> {
    const { engine } = shareWorld()!;
    const limits = algorithmLimits();
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
        runs.push(allReduceNanoseconds / 1e9 - phaseSeconds(placement, workSeconds));
      }
      const exchanges = listExchanges({ kind: "allReduce", bytes }, placement.hosts, limits);
      messages.push({
        bytes: Math.max(...exchanges.map((exchange) => exchange.bytes)),
        seconds: Math.max(runs.toSorted((a, b) => a - b)[NUM_RUNS >> 1]!, LEAST_SECONDS) / exchanges.length,
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
