/** What the rendezvous thread and the thread that uses it say to each other. */
import type { Environment } from "../environment.ts";
import type { RankFailure } from "./failure.ts";
import type { HeartbeatTiming } from "./heartbeat.ts";
import type { MeetingPoint } from "./meeting-point.ts";

/** A rank as the world knows it. */
export interface WorldPeer {
  readonly rank: number;
  /** Unlike that of every other host of the run. */
  readonly host: string;
  readonly pid: number;
  /** Where its collectives are reached; opaque here. */
  readonly address: string;
}

export interface World {
  /** In rank order, this rank included. */
  readonly peers: readonly WorldPeer[];
}

export interface WorkerOptions {
  readonly environment: Environment;
  readonly meetingPoint: MeetingPoint;
  readonly dataAddress: string;
  readonly timing: HeartbeatTiming;
}

export type WorkerRequest =
  /** Tell the others that this rank ends with this code, then end the thread. */
  | { readonly kind: "leave"; readonly exitCode: number }
  /** Tell everyone that the data connection to this rank failed. */
  | { readonly kind: "report"; readonly rank: number; readonly reason: string }
  /** Open this rank's ends of the bridge to all peers. */
  | { readonly kind: "openBridge" }
  /** Everyone has come. */
  | { readonly kind: "closeBridge" };

export type WorkerEvent =
  | { readonly kind: "joined"; readonly world: World }
  | { readonly kind: "refused"; readonly message: string }
  /** The peers, each at the address of this rank's end of the bridge to it. */
  | { readonly kind: "bridged"; readonly world: World }
  | { readonly kind: "failed"; readonly failure: RankFailure }
  | { readonly kind: "left"; readonly rank: number };
