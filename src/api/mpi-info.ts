/** Who this process is among the ranks: CTranslate2's MpiInfo. Valid before any model is loaded. */
import { environment } from "./world.ts";

export const MpiInfo = {
  /** This process's rank; 0 without a world. */
  getCurRank: (): number => environment.identity.rank,
  /** The number of ranks; 1 without a world. */
  getNRanks: (): number => environment.identity.worldSize,
  /** This process's rank among those of its host; 0 without a world. */
  getLocalRank: (): number => environment.identity.localRank,
} as const;
