import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { parseHostfile, readHostfile } from "../../../src/launch/hostfile.ts";

const EXAMPLES = join(import.meta.dirname, "../../../hostfiles");

/** Each host as "name:slots", * for all of its cores. */
function parse(text: string): string[] {
  return parseHostfile(text, "hosts").map(({ name, slots }) => `${name}:${slots ?? "*"}`);
}

describe("hosts and slots", () => {
  test.each([
    ["hosta slots=2", ["hosta:2"]],
    ["hosta slots=2\r\nhostb\r\n", ["hosta:2", "hostb:*"]],
    ["hosta slots = 2", ["hosta:2"]],
    ["hosta cpu=3", ["hosta:3"]],
    ["hosta count=3", ["hosta:3"]],
    ["hosta slots=2 max_slots=4", ["hosta:2"]],
    ["hosta max-slots=4 slots=2", ["hosta:2"]],
    ["hosta slots_max=4", ["hosta:4"]],
    ["hosta slots-max=4", ["hosta:4"]],
    ["root@hosta slots=2", ["hosta:2"]],
    ["192.168.0.7 slots=2", ["192.168.0.7:2"]],
    ["fe80::1 slots=2", ["fe80::1:2"]],
    ["[fe80::1] slots=2", ["fe80::1:2"]],
    ["\thosta  slots=2  # comment = x", ["hosta:2"]],
    ["# c\n\nhosta // c\n/* a\n b */ hostb slots=1", ["hosta:*", "hostb:1"]],
    ["hosta/* c */slots=1", ["hosta:1"]],
    ["hosta\nhosta", ["hosta:2"]],
    ["hosta slots=2\nhostb\nhosta\nHOSTA", ["hosta:4", "hostb:*"]],
    ["localhost slots=2\n127.0.0.1", ["localhost:3"]],
    ["hosta slots=1\nhostb slots=2\n^hosta", ["hostb:2"]],
  ])("%j", (text, hosts) => {
    expect(parse(text)).toEqual(hosts);
  });
});

test.each(readdirSync(EXAMPLES))("the example hostfiles/%s", (name) => {
  expect(readHostfile(join(EXAMPLES, name)).length).toBeGreaterThan(0);
});

test("a host is reached as the line says that says it", () => {
  expect(parseHostfile("hosta slots=2\nann@hosta port=2222\nhostb port = 22", "hosts")).toEqual([
    { name: "hosta", user: "ann", port: 2222, slots: 3 },
    { name: "hostb", user: undefined, port: 22, slots: undefined },
  ]);
});

test("a host's ranks have the weight and the devices of the line that gives them", () => {
  const text = "hosta weight=2 slots=2\nhostb devices=0,1 weight = .5 slots=1\nhostc devices=3\nhosta devices=7,0,2";
  expect(parseHostfile(text, "hosts")).toEqual([
    { name: "hosta", slots: 3, weight: 2, devices: [7, 0, 2] },
    { name: "hostb", slots: 1, weight: 0.5, devices: [0, 1] },
    { name: "hostc", devices: [3] },
  ]);
});

const KEYS = "expected slots=, max_slots=, port=, weight= or devices=";
const WEIGHT = "expected weight=<positive number>, e.g. 0.5";
const DEVICES = "expected devices=<numbers of different devices>, e.g. 0,1";

describe("a mistake is an error with its place", () => {
  test.each([
    ["hosta slots=two", 'hosts:1:7: expected slots=<positive integer>, received "slots=two".'],
    ["hosta\nhostb  cpu=0", 'hosts:2:8: expected cpu=<positive integer>, received "cpu=0".'],
    ["hosta slots=-1", 'hosts:1:7: expected slots=<positive integer>, received "slots=-1".'],
    ["hosta slots=1.5", 'hosts:1:7: expected slots=<positive integer>, received "slots=1.5".'],
    ["hosta slots=99999999", 'hosts:1:7: expected slots=<positive integer>, received "slots=99999999".'],
    ['hosta slots="2"', 'hosts:1:7: expected slots=<positive integer>, received "slots="2"".'],
    ["hosta slots=", 'hosts:1:7: expected slots=<positive integer>, received "slots=".'],
    ["hosta slots=\n2", 'hosts:1:7: expected slots=<positive integer>, received "slots=".'],
    ["hosta slots 2", 'hosts:1:7: expected slots=<positive integer>, received "slots".'],
    ["hosta max_slots=x", 'hosts:1:7: expected max_slots=<positive integer>, received "max_slots=x".'],
    ["hosta Slots=2", `hosts:1:7: ${KEYS}, received "Slots=2".`],
    ["hosta bogus=1", `hosts:1:7: ${KEYS}, received "bogus=1".`],
    ["hosta hostb", `hosts:1:7: ${KEYS}, received "hostb".`],
    ["hosta = 2", `hosts:1:7: ${KEYS}, received "=".`],
    ["hosta slots=2 slots=3", 'hosts:1:15: expected slots= once for a host, received "slots=3" as well.'],
    ["hosta slots=2 max_slots=1", 'hosts:1:1: expected max_slots of at least slots=2, received "max_slots=1".'],
    ...["0", "0.0", "-1", "1e3", "half", "1.", ""].map((weight) => [
      `hosta slots=1 weight=${weight}`,
      `hosts:1:15: ${WEIGHT}, received "weight=${weight}".`,
    ]),
    ["hosta\nhostb weight=1 weight=2", 'hosts:2:16: expected weight= once for a host, received "weight=2" as well.'],
    ...["", "a", "0,", ",0", "0,0", "0;1", "-1", "1234"].map((devices) => [
      `hosta devices=${devices}`,
      `hosts:1:7: ${DEVICES}, received "devices=${devices}".`,
    ]),
    ["=2", 'hosts:1:1: expected a host name or address, received "=".'],
    ["host!a", 'hosts:1:1: expected a host name or address, received "host!a".'],
    ["a@b@c", 'hosts:1:1: expected a host name or address, received "a@b@c".'],
    [
      "hosta:2",
      'hosts:1:1: expected a host name or address, received "hosta:2". Write "hosta slots=2"; the colon form is for -H.',
    ],
    ["/* a\nb", 'hosts:1:1: expected "*/" to end this comment.'],
    ["/* a\nb */ hosta x", `hosts:2:12: ${KEYS}, received "x".`],
    [
      "hosta slots=1\n\nhosta slots=2",
      "hosts:3:1: expected the slots of host hosta once; line 1 gives them already. Add them up on one line.",
    ],
    ["", 'hosts:1:1: expected at least one host, e.g. "localhost slots=2"; found none.'],
    ["# nothing\n^hosta", 'hosts:1:1: expected at least one host, e.g. "localhost slots=2"; found none.'],
  ])("%j", (text, message) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({ name: "HostfileError", code: "ERR_SHARDRUN_HOSTFILE", message }),
    );
  });

  test("a hostfile that is not there", () => {
    expect(() => readHostfile("/no/such/hosts")).toThrow(
      expect.objectContaining({
        name: "HostfileError",
        message:
          `Could not read the hostfile "/no/such/hosts": ENOENT: no such file or directory, open '/no/such/hosts'. ` +
          `Check the path given with -hostfile.`,
      }),
    );
  });
});
