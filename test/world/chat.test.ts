/** Chat templates and `shardrun chat`, through pipes and in a real terminal. */
import { afterEach, describe, expect, test } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CTRL_BACKSLASH, CTRL_C, CTRL_D, PseudoTerminal, UP } from "../support/pseudo-terminal.ts";
import { COMMAND, runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";
import { TINY_LLAMA, writeCheckpoint } from "../support/write-checkpoint.ts";

const root = useTemporaryDirectory();
const DEMO_STORIES = join(import.meta.dirname, "../../models/demo-stories");
/** Begins like a text; every message is in it as it is. */
const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }} {% else %}{{ message.content }}" +
  "{% endif %}{% if message.role == 'assistant' %}</s>{% endif %}{% endfor %}";

const storyTeller = join(root, "story-teller");
cpSync(DEMO_STORIES, storyTeller, { recursive: true });
writeFileSync(join(storyTeller, "chat_template.jinja"), TEMPLATE);
writeFileSync(join(storyTeller, "tokenizer_config.json"), JSON.stringify({ bos_token: "<s>", eos_token: "</s>" }));

/** Writes without end, so that there is time to interrupt it. */
const chatterbox = join(root, "chatterbox");
writeCheckpoint(chatterbox, {
  config: { ...TINY_LLAMA, vocab_size: 576, max_position_embeddings: 30_000 },
  tokenizerFrom: DEMO_STORIES,
});
writeFileSync(join(chatterbox, "chat_template.jinja"), TEMPLATE);

async function generate(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runShardrun([
    "generate",
    "--model",
    storyTeller,
    "--quiet",
    "--max-length",
    "12",
    ...args,
  ]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout.replace(/\n$/, "");
}

describe("generate --chat", () => {
  test("continues what the template makes of the message, and prints the answer alone", async () => {
    const [raw, answer, told, whole] = await Promise.all([
      generate("--json", "--prompt", "Once upon a time"),
      generate("--json", "--chat", "--prompt", "Once upon a time"),
      generate("--json", "--chat", "--system", "Once", "--prompt", "upon a time"),
      generate("--chat", "--prompt", "Once upon a time"),
    ]);
    const [rawLine, line, toldLine] = [raw, answer, told].map(
      (json) => JSON.parse(json) as { ids: number[]; text: string; numPromptTokens: number },
    );
    // The template's <s> is the one that a raw text would begin with: it is there once.
    expect(line).toMatchObject({ ids: rawLine!.ids, numPromptTokens: rawLine!.numPromptTokens });
    expect(toldLine).toMatchObject({ ids: rawLine!.ids });
    expect(whole).toBe(line!.text);
    expect(line!.text).not.toMatch(/<\/?s>/);
  });

  test("is refused without a template, and --system without --chat", async () => {
    const [noTemplate, noChat] = await Promise.all([
      runShardrun(["generate", "--chat", "--model", DEMO_STORIES]),
      runShardrun(["generate", "--system", "Be brief."]),
    ]);
    expect(noTemplate).toEqual({
      exitCode: 1,
      stdout: "",
      stderr:
        `shardrun: The model of "${join(DEMO_STORIES, "tokenizer.json")}" has no chat template, so it takes texts to continue and no ` +
        "conversations. Take a model that was trained to chat, or add its chat_template.jinja.\n",
    });
    expect(noChat).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: "shardrun: --system is what a chat model is told: it needs --chat.\n",
    });
  });
});

describe("chat through a pipe", () => {
  test.each([1, 2])(
    "%i ranks: a line is a message, /reset begins anew, and the rest is remembered",
    async (numRanks) => {
      const answer = await generate("--chat", "--prompt", "Once upon a time");
      const chat = ["chat", "-np", String(numRanks), "--model", storyTeller, "--max-length", "12"];
      const stdin = "Once upon a time\n\n/reset\n/what\nOnce upon a time\n The end.\n";
      const { exitCode, stdout, stderr } = await runShardrun(chat, { stdin });
      expect({ exitCode, stderr }).toEqual({
        exitCode: 0,
        stderr: "There is no /what: /reset begins anew, /exit ends; Ctrl-C stops an answer.\n",
      });
      expect(stdout.startsWith(`${answer}\n${answer}\n`)).toBe(true);
      const third = stdout.slice(2 * (answer.length + 1));
      const remembered = await generate("--chat", "--prompt", `Once upon a time${answer}</s>The end.`);
      expect(third).toBe(`${remembered}\n`);
    },
  );

  test("a model without a template is refused before any rank is started", async () => {
    const result = await runShardrun(["chat", "-np", "2", "--model", DEMO_STORIES]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(/^shardrun: The model of ".*" has no chat template, .*\n$/);
  });

  test("a message that does not fit", async () => {
    const result = await runShardrun(["chat", "--model", storyTeller, "--max-context", "4"], {
      stdin: "Once upon a time there was\n",
    });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(
      /^shardrun: The message has \d+ tokens with what the chat template adds, but the context has 4: shorten it\.\n$/,
    );
  });
});

const hasScript = spawnSync("script", ["--version"]).status === 0;
(hasScript ? describe : describe.skip)(`chat in a terminal${hasScript ? "" : " (no script command: skipped)"}`, () => {
  let last: PseudoTerminal | undefined;
  afterEach(() => last?.kill());

  const start = (numRanks: number, type?: "xterm") => {
    const command = [process.execPath, COMMAND, "chat", "-np", String(numRanks), "--model", chatterbox];
    return (last = new PseudoTerminal([...command, "--min-length", "25000"], type));
  };

  test.each([1, 2])("%i ranks: Ctrl-C stops an answer and not the program, Ctrl-D ends it", async (numRanks) => {
    const terminal = start(numRanks);
    await terminal.waitFor("> ");
    for (const message of ["Hello", "Hello again"]) {
      terminal.type(`${message}\n`);
      await terminal.waitFor(/\n.{20}/s);
      terminal.type(CTRL_C);
      await terminal.waitFor("\n> ");
    }
    terminal.type(CTRL_D);
    expect(await terminal.ended).toBe(0);
  });

  test.each([1, 2])("%i ranks: Ctrl-C where a message is awaited ends the program", async (numRanks) => {
    const terminal = start(numRanks);
    await terminal.waitFor("> ");
    terminal.type(CTRL_C);
    expect(await terminal.ended).toBe(0);
  });

  test.each([
    [1, 128 + 15],
    [2, 1],
  ])("%i ranks: arrow keys bring a line back; Ctrl-\\ ends all at once", async (numRanks, exitCode) => {
    const terminal = start(numRanks, "xterm");
    await terminal.waitFor("> ");
    terminal.type("/what\n");
    await terminal.waitFor("There is no /what");
    await terminal.waitFor("> ");
    terminal.type(`${UP}ever\n`);
    await terminal.waitFor("There is no /whatever");
    terminal.type("Hello\n");
    await terminal.waitFor(/Hello\s.{20}/s);
    terminal.type(CTRL_BACKSLASH);
    expect(await terminal.ended).toBe(exitCode);
  });
});
