/**
 * The errors of shardrun: one base class with a stable code, few subclasses, data in fields.
 * A message says what failed, with whom, on what, how much, how long; then what to do.
 */

/** What an error knows beside its message. */
export interface ErrorDetails {
  /** The rank on which it happened, or which caused it. */
  readonly rank?: number;
  /** The host of that rank. */
  readonly host?: string;
  readonly cause?: unknown;
}

/** Base of every error that shardrun throws on purpose. `code` is stable; the message is for people. */
export class ShardrunError extends Error {
  readonly code: string;
  readonly rank: number | undefined;
  readonly host: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.rank = details.rank;
    this.host = details.host;
  }
}

/** A wrong option, argument or value handed in by the caller. */
export class UsageError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails, code = "ERR_SHARDRUN_USAGE") {
    super(code, message, details);
  }
}

/** A hostfile that cannot be used; the message begins with file:line:column. */
export class HostfileError extends UsageError {
  constructor(message: string, details?: ErrorDetails) {
    super(message, details, "ERR_SHARDRUN_HOSTFILE");
  }
}

/** A process that could not be started, or that ended badly. */
export class LaunchError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_LAUNCH", message, details);
  }
}

/** Ranks that did not find each other, or lost each other. */
export class RendezvousError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_RENDEZVOUS", message, details);
  }
}

/** A model that is missing, damaged, contradictory or of an unknown family. */
export class ModelError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_MODEL", message, details);
  }
}

/** A graph that cannot be cut for this world; names node, op, shape and remedy. */
export class PartitionError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_PARTITION", message, details);
  }
}

/** A collective that failed, timed out or was aborted; names the peer. */
export class CollectiveError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_COLLECTIVE", message, details);
  }
}

/** A step that onnxruntime or the engine could not execute. */
export class ExecutionError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_EXECUTION", message, details);
  }
}

/** A result was read on a rank that does not hold it. */
export class RankGateError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_RANK_GATE", message, details);
  }
}

/** A defect of shardrun itself. */
export class InternalError extends ShardrunError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SHARDRUN_INTERNAL", message, details);
  }
}
