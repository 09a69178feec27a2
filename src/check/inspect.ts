/**
 * Asks all hosts of a run everything that `shardrun check` wants to know of them, as much as possible at once: hosts in, one
 * report per host out. What the answers mean is said in findings.ts.
 */
import type { Variables } from "../environment.ts";
import { findCoordinatorAddress, type GreetedHost } from "../launch/coordinator-address.ts";
import type { AgentHello } from "../launch/job.ts";
import type { ReachableHost } from "../launch/targets.ts";
import { Inquiry } from "./inquiry.ts";
import type { Answer } from "./questions.ts";

/** What was learnt of a host. */
export interface HostReport {
  readonly name: string;
  /** Another host than this one. */
  readonly isRemote: boolean;
  /** Undefined: as many as cores. */
  readonly slots: number | undefined;
  /** Why nothing else is known. */
  readonly failure?: string;
  readonly known?: {
    readonly hello: AgentHello;
    readonly software: Answer<"software">;
    readonly model: Answer<"model">;
    readonly clock: ClockOffset;
    /** Where other hosts find its ranks; undefined where no other host takes part. */
    readonly route: Answer<"route"> | undefined;
    /** To each other host that can be asked, in their order. */
    readonly links: readonly Link[];
  };
}

/** A host's clock minus this host's. */
export interface ClockOffset {
  readonly offsetMs: number;
  /** The offset is known to within this: half of the round trip. */
  readonly errorMs: number;
}

/** The way from a host to a port of another. */
export interface Link {
  readonly to: string;
  readonly address: string;
  readonly answer: Answer<"reach">;
}

export interface InspectionOptions {
  readonly modelDirectory: string;
  /** --interface: where rank 0 is found. */
  readonly interface?: string;
}

const NUM_CLOCK_SAMPLES = 5;
const REACH_LIMIT_MS = 3000;

/** A host that can be asked. */
interface Present {
  readonly host: ReachableHost;
  readonly inquiry: Inquiry;
}

/** Inspects hosts; one that cannot be reached, or stops answering, holds nothing up. */
export async function inspectHosts(
  hosts: readonly ReachableHost[],
  variables: Variables,
  options: InspectionOptions,
): Promise<readonly HostReport[]> {
  const failures = new Map<string, string>();
  const opened = await Promise.all(
    hosts.map(async (host): Promise<Present | undefined> => {
      try {
        return { host, inquiry: await Inquiry.open(host, variables) };
      } catch (error) {
        failures.set(host.named.name, (error as Error).message);
        return undefined;
      }
    }),
  );
  const present = opened.filter((each) => each !== undefined);
  try {
    const network = await inspectNetwork(present, options.interface);
    const known = new Map<string, HostReport["known"]>();
    for (const [index, { host, inquiry }] of present.entries()) {
      try {
        const clock = await compareClocks(inquiry); // alone, as it is the time of an answer that counts
        const software = await inquiry.ask("software", {});
        const model = await inquiry.ask("model", { directory: options.modelDirectory });
        known.set(host.named.name, { hello: inquiry.hello, software, model, clock, ...network[index]! });
      } catch (error) {
        failures.set(host.named.name, (error as Error).message);
      }
    }
    return hosts.map(({ named: { name, slots, ssh } }) => ({
      name,
      isRemote: ssh !== undefined,
      slots,
      failure: failures.get(name),
      known: known.get(name),
    }));
  } finally {
    await Promise.all(present.map(({ inquiry }) => inquiry.close()));
  }
}

/** The offset by the quickest of several exchanges. */
async function compareClocks(inquiry: Inquiry): Promise<ClockOffset> {
  let best: ClockOffset = { offsetMs: 0, errorMs: Infinity };
  for (let sample = 0; sample < NUM_CLOCK_SAMPLES; sample++) {
    const startMs = Date.now();
    const { nowMs } = await inquiry.ask("clock", {});
    const endMs = Date.now();
    const errorMs = (endMs - startMs) / 2;
    if (errorMs < best.errorMs) best = { offsetMs: nowMs - (startMs + endMs) / 2, errorMs };
  }
  return best;
}

type Network = Pick<NonNullable<HostReport["known"]>, "route" | "links">;

/** Where each host's ranks would be found, and whether the others get there: the first host's as the coordinator, all as peers. */
async function inspectNetwork(present: readonly Present[], asked: string | undefined): Promise<readonly Network[]> {
  if (present.length < 2) return present.map(() => ({ route: undefined, links: [] }));
  const [root, ...others] = present.map(({ host: { target }, inquiry: { hello } }): GreetedHost => ({
    name: target.name,
    isRemote: target.ssh !== undefined,
    hello,
  }));
  const rootAddress = findCoordinatorAddress(root!, others, asked);
  const routes = await Promise.all(present.map(({ inquiry }) => inquiry.try("route", { to: rootAddress })));
  const doors = await Promise.all(
    present.map(async ({ inquiry }, index) => {
      const route = routes[index]!;
      const address = index === 0 ? rootAddress : "address" in route ? route.address : undefined;
      return address === undefined ? undefined : { address, answer: await inquiry.try("listen", { address }) };
    }),
  );
  return Promise.all(
    present.map(async ({ inquiry }, from) => {
      const links = present.map(async ({ host }, to): Promise<Link[]> => {
        const door = doors[to];
        if (from === to || door === undefined) return [];
        const { address, answer } = door;
        const found =
          "port" in answer
            ? await inquiry.try("reach", { address, port: answer.port, limitMs: REACH_LIMIT_MS })
            : answer;
        return [{ to: host.named.name, address, answer: found }];
      });
      return { route: routes[from], links: (await Promise.all(links)).flat() };
    }),
  );
}
