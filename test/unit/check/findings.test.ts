import { describe, expect, test } from "@jest/globals";
import { type Finding, findAll } from "../../../src/check/findings.ts";
import type { HostReport } from "../../../src/check/inspect.ts";

type Known = NonNullable<HostReport["known"]>;

const FINE: Known = {
  hello: {
    version: "1.2.3",
    cores: [[0], [1]],
    numaDomains: [[[0], [1]]],
    freePort: 40000,
    addresses: {},
    sshConnection: "10.0.0.9 50000 10.0.0.1 22",
  },
  software: { nodeVersion: "v20.1.0", runtime: { version: "1.30.0" } },
  model: { files: [{ name: "config.json", digest: "aa" }] },
  clock: { offsetMs: -2.6, errorMs: 0.4 },
  route: { address: "10.0.0.1", interface: "eth0" },
  links: [
    { to: "hostb", address: "10.0.0.2", answer: { roundTripMs: 0.25 } },
    { to: "hostc", address: "10.0.0.3", answer: { roundTripMs: 1 } },
  ],
};

/** The findings of a host that differs so from a fine one, beside a fine first one. */
function find(difference: Partial<Known>, slots?: number): readonly Finding[] {
  const root = { name: "hosta", isRemote: true, slots: 2, known: FINE };
  return findAll([root, { name: "hostb", isRemote: true, slots, known: { ...FINE, ...difference } }], "/model")[1]!;
}

test("a host that can take part", () => {
  expect(find({})).toEqual([
    { subject: "connection", verdict: "ok", text: "ssh, 10.0.0.9 to 10.0.0.1" },
    { subject: "node", verdict: "ok", text: "v20.1.0" },
    { subject: "shardrun", verdict: "ok", text: "1.2.3, its addon loads, onnxruntime 1.30.0" },
    { subject: "cores", verdict: "ok", text: "2 cores, 2 slots" },
    { subject: "clock", verdict: "ok", text: "-3 ms against this host's, known to 0 ms" },
    { subject: "network", verdict: "ok", text: "10.0.0.1 on eth0" },
    { subject: "ports", verdict: "ok", text: "reaches hostb (0.3 ms), hostc (1.0 ms)" },
    { subject: "model", verdict: "ok", text: "/model, 1 file" },
  ]);
});

test("this host alone has no network to speak of", () => {
  const known = { ...FINE, route: undefined, links: [] };
  const [alone] = findAll([{ name: "here", isRemote: false, slots: 2, known }], "/model");
  const subjects = alone!.map(({ subject }) => subject);
  expect(subjects).toEqual(["connection", "node", "shardrun", "cores", "clock", "model"]);
  expect(alone![0]).toEqual({ subject: "connection", verdict: "ok", text: "this host: an agent starts" });
});

test("the first host's model is the measure of the others'", () => {
  const failure = 'Model "/model" does not exist: expected a checkpoint directory or a GGUF file.';
  const known = { ...FINE, model: { failure } };
  const [first, second] = findAll(
    [
      { name: "hosta", isRemote: true, slots: 2, known },
      { name: "hostb", isRemote: true, slots: 2, known: FINE },
    ],
    "/model",
  );
  expect(first!.filter(({ verdict }) => verdict === "wrong")).toEqual([
    {
      subject: "model",
      verdict: "wrong",
      text: failure,
      remedy: "Name the directory of a model that is on this host with --model.",
    },
  ]);
  expect(second!.every(({ verdict }) => verdict === "ok")).toBe(true);
});

test.each<[model: Known["model"], text: string]>([
  [
    { failure: 'Model "/model" does not exist: expected a checkpoint directory or a GGUF file.' },
    'Model "/model" does not exist: expected a checkpoint directory or a GGUF file. Its ranks fetch what they need from hosta',
  ],
  [
    { files: [{ name: "config.json", digest: "bb" }] },
    "another than on hosta (config.json has fingerprint bb instead of aa): its ranks fetch what they need from hosta",
  ],
])("a host without the model fetches it: %j", (model, text) => {
  expect(find({ model }).filter(({ verdict }) => verdict !== "ok")).toEqual([
    { subject: "model", verdict: "note", text },
  ]);
});

test("more slots than cores are worth knowing", () => {
  const note = { subject: "cores", verdict: "note", text: "2 cores, 3 slots: ranks will share cores" };
  expect(find({}, 3)).toContainEqual(note);
});

describe("what is wrong comes with what mends it", () => {
  const CLOCK = "Have the time set by NTP on both (timedatectl set-ntp true): certificates and logs depend on it.";
  test.each<[difference: Partial<Known>, subject: string, text: string, remedy: string]>([
    [
      { software: { nodeVersion: "v18.19.0", runtime: { version: "1.30.0" } } },
      "node",
      "v18.19.0",
      "Install Node.js 20 or later there.",
    ],
    [
      { software: { nodeVersion: "v20.1.0", runtime: { failure: "Loading the native addon failed: no such file." } } },
      "shardrun",
      "1.2.3; Loading the native addon failed: no such file.",
      "Run npm ci where shardrun is installed there, or have this installation copied with --push.",
    ],
    [{ clock: { offsetMs: 61_000, errorMs: 2 } }, "clock", "+61000 ms against this host's, known to 2 ms", CLOCK],
    [{ clock: { offsetMs: -1003, errorMs: 2 } }, "clock", "-1003 ms against this host's, known to 2 ms", CLOCK],
    [
      { route: { failure: "connect ENETUNREACH" } },
      "network",
      "no route to rank 0's host: connect ENETUNREACH",
      "Check its addresses (ip address) and routes (ip route), or name another interface with --interface.",
    ],
    [
      { links: [{ to: "hostc", address: "10.0.0.3", answer: { failure: "no answer within 3000 ms" } }] },
      "ports",
      "cannot reach hostc at 10.0.0.3: no answer within 3000 ms",
      "Let a firewall between them, or on hostc, pass TCP to ports 1024 to 65535 of 10.0.0.3; " +
        "or name a network that joins the hosts with --interface.",
    ],
  ])("%j", (difference, subject, text, remedy) => {
    const wrong = find(difference).filter(({ verdict }) => verdict === "wrong");
    expect(wrong).toEqual([{ subject, verdict: "wrong", text, remedy }]);
  });

  test("a clock that may be right, as far as can be told, is not wrong", () => {
    expect(find({ clock: { offsetMs: 1010, errorMs: 20 } }).every(({ verdict }) => verdict === "ok")).toBe(true);
  });

  test("some of the other hosts", () => {
    const links = [FINE.links[0]!, { to: "hostc", address: "10.0.0.3", answer: { failure: "refused" } }];
    const ports = find({ links }).filter(({ subject }) => subject === "ports");
    expect(ports.map(({ verdict, text }) => [verdict, text])).toEqual([
      ["ok", "reaches hostb (0.3 ms)"],
      ["wrong", "cannot reach hostc at 10.0.0.3: refused"],
    ]);
  });
});

describe("a host that cannot be asked", () => {
  test.each([
    ["Could not reach host. Check that ssh works.", "Could not reach host.", "Check that ssh works."],
    ["Host has no Node.js: x.y. Install Node.js.", "Host has no Node.js: x.y.", "Install Node.js."],
    ["Something broke.", "Something broke.", "Mend this first: nothing else could be asked."],
  ])("%s", (failure, text, remedy) => {
    const [first, second] = findAll(
      [
        { name: "a", isRemote: true, slots: 1, failure },
        { name: "b", isRemote: true, slots: 1, known: FINE },
      ],
      "/model",
    );
    expect(first).toEqual([{ subject: "connection", verdict: "wrong", text, remedy }]);
    expect(second!.every(({ verdict }) => verdict === "ok")).toBe(true); // compared with itself
  });
});
