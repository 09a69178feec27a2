/**
 * The single gate through which results leave: only rank 0 holds them. On every other rank a call resolves at once to a
 * stand-in, and whoever reads it is told to ask only on rank 0.
 */
import { inspect } from "node:util";
import { RankGateError } from "../errors.ts";

function refuse(rank: number, call: string): RankGateError {
  return new RankGateError(
    `The result of ${call} was read on rank ${rank}, but only rank 0 holds it. ` +
      "Wrap the code that uses it in: if (MpiInfo.getCurRank() === 0) { ... }",
    { rank },
  );
}

/** A stand-in that throws RankGateError whenever it is read; it can be awaited and passed on. */
export function gateResult<T extends object>(rank: number, call: string): T {
  const gate = (): never => {
    throw refuse(rank, call);
  };
  // console.log looks behind the proxy, at its target.
  return new Proxy({ [inspect.custom]: gate } as unknown as T, {
    // Promise resolution looks for `then` on every object; that is no reading of the result.
    get: (_, key) => (key === "then" ? undefined : gate()),
    has: gate,
    ownKeys: gate,
    getOwnPropertyDescriptor: gate,
    set: gate,
  });
}

/** A stand-in for a stream: its first next() throws RankGateError. */
export async function* gateStream<T>(rank: number, call: string): AsyncGenerator<T, void, undefined> {
  await Promise.resolve();
  throw refuse(rank, call);
  yield undefined as never;
}
