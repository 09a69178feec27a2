import { describe, expect, test } from "@jest/globals";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beginChat, renderChat, type ChatMessage } from "../../../src/model/chat-template.ts";
import { directoryTokenizer } from "../../../src/model/tokenizer-source.ts";
import { Tokenizer } from "../../../src/model/tokenizer.ts";
import { useTemporaryDirectory } from "../../support/temporary-directory.ts";

const root = useTemporaryDirectory();
const DEMO_STORIES = join(import.meta.dirname, "../../../models/demo-stories");
const MESSAGES = beginChat("Be brief.", "Once");
const TURNS =
  "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}";

/** A directory with the tokenizer of demo-stories and these settings. */
function writeTokenizer(config: Readonly<Record<string, unknown>>, templateFile?: string): string {
  const directory = mkdtempSync(join(root, "chat-"));
  cpSync(join(DEMO_STORIES, "tokenizer.json"), join(directory, "tokenizer.json"));
  writeFileSync(join(directory, "tokenizer_config.json"), JSON.stringify(config));
  if (templateFile !== undefined) writeFileSync(join(directory, "chat_template.jinja"), templateFile);
  return directory;
}

const tokenizerOf = (...args: Parameters<typeof writeTokenizer>): Tokenizer =>
  new Tokenizer(directoryTokenizer(writeTokenizer(...args)));

function textOf(tokenizer: Tokenizer, messages: readonly ChatMessage[], options = {}): string {
  return tokenizer.decode(tokenizer.applyChatTemplate(messages, options), { skipSpecialTokens: false });
}

describe("where the template is", () => {
  const rendered = "<s>system:Be brief.</s><s>user:Once</s><s>assistant:";

  test("in its own file, before tokenizer_config.json", () => {
    expect(textOf(tokenizerOf({ chat_template: "no" }, TURNS), MESSAGES)).toBe(rendered);
  });

  test("in tokenizer_config.json, alone or among several", () => {
    expect(textOf(tokenizerOf({ chat_template: TURNS }), MESSAGES)).toBe(rendered);
    const several = [
      { name: "tool_use", template: "no" },
      { name: "default", template: TURNS },
    ];
    expect(textOf(tokenizerOf({ chat_template: several }), MESSAGES)).toBe(rendered);
  });

  test("nowhere", () => {
    for (const config of [{}, { chat_template: [{ name: "tool_use", template: "no" }] }]) {
      const directory = writeTokenizer(config);
      expect(() => new Tokenizer(directoryTokenizer(directory)).applyChatTemplate(MESSAGES)).toThrow(
        `The model of "${join(directory, "tokenizer.json")}" has no chat template, so it takes texts to continue and no conversations. ` +
          "Take a model that was trained to chat, or add its chat_template.jinja.",
      );
    }
  });
});

describe("what it makes", () => {
  test("nothing is added around it", () => {
    const tokenizer = tokenizerOf({
      chat_template: "{{ bos_token }}{{ messages[0].content }}",
      bos_token: { content: "<s>" },
    });
    expect(tokenizer.applyChatTemplate(beginChat(undefined, "Once"))).toEqual(tokenizer.encode("Once"));
  });

  test("the beginning of an answer is left out on demand", () => {
    expect(textOf(tokenizerOf({ chat_template: TURNS }), MESSAGES, { addGenerationPrompt: false })).toBe(
      "<s>system:Be brief.</s><s>user:Once</s>",
    );
  });

  test("a template that refuses, and one that is none", () => {
    const template = (text: string) => ({ text, file: "chat_template.jinja", specialTokens: {} });
    expect(() => renderChat(template("{{ raise_exception('Roles must alternate.') }}"), MESSAGES, true)).toThrow(
      'The chat template of "chat_template.jinja" failed: Roles must alternate.',
    );
    expect(() => renderChat(template("{% if %}"), MESSAGES, true)).toThrow(
      /^The chat template of "chat_template.jinja" failed: ./,
    );
  });
});

describe("the token that ends an answer", () => {
  const END = 2;

  test.each([
    ["what follows the answer", TURNS, END],
    ["after a line break", "{% for m in messages %}{{ m.content }}\n</s>{% endfor %}", END],
    ["nothing follows", "{% for m in messages %}{{ m.content }}{% endfor %}", undefined],
    ["words follow", "{% for m in messages %}{{ m.content }} end{% endfor %}", undefined],
  ])("%s", (_, template, expected) => {
    expect(tokenizerOf({ chat_template: template }).endOfTurnId).toBe(expected);
  });
});

test("a directory may lack tokenizer_config.json", () => {
  const directory = writeTokenizer({}, TURNS);
  rmSync(join(directory, "tokenizer_config.json"));
  expect(new Tokenizer(directoryTokenizer(directory)).endOfTurnId).toBe(2);
});
