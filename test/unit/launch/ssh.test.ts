import { expect, test } from "@jest/globals";
import { agentArguments, explainFailedStart } from "../../../src/launch/ssh.ts";

const OPTIONS = { sshArgs: ["-F", "config"], prefix: "/opt/it's here" };

test("the user's words come first, a host is never an option, the command is one quoted word", () => {
  const args = agentArguments({ name: "-oProxyCommand=x", user: "ann", port: 2222 }, OPTIONS);
  expect(args.slice(0, 4)).toEqual(["-F", "config", "-o", "BatchMode=yes"]);
  expect(args.slice(-6, -1)).toEqual(["-T", "-p", "2222", "--", "ann@-oProxyCommand=x"]);
  expect(args.at(-1)).toMatch(/^exec 'sh' '-c' '.*' 'sh' '.*node' '\/opt\/it'\\''s here\/dist\/launch\/agent\.js' ''$/);
});

const HOST = { name: "hosta", user: "ann", port: 2222 };

test.each<[what: string, exitCode: number | null, lastLine: string, message: string]>([
  [
    "shardrun is missing",
    91,
    "",
    `Host "hosta" has no shardrun in /opt/it's here. Install it there, say where it is on the other hosts with --prefix DIRECTORY, or have it copied there with --push.`,
  ],
  [
    "Node is missing",
    92,
    "",
    `Host "hosta" has no Node.js: neither ${process.execPath} nor a "node" in the PATH of commands run by ssh. Install Node.js 20 or later there.`,
  ],
  [
    "ssh fails",
    255,
    "ann@hosta: Permission denied (publickey).",
    `Could not reach host "hosta" by ssh: ann@hosta: Permission denied (publickey). Check that "ssh -F config -p 2222 ann@hosta true" succeeds without asking for anything: ssh-copy-id, with the same options, lets your key in.`,
  ],
  [
    "ssh is silent",
    255,
    "",
    `Could not reach host "hosta" by ssh: ssh does not say why. Check that "ssh -F config -p 2222 ann@hosta true" succeeds without asking for anything.`,
  ],
  [
    "the agent fails",
    1,
    "SyntaxError: Unexpected token",
    `The agent on host "hosta" did not start: SyntaxError: Unexpected token. Check that "ssh -F config -p 2222 ann@hosta true" succeeds, and that Node.js there is version 20 or later.`,
  ],
])("the reason is said with a remedy: %s", (_what, exitCode, lastLine, message) => {
  expect(explainFailedStart(HOST, OPTIONS, { exitCode, lastLine })).toBe(message);
});
