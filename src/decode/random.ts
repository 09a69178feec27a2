/**
 * A small random generator whose state is data: (seed, stream) go in, uniform numbers come out, the same on every machine.
 * Each sequence has a stream of its own, so its samples do not depend on its neighbours in the batch.
 * @see Blackman and Vigna, "Scrambled linear pseudorandom number generators" (xoshiro128**), and splitmix64 for seeding
 */

/** State of xoshiro128**: [4]. */
export type RandomState = Uint32Array;

/** One splitmix64 step of a 64-bit state. */
export function splitmix64(state: bigint): { readonly state: bigint; readonly value: bigint } {
  const next = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
  let z = next;
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return { state: next, value: z ^ (z >> 31n) };
}

/** The generator of one stream; seed and stream are whole numbers of 0 or more. */
export function createRandomState(seed: number, stream: number): RandomState {
  const first = splitmix64(splitmix64(BigInt(seed)).value ^ BigInt(stream));
  const second = splitmix64(first.state);
  return Uint32Array.from([first.value, first.value >> 32n, second.value, second.value >> 32n], (word) =>
    Number(BigInt.asUintN(32, word)),
  );
}

/** The next 32 random bits (xoshiro128**); moves the state on. */
export function nextUint32(state: RandomState): number {
  const second = state[1]!;
  state[2]! ^= state[0]!;
  state[3]! ^= second;
  state[1]! ^= state[2]!;
  state[0]! ^= state[3]!;
  state[2]! ^= second << 9;
  state[3] = rotateLeft(state[3]!, 11);
  return Math.imul(rotateLeft(Math.imul(second, 5), 7), 9) >>> 0;
}

/** Uniform in [0, 1), 53 random bits. */
export function nextUniform(state: RandomState): number {
  const high = nextUint32(state) >>> 5;
  const low = nextUint32(state) >>> 6;
  return (high * 2 ** 26 + low) / 2 ** 53;
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
