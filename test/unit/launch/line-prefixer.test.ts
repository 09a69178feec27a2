import { expect, test } from "@jest/globals";
import { LinePrefixer } from "../../../src/launch/line-prefixer.ts";

test.each([1, 2, 3, 100])("every line gets one prefix, in chunks of %i bytes", (chunkBytes) => {
  const text = "a\n\nbcd\nlast";
  const prefixer = new LinePrefixer(() => "> ");
  let out = "";
  for (let start = 0; start < text.length; start += chunkBytes) {
    out += prefixer.apply(Buffer.from(text.slice(start, start + chunkBytes))).toString();
  }
  expect(out).toBe("> a\n> \n> bcd\n> last");
});

test("the prefix is asked for at the start of each line", () => {
  let line = 0;
  const prefixer = new LinePrefixer(() => `${++line}:`);
  expect(prefixer.apply(Buffer.from("a\nb")).toString()).toBe("1:a\n2:b");
  expect(prefixer.apply(Buffer.from("b\nc")).toString()).toBe("b\n3:c");
});
