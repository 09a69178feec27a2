import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { listCores, listNumaDomains } from "../../../src/launch/processors.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const directory = useTemporaryDirectory();

test("the cores of this host cover the processors we may use", () => {
  const processors = listCores().flat();
  expect(processors).toHaveLength(availableParallelism());
  expect(new Set(processors).size).toBe(processors.length);
});

test("the NUMA domains of this host hold its cores", () => {
  const cores = listCores();
  const domains = listNumaDomains(cores);
  expect(domains.flat().toSorted()).toEqual(cores.toSorted());
});

test("cores belong to the domain that lists their processors; what we may not use belongs to none", () => {
  const lists = { node0: "0-1,8", node1: "2-3", node2: "", node10: "4-5" };
  for (const [name, list] of Object.entries(lists)) {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "cpulist"), `${list}\n`);
  }
  mkdirSync(join(directory, "power"));
  expect(listNumaDomains([[0], [1, 8], [2], [5]], directory)).toEqual([[[0], [1, 8]], [[2]], [[5]]]);
});

test("where the kernel does not tell, all cores are one domain", () => {
  expect(listNumaDomains([[0], [1]], join(directory, "nowhere"))).toEqual([[[0], [1]]]);
  expect(listNumaDomains([[0], [99]], directory)).toEqual([[[0], [99]]]);
});
