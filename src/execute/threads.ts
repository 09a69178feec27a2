/** How many compute threads a rank's session gets. */
import { availableParallelism } from "node:os";

/** CTranslate2's default for intra_threads. */
const DEFAULT_INTRA_THREADS = 4;

/**
 * @param requested intraThreads: 0 = OMP_NUM_THREADS, else min(4, cores this rank may use); "auto" = all cores this rank may use
 * @param ompNumThreads OMP_NUM_THREADS when valid
 * @param localWorldSize ranks that share this host's cores
 */
export function resolveIntraThreads(
  requested: number | "auto",
  ompNumThreads: number | undefined,
  localWorldSize: number,
): number {
  if (typeof requested === "number" && requested > 0) {
    return requested;
  }
  const coresPerRank = Math.max(1, Math.floor(availableParallelism() / localWorldSize));
  if (requested === "auto") {
    return coresPerRank;
  }
  return ompNumThreads ?? Math.min(DEFAULT_INTRA_THREADS, coresPerRank);
}
