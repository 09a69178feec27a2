/** `shardrun check`: whether every host can take part in a run; if not, what is wrong there and how to mend it. */
import { resolve } from "node:path";
import { type Finding, findAll } from "../check/findings.ts";
import { inspectHosts } from "../check/inspect.ts";
import { inheritedVariables } from "../environment.ts";
import { findHosts } from "../launch/targets.ts";
import { MODEL_OPTIONS, readModelDirectory } from "./model-options.ts";
import type { Program } from "./options.ts";

export const check: Program = {
  name: "check",
  describe:
    "Tries the hosts of a run without running anything: ssh, Node, shardrun, cores, clock, network, ports and the model. " +
    "Says for each host what is wrong and how to mend it. Exit code: 0 when every host can take part, else 1.",
  options: { model: MODEL_OPTIONS.model },
  examples: [
    ["$0 check -hostfile hosts", "before the first run on several hosts"],
    ["$0 check -H hosta,hostb --model DIR", "whether DIR is the same model on both"],
  ],
  runsOnRanks: false,

  async run(options, launch) {
    const modelDirectory = resolve(readModelDirectory(options));
    const variables = inheritedVariables();
    const hosts = findHosts(launch, variables);
    const reports = await inspectHosts(hosts, variables, { modelDirectory, interface: launch.interface });
    const findings = findAll(reports, modelDirectory);
    process.stdout.write(reports.map(({ name }, index) => `${name}\n${drawTable(findings[index]!)}\n`).join(""));
    const numUnfit = findings.filter((ofHost) => ofHost.some(({ verdict }) => verdict === "wrong")).length;
    const numHosts = hosts.length === 1 ? "The host" : `All ${hosts.length} hosts`;
    console.log(
      numUnfit === 0
        ? `${numHosts} can take part.`
        : `${numUnfit} of ${hosts.length} hosts cannot take part as they are.`,
    );
    return numUnfit === 0 ? 0 : 1;
  },
};

const MARKS = { ok: "ok", note: "note", wrong: "WRONG" } as const;

/** One finding a line, its remedy on the next. */
function drawTable(findings: readonly Finding[]): string {
  return findings
    .map(({ subject, verdict, text, remedy }) => {
      const line = `  ${subject.padEnd(10)}  ${MARKS[verdict].padEnd(5)}  ${text}\n`;
      return remedy === undefined ? line : `${line}${" ".repeat(21)}${remedy}\n`;
    })
    .join("");
}
