import { expect, test } from "@jest/globals";
import { flattenError, reviveError } from "../../../src/engine/messages.ts";
import * as errors from "../../../src/errors.ts";

const { ShardrunError, InternalError, UsageError } = errors;

test.each(
  Object.entries(errors).flatMap(([name, Class]) =>
    Class === ShardrunError ? [] : [[name, Class as typeof InternalError] as const],
  ),
)("%s crosses to the script's thread with its class, code, rank and host", (_, Class) => {
  const thrown = new Class("It failed.", { rank: 2, host: "hosta" });
  const plain = flattenError(thrown);
  expect(structuredClone(plain)).toEqual(plain);
  const revived = reviveError(plain);
  expect(revived).toBeInstanceOf(Class);
  expect(revived).toMatchObject({
    name: thrown.name,
    code: thrown.code,
    message: "It failed.",
    rank: 2,
    host: "hosta",
  });
});

test("what is not shardrun's own becomes an InternalError that keeps the stack as its cause", () => {
  const thrown = new TypeError("x is not a function");
  const revived = reviveError(flattenError(thrown));
  expect(revived).toBeInstanceOf(InternalError);
  expect(revived).toMatchObject({ code: "ERR_SHARDRUN_INTERNAL", message: "x is not a function", cause: thrown.stack });
});

test("a thrown value that is no error is told by its text", () => {
  expect(reviveError(flattenError("out of luck"))).toMatchObject({ name: "InternalError", message: "out of luck" });
});

test("a name that is no error class of ours is not called", () => {
  const plain = { ...flattenError(new UsageError("It failed.")), name: "toString" };
  expect(reviveError(plain)).toBeInstanceOf(InternalError);
});
