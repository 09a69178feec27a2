/**
 * `shardrun generate`, `plan` and `info` as a user meets them: prompts from options, files and standard input; lines of JSON and
 * streamed text; lengths, seeds, the summary line, a reader that leaves early.
 */
import { describe, expect, test } from "@jest/globals";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runShardrun, type RunOptions } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

const DEMO_STORIES = join(import.meta.dirname, "../../models/demo-stories");
const STORIES_260K = join(import.meta.dirname, "../../../shared/models/stories260K");
const root = useTemporaryDirectory();

interface ExpectedPrompt {
  readonly text: string;
  readonly ids: readonly number[];
  readonly new_ids: readonly number[];
  readonly new_text: string;
}

const { prompts: PROMPTS, whole_story: WHOLE_STORY } = JSON.parse(
  readFileSync(join(DEMO_STORIES, "expected.json"), "utf8"),
) as { readonly prompts: readonly ExpectedPrompt[]; readonly whole_story: ExpectedPrompt };

const END_TOKEN = 2;
/** The recorded answers are this long. */
const MAX_LENGTH = PROMPTS[0]!.new_ids.length;

interface Line {
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly text: string;
  readonly finishReason: string;
  readonly numPromptTokens: number;
}

/** What --json prints for a recorded prompt. */
const lineOf = ({ text, ids, new_ids, new_text }: ExpectedPrompt): Line => ({
  prompt: text,
  ids: new_ids,
  text: new_text,
  finishReason: new_ids.at(-1) === END_TOKEN ? "stop" : "length",
  numPromptTokens: ids.length,
});

/** Runs generate, which must end well, without the summary line. */
async function generate(numRanks: number, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await runShardrun(
    ["generate", "-np", String(numRanks), "--oversubscribe", "--quiet", ...args],
    options,
  );
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

const parseLines = (stdout: string): Line[] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

const generateLines = async (numRanks: number, args: readonly string[], options?: RunOptions): Promise<Line[]> =>
  parseLines(await generate(numRanks, ["--json", ...args], options));

describe("prompts and lines", () => {
  test("--json prints one line per prompt, whose keys come in their order", async () => {
    const [prompt] = PROMPTS;
    const args = ["--json", "--max-length", String(MAX_LENGTH), "--prompt", prompt!.text];
    expect(await generate(2, args)).toBe(`${JSON.stringify(lineOf(prompt!))}\n`);
  });

  test("prompts of different lengths, as options and in a file, are answered in their order", async () => {
    const file = join(root, "prompts.jsonl");
    writeFileSync(
      file,
      PROMPTS.slice(2)
        .map(({ text, ids }, index) => `${JSON.stringify(index === 0 ? { prompt: text } : { promptIds: ids })}\r\n\n`)
        .join(""),
    );
    const lines = await generateLines(2, [
      "--input",
      file,
      "--prompt-ids",
      PROMPTS[1]!.ids.join(","),
      "--prompt",
      PROMPTS[0]!.text,
      "--max-length",
      String(MAX_LENGTH),
    ]);
    // Ids are printed as the text that they stand for: without the beginning token, as the text was.
    expect(lines).toEqual(PROMPTS.map(lineOf));
  });

  test("--input - reads standard input, on rank 0 of two", async () => {
    const stdin = PROMPTS.map(({ text }) => JSON.stringify({ prompt: text })).join("\n");
    const lines = await generateLines(2, ["--input", "-", "--max-length", String(MAX_LENGTH)], { stdin });
    expect(lines).toEqual(PROMPTS.map(lineOf));
  });

  test("no line at all is no error", async () => {
    expect(await generate(2, ["--json", "--input", "-"])).toBe("");
  });

  test("more prompts than cache rows", async () => {
    const prompts = Array.from({ length: 40 }, (_, index) => PROMPTS[index % PROMPTS.length]!);
    const stdin = prompts.map(({ ids }) => JSON.stringify({ promptIds: ids })).join("\n");
    const lines = await generateLines(2, ["--input", "-", "--max-length", String(MAX_LENGTH)], { stdin });
    expect(lines).toEqual(prompts.map(lineOf));
  });

  test("without --json, several prompts print one text each", async () => {
    const args = PROMPTS.slice(0, 2).flatMap(({ text }) => ["--prompt", text]);
    const stdout = await generate(2, [...args, "--max-length", String(MAX_LENGTH)]);
    expect(stdout).toBe(`${PROMPTS[0]!.new_text}\n${PROMPTS[1]!.new_text}\n`);
  });
});

describe("streaming", () => {
  test("what is streamed is the text of all tokens", async () => {
    const stdout = await generate(2, ["--prompt", PROMPTS[1]!.text, "--max-length", String(MAX_LENGTH)]);
    expect(stdout).toBe(`${PROMPTS[1]!.new_text}\n`);
  });

  test("also where tokens hold parts of characters", async () => {
    const args = ["--temperature", "50", "--seed", "3", "--max-length", "60"];
    const [line] = await generateLines(1, args);
    expect(line!.text).toMatch(/\uFFFD/);
    expect(await generate(1, args)).toBe(`${line!.text}\n`);
  });

  test.each([1, 2])("a reader that leaves after one byte ends %i ranks without a word", async (numRanks) => {
    const { exitCode, stderr } = await runShardrun(
      ["generate", "-np", String(numRanks), "--oversubscribe", "--quiet", "--max-length", "250"],
      { readOneByte: true },
    );
    expect({ exitCode, stderr }).toEqual({ exitCode: 141, stderr: "" });
  });
});

describe("lengths", () => {
  test("an end token stops the text and is the last id", async () => {
    const [line] = await generateLines(2, ["--prompt", WHOLE_STORY.text, "--max-length", "250"]);
    expect(line).toEqual(lineOf(WHOLE_STORY));
    expect(line).toMatchObject({ finishReason: "stop" });
  });

  test("--max-length 0 gives nothing", async () => {
    const [line] = await generateLines(2, ["--prompt", "Once", "--max-length", "0"]);
    expect(line).toMatchObject({ ids: [], text: "", finishReason: "length" });
  });

  test("--min-length keeps the end token away", async () => {
    const [line] = await generateLines(2, ["--prompt-ids", WHOLE_STORY.ids.join(","), "--min-length", "245"]);
    expect(line!.ids.slice(0, 244)).not.toContain(END_TOKEN);
    expect(line!.ids.slice(0, WHOLE_STORY.new_ids.length - 1)).toEqual(WHOLE_STORY.new_ids.slice(0, -1));
  });

  test("the context that was asked for is used up without an error; the last token needs no position", async () => {
    const [line] = await generateLines(2, ["--prompt-ids", PROMPTS[0]!.ids.join(","), "--max-context", "40"]);
    expect(line).toMatchObject({
      ids: PROMPTS[0]!.new_ids.slice(0, 40 - PROMPTS[0]!.ids.length + 1),
      finishReason: "length",
    });
  });

  test("a prompt that fills the context is continued by one token", async () => {
    const ids = [...PROMPTS[0]!.ids, ...PROMPTS[0]!.new_ids];
    const [line] = await generateLines(2, ["--prompt-ids", ids.slice(0, 40).join(","), "--max-context", "40"]);
    expect(line).toMatchObject({ ids: [ids[40]], finishReason: "length", numPromptTokens: 40 });
  });

  const isThere = existsSync(STORIES_260K);
  (isThere ? test : test.skip)(
    `a model's whole context${isThere ? "" : " (shared/models is not there: skipped)"}`,
    async () => {
      const args = ["--model", STORIES_260K, "--prompt-ids", "1,403,407,261,378", "--max-length", "10000"];
      const [line] = await generateLines(2, args);
      expect([line!.ids.length, line!.finishReason]).toEqual([512 - 5 + 1, "length"]);
      const { ids } = JSON.parse(readFileSync(join(STORIES_260K, "expected-greedy-256.json"), "utf8")) as Line;
      expect(line!.ids.slice(0, ids.length - 5)).toEqual(ids.slice(5));
    },
  );
});

describe("sampling", () => {
  const sample = async (numRanks: number, seed: string, ...args: string[]): Promise<readonly number[]> => {
    const options = ["--temperature", "1.5", "--max-length", "40", "--seed", seed, ...args];
    return (await generateLines(numRanks, options))[0]!.ids;
  };

  test("the same seed gives the same text on any number of ranks, and another one another", async () => {
    const ids = await sample(1, "7");
    expect(await sample(2, "7")).toEqual(ids);
    expect(await sample(3, "7")).toEqual(ids);
    expect(await sample(2, "8")).not.toEqual(ids);
    expect(ids).not.toEqual(PROMPTS[0]!.new_ids.slice(0, 40));
  });

  test("with --top-k and --top-p, too", async () => {
    const args = ["--top-k", "20", "--top-p", "0.9"];
    const ids = await sample(1, "7", ...args);
    expect(await sample(2, "7", ...args)).toEqual(ids);
  });

  test("without a seed two runs differ", async () => {
    const args = ["--temperature", "5", "--max-length", "40"];
    expect(await generateLines(1, args)).not.toEqual(await generateLines(1, args));
  });

  test("penalties change what is said", async () => {
    const args = ["--max-length", "60"];
    const [plain] = await generateLines(1, args);
    const [penalized] = await generateLines(2, [...args, "--repetition-penalty", "1.5"]);
    const [ngrams] = await generateLines(2, [...args, "--no-repeat-ngram-size", "2"]);
    expect(penalized!.ids).not.toEqual(plain!.ids);
    const pairs = ngrams!.ids.slice(1).map((id, index) => `${ngrams!.ids[index]} ${id}`);
    expect(new Set(pairs).size).toBe(pairs.length);
  });
});

describe("summary, plan and info", () => {
  test("the summary line says where the time and the memory went", async () => {
    const { exitCode, stdout, stderr } = await runShardrun([
      "generate",
      "-np",
      "2",
      "--oversubscribe",
      "--max-length",
      "20",
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^, there was a little girl named Lily\. /);
    expect(stderr).toMatch(
      /^2 ranks \| prefill \d+(\.\d)? tokens\/s, decode \d+(\.\d)? tokens\/s \| of a decode step: onnxruntime \d+\.\d %, collectives \d+\.\d % \| private memory \d+ \+ \d+ MB\n$/,
    );
  });

  test("--dump-graph writes the graph with its weights and ends", async () => {
    const file = join(root, "model.onnx");
    const { exitCode, stdout, stderr } = await runShardrun(["generate", "--dump-graph", file]);
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 0,
      stdout: "",
      stderr: `Wrote the graph of ${DEMO_STORIES} to ${file}.\n`,
    });
    expect(readFileSync(file).includes("GroupQueryAttention")).toBe(true);
    expect(statSync(`${file}.data`).size).toBeGreaterThan(1_000_000);
  });

  test("plan prints how the model is cut, and starts nothing", async () => {
    const { exitCode, stdout, stderr } = await runShardrun(["plan", "-np", "4"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const lines = stdout.split("\n");
    expect(lines[0]).toMatch(/^layer +node +weight +sharding +collective +per rank$/);
    expect(lines).toContainEqual(
      expect.stringMatching(/^0-2 +o_proj +\[96, 96\] +Shard\(1\) rowParallel +allReduce \[B, S, 96\] /),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(/^- +lm_head +\[576, 96\] +Shard\(0\) vocabularyParallel +allGather/),
    );
    expect(lines).toContainEqual(expect.stringMatching(/^weights per rank \(P = 4\): .* KiB, .* KiB, .* KiB, .* KiB$/));
    expect(lines).toContainEqual(expect.stringMatching(/^collectives: 8 per step; /));
  });

  test("plan --config prints how a shape would be cut, of which nothing need be there", async () => {
    const args = ["plan", "-np", "2", "--config", "llama-7b", "--compute-type", "int4"];
    const { exitCode, stdout, stderr } = await runShardrun(args, { environment: { SHARDRUN_CACHE: "/no/such/cache" } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(
      /^0-30 +o_proj +\[4096, 4096\] +Shard\(1\) rowParallel +allReduce int32 \[B, S, 64\], allReduce int32 \[B, S, 4096\] /m,
    );
  });

  test("info says what would be used", async () => {
    const { exitCode, stdout, stderr } = await runShardrun(["info"], { environment: { OMP_NUM_THREADS: "3" } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const rows = new Map(
      stdout
        .trimEnd()
        .split("\n")
        .filter((line) => !line.startsWith(" ")) // the line before goes on
        .map((line) => /^(\S+(?: \S+)*?) {2,}(.+)$/.exec(line)!.slice(1) as [string, string]),
    );
    expect([...rows.keys()]).toEqual([
      "shardrun",
      "node",
      "onnxruntime",
      "kernels",
      "compute types",
      "host",
      "cores",
      "threads",
      "OMP_NUM_THREADS",
      "devices",
      "transports",
      "allReduce",
    ]);
    expect(rows.get("node")).toContain(process.version);
    expect(rows.get("onnxruntime")).toMatch(/^1\.\d+\.\d+ \(\/.*libonnxruntime/);
    expect(rows.get("threads")).toMatch(/^Generator\.load: 3 \(OMP_NUM_THREADS\); /);
    expect(rows.get("OMP_NUM_THREADS")).toBe("3");
  });
});
