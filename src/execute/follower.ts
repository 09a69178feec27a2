/**
 * Every other rank follows: it waits for the leader's next command, for as long as that takes, and carries out its part.
 * Returns when the communicator is aborted because the leader has left; any other failure is thrown.
 */
import type { Rank } from "./rank.ts";
import { decodeCommand } from "./step.ts";

/**
 * @param hasEnded whether the leader has left, asked when waiting fails
 * @throws {ShardrunError} the first failure; the other ranks must then be told, for they may wait in a collective
 */
export async function follow(rank: Rank, hasEnded: () => Promise<boolean>): Promise<void> {
  for (;;) {
    let message: Uint8Array;
    try {
      message = await rank.communicator.broadcastMessage(undefined, 0, { label: "next command", timeoutMs: 0 });
    } catch (error) {
      if (await hasEnded()) {
        return;
      }
      throw error;
    }
    await rank.apply(decodeCommand(message));
  }
}
