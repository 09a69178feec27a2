import { hostname } from "node:os";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { chooseHosts } from "../../../src/launch/hosts.ts";
import { isThisHost } from "../../../src/launch/this-host.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const NUM_CORES = 6;

function slotsOf(...hostLists: string[]): (number | undefined)[] {
  return chooseHosts({ hostLists }, NUM_CORES).map(({ slots }) => slots);
}

const directory = useTemporaryDirectory();

function hostfile(text: string): string {
  const path = join(directory, "hosts");
  writeFileSync(path, text);
  return path;
}

test("weight and devices of a hostfile's host also count where -H chooses it", () => {
  const path = hostfile("localhost slots=2 weight=3\nhosta slots=2 port=23 devices=1\nhostb");
  expect(chooseHosts({ hostfile: path, hostLists: ["hosta:1,localhost:1"] }, NUM_CORES)).toEqual([
    { name: "hosta", slots: 1, devices: [1], ssh: { name: "hosta", port: 23 } },
    { name: hostname(), slots: 1, weight: 3 },
  ]);
});

test("without any option: this host, a slot for every core", () => {
  expect(chooseHosts({ hostLists: [] }, NUM_CORES)).toEqual([{ name: hostname(), slots: NUM_CORES }]);
});

describe("-H", () => {
  test.each([
    [["localhost"], [1]],
    [["localhost:3"], [3]],
    [["localhost:*"], [NUM_CORES]],
    [["localhost,localhost"], [2]],
    [["localhost:2", "127.0.0.1:3"], [5]],
    [["root@localhost:2"], [2]],
    [["[::1]:2,::1"], [3]],
    [[`${hostname()}:2,localhost:*`], [NUM_CORES]],
  ])("%j", (hostLists, slots) => {
    expect(slotsOf(...hostLists)).toEqual(slots);
  });

  test.each([
    "",
    "localhost:0",
    "localhost:x",
    "localhost,",
    "localhost:2:3",
    "a b",
    "localhost:",
    "-Fevil@hosta",
    "-Fevil",
  ])("refuses %j", (list) => {
    const item = list === "localhost," ? "" : list;
    expect(() => slotsOf(list)).toThrow(
      expect.objectContaining({
        name: "UsageError",
        message: `-H expects host names with their slots, e.g. -H hosta:2,hostb:4 (an IPv6 address in brackets), received "${item}".`,
      }),
    );
  });
});

describe("-hostfile", () => {
  test("gives the slots; none means all cores", () => {
    expect(chooseHosts({ hostfile: hostfile("localhost slots=3"), hostLists: [] }, NUM_CORES)[0]!.slots).toBe(3);
    expect(chooseHosts({ hostfile: hostfile("localhost"), hostLists: [] }, NUM_CORES)[0]!.slots).toBe(NUM_CORES);
  });

  test("with -H: the slots of -H", () => {
    const path = hostfile("localhost slots=4");
    expect(chooseHosts({ hostfile: path, hostLists: ["localhost:2"] }, NUM_CORES)[0]!.slots).toBe(2);
  });

  test("with a host in -H that it does not have", () => {
    const path = hostfile("hosta\nhostb slots=2");
    expect(() => chooseHosts({ hostfile: path, hostLists: ["localhost"] }, NUM_CORES)).toThrow(
      expect.objectContaining({
        name: "UsageError",
        message:
          `-H names the host "localhost", which the hostfile "${path}" does not have. It has hosta, hostb. ` +
          `Add the host to the hostfile, or leave out one of the two options.`,
      }),
    );
  });
});

describe("another host is reached by ssh", () => {
  test("with the user and port that the hostfile gives, and slots that its agent knows", () => {
    const path = hostfile("localhost slots=1\nann@elsewhere.example port=2222\nthird.example slots=2");
    expect(chooseHosts({ hostfile: path, hostLists: [] }, NUM_CORES)).toEqual([
      { name: hostname(), slots: 1 },
      { name: "elsewhere.example", slots: undefined, ssh: { name: "elsewhere.example", user: "ann", port: 2222 } },
      { name: "third.example", slots: 2, ssh: { name: "third.example", user: undefined, port: undefined } },
    ]);
  });

  test("with -H: one slot unless it says more, the user it says", () => {
    const path = hostfile("ann@a.example port=2222 slots=8\nb.example");
    expect(chooseHosts({ hostfile: path, hostLists: ["a.example,bob@b.example:*", "a.example"] }, NUM_CORES)).toEqual([
      { name: "a.example", slots: 2, ssh: { name: "a.example", user: "ann", port: 2222 } },
      { name: "b.example", slots: undefined, ssh: { name: "b.example", user: "bob", port: undefined } },
    ]);
  });
});

test("the names of this host", () => {
  const names = ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", hostname(), `${hostname()}.some.domain`];
  expect(names.filter((name) => !isThisHost(name))).toEqual([]);
  expect(["elsewhere", "localhost.elsewhere", "10.255.255.1", "128.0.0.1"].filter(isThisHost)).toEqual([]);
});
