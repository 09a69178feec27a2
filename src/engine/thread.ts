/**
 * Where the engine's thread begins. Its code is loaded from here, so that an installation of which a part is missing is told of at
 * once: the script's thread may already wait for the engine, and would hear of no error.
 */
import { workerData } from "node:worker_threads";
import { sayAtOnce } from "../log.ts";
import { announceEnd, ENGINE_FAILED } from "./messages.ts";
import type { EngineData } from "./worker.ts";

try {
  await import("./worker.ts");
} catch (error) {
  const { settings, state } = workerData as EngineData;
  const { rank, host } = settings.identity;
  sayAtOnce(`rank ${rank} (${host}): shardrun could not be loaded, install it anew: ${(error as Error).message}`);
  announceEnd(state, ENGINE_FAILED);
  throw error;
}
