/**
 * What the answers of a host mean: reports in; for each host a table of what is well, what is worth knowing and what is wrong out,
 * the latter with what mends it. Pure.
 */
import { describeDifference } from "../execute/agreement.ts";
import { isNodeTooOld, OLDEST_NODE_MAJOR } from "../node-version.ts";
import type { ClockOffset, HostReport, Link } from "./inspect.ts";

/** One line of a host's table. */
export interface Finding {
  readonly subject: "connection" | "node" | "shardrun" | "cores" | "clock" | "network" | "ports" | "model";
  readonly verdict: "ok" | "note" | "wrong";
  readonly text: string;
  /** What to do; always there when something is wrong. */
  readonly remedy?: string;
}

/** Certificates and log files of hosts whose clocks differ by more cannot be compared. */
const MAX_CLOCK_OFFSET_MS = 1000;

type Known = NonNullable<HostReport["known"]>;

/** What is to be said of each host, in the same order. */
export function findAll(reports: readonly HostReport[], modelDirectory: string): readonly (readonly Finding[])[] {
  const root = reports.find(({ known }) => known !== undefined);
  return reports.map((report): Finding[] => {
    const { failure, known, slots } = report;
    if (known === undefined) return [describeAbsence(failure ?? "It did not answer.")];
    return [
      describeConnection(report.isRemote, known),
      describeNode(known),
      describeSoftware(known),
      describeCores(known, slots),
      describeClock(known.clock),
      ...describeNetwork(known),
      ...describePorts(known.links),
      describeModel(known, report === root ? undefined : root!, modelDirectory),
    ];
  });
}

/** The launcher's sentence says what failed, then what to do. */
function describeAbsence(failure: string): Finding {
  const [, text = failure, remedy = "Mend this first: nothing else could be asked."] =
    /^(.*?\.) ((?:Check|Install|Its|Make|There|Say) .*)$/s.exec(failure) ?? [];
  return { subject: "connection", verdict: "wrong", text, remedy };
}

function describeConnection(isRemote: boolean, { hello: { sshConnection = "" } }: Known): Finding {
  const [client, , server] = sshConnection.split(" ");
  const text = server === undefined ? "ssh" : `ssh, ${client} to ${server}`;
  return { subject: "connection", verdict: "ok", text: isRemote ? text : "this host: an agent starts" };
}

function describeNode({ software: { nodeVersion } }: Known): Finding {
  return isNodeTooOld(nodeVersion)
    ? {
        subject: "node",
        verdict: "wrong",
        text: nodeVersion,
        remedy: `Install Node.js ${OLDEST_NODE_MAJOR} or later there.`,
      }
    : { subject: "node", verdict: "ok", text: nodeVersion };
}

function describeSoftware({ hello: { version }, software: { runtime } }: Known): Finding {
  return "failure" in runtime
    ? {
        subject: "shardrun",
        verdict: "wrong",
        text: `${version}; ${runtime.failure}`,
        remedy: "Run npm ci where shardrun is installed there, or have this installation copied with --push.",
      }
    : { subject: "shardrun", verdict: "ok", text: `${version}, its addon loads, onnxruntime ${runtime.version}` };
}

function describeCores({ hello: { cores } }: Known, slots = cores.length): Finding {
  const text = `${count(cores.length, "core")}, ${count(slots, "slot")}`;
  return slots <= cores.length
    ? { subject: "cores", verdict: "ok", text }
    : { subject: "cores", verdict: "note", text: `${text}: ranks will share cores` };
}

function describeClock({ offsetMs, errorMs }: ClockOffset): Finding {
  const [offset, error] = [offsetMs, errorMs].map(Math.round) as [number, number];
  const text = `${offset < 0 ? "-" : "+"}${Math.abs(offset)} ms against this host's, known to ${error} ms`;
  return Math.abs(offsetMs) - errorMs <= MAX_CLOCK_OFFSET_MS
    ? { subject: "clock", verdict: "ok", text }
    : {
        subject: "clock",
        verdict: "wrong",
        text,
        remedy: "Have the time set by NTP on both (timedatectl set-ntp true): certificates and logs depend on it.",
      };
}

function describeNetwork({ route }: Known): Finding[] {
  if (route === undefined) return [];
  return [
    "failure" in route
      ? {
          subject: "network",
          verdict: "wrong",
          text: `no route to rank 0's host: ${route.failure}`,
          remedy: "Check its addresses (ip address) and routes (ip route), or name another interface with --interface.",
        }
      : { subject: "network", verdict: "ok", text: `${route.address} on ${route.interface || "an unnamed interface"}` },
  ];
}

function describePorts(links: readonly Link[]): Finding[] {
  const reached = links.flatMap(({ to, answer }) =>
    "failure" in answer ? [] : [`${to} (${answer.roundTripMs.toFixed(1)} ms)`],
  );
  const closed = links.flatMap(({ to, address, answer }): Finding[] =>
    "failure" in answer
      ? [
          {
            subject: "ports",
            verdict: "wrong",
            text: `cannot reach ${to} at ${address}: ${answer.failure}`,
            remedy:
              `Let a firewall between them, or on ${to}, pass TCP to ports 1024 to 65535 of ${address}; or name a network ` +
              "that joins the hosts with --interface.",
          },
        ]
      : [],
  );
  return [
    ...(reached.length > 0
      ? [{ subject: "ports", verdict: "ok", text: `reaches ${reached.join(", ")}` } as const]
      : []),
    ...closed,
  ];
}

/** @param root the host whose model it is, from which ranks elsewhere fetch what they lack; undefined: this is it */
function describeModel({ model }: Known, root: HostReport | undefined, directory: string): Finding {
  if ("failure" in model) {
    return root === undefined
      ? {
          subject: "model",
          verdict: "wrong",
          text: model.failure,
          remedy: "Name the directory of a model that is on this host with --model.",
        }
      : {
          subject: "model",
          verdict: "note",
          text: `${model.failure} Its ranks fetch what they need from ${root.name}`,
        };
  }
  const expected = root?.known!.model;
  const difference = expected !== undefined && "files" in expected ? describeDifference(expected, model) : undefined;
  return difference === undefined || root === undefined
    ? { subject: "model", verdict: "ok", text: `${directory}, ${count(model.files.length, "file")}` }
    : {
        subject: "model",
        verdict: "note",
        text: `another than on ${root.name} (${difference}): its ranks fetch what they need from ${root.name}`,
      };
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
