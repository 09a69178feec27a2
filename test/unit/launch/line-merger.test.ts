import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import fc from "fast-check";
import { LineMerger } from "../../../src/launch/line-merger.ts";

let written = "";
let merger: LineMerger;

beforeEach(() => {
  jest.useFakeTimers();
  written = "";
  merger = new LineMerger((bytes) => (written += bytes.toString("latin1")));
});

afterEach(() => {
  jest.useRealTimers();
});

function push(source: number, text: string): void {
  merger.push(source, Buffer.from(text, "latin1"));
}

test("whole lines go out at once, whoever they come from", () => {
  push(0, "a\nb\n");
  push(1, "c\n");
  expect(written).toBe("a\nb\nc\n");
});

test("an unfinished line waits for its end while others go on", () => {
  push(0, "a");
  push(1, "b\n");
  push(0, "c\nd");
  expect(written).toBe("b\nac\n");
  push(0, "\n");
  expect(written).toBe("b\nac\nd\n");
});

describe("a line that stays unfinished", () => {
  beforeEach(() => {
    push(0, "Once");
    expect(written).toBe("");
    jest.advanceTimersByTime(20);
    expect(written).toBe("Once");
  });

  test("goes on as it comes, and the others wait for its end", () => {
    push(1, "b\n");
    push(0, " upon");
    expect(written).toBe("Once upon");
    push(0, " a time\n");
    expect(written).toBe("Once upon a time\nb\n");
  });

  test("is broken when its source falls silent while others wait", () => {
    push(1, "b\n");
    jest.advanceTimersByTime(900);
    push(0, " upon");
    jest.advanceTimersByTime(999);
    expect(written).toBe("Once upon");
    jest.advanceTimersByTime(1);
    expect(written).toBe("Once upon\nb\n");
  });

  test("is not broken when nobody waits", () => {
    jest.advanceTimersByTime(10_000);
    push(0, "\n");
    expect(written).toBe("Once\n");
  });

  test("is broken when what waits would fill the memory", () => {
    push(1, `${"x".repeat(64 * 1024 * 1024)}\n`);
    expect(written.slice(0, 6)).toBe("Once\nx");
    expect(written).toHaveLength(5 + 64 * 1024 * 1024 + 1);
  });

  test("is ended before another source writes, once its own has ended", () => {
    merger.end(0);
    expect(written).toBe("Once");
    push(1, "b\n");
    expect(written).toBe("Once\nb\n");
  });
});

test("a very long line gets the floor before it is finished", () => {
  push(0, "x".repeat(70_000));
  expect(written).toHaveLength(70_000);
});

test("the last line goes out without a newline, and none is added", () => {
  push(0, "a\nb");
  merger.end(0);
  expect(written).toBe("a\nb");
  merger.flush();
  expect(written).toBe("a\nb");
});

test("flush lets out what everybody holds", () => {
  push(0, "a");
  push(1, "b");
  merger.flush();
  expect(written).toBe("a\nb");
});

test("no line is lost, torn or moved against others of its source, however it is chunked", () => {
  const line = fc.string({ unit: fc.constantFrom("x", "y"), maxLength: 5 });
  const event = fc.record({
    source: fc.nat(2),
    text: fc.array(line, { maxLength: 4 }),
    waitMs: fc.constantFrom(0, 0, 15, 30),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      written = "";
      merger = new LineMerger((bytes) => (written += bytes.toString("latin1")));
      const sent = ["", "", ""];
      for (const { source, text, waitMs } of events) {
        const chunk = text.join("\n").replaceAll(/[xy]/g, (letter) => (letter === "x" ? String(source) : letter));
        sent[source] += chunk;
        push(source, chunk);
        jest.advanceTimersByTime(waitMs);
      }
      sent.forEach((text, source) => {
        if (text !== "" && !text.endsWith("\n")) sent[source] += "\n";
        push(source, sent[source]!.slice(text.length));
        merger.end(source);
      });
      merger.flush();
      const linesOf = (text: string): string[] => text.split("\n").slice(0, -1);
      expect(linesOf(written).sort()).toEqual(sent.flatMap(linesOf).sort());
      for (const [source, text] of sent.entries()) {
        const own = (each: string): boolean => each.includes(String(source));
        expect(linesOf(written).filter(own)).toEqual(linesOf(text).filter(own));
      }
    }),
  );
});
