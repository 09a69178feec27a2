/** `shardrun generate --chat` on a model with a chat template. */
import { describe, expect, test } from "@jest/globals";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runShardrun } from "../support/run-shardrun.ts";
import { useTemporaryDirectory } from "../support/temporary-directory.ts";

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
