/**
 * The agents of all hosts as the launcher sees them: started in parallel, each handed its job, and told everything at
 * once. The group is gone when every agent is, and when one is lost the others' ranks are ended.
 */
import type { Variables } from "../environment.ts";
import { AgentConnection, type AgentEvents } from "./agent-connection.ts";
import type { AgentHello, AgentJob } from "./job.ts";
import type { ReachableHost } from "./targets.ts";

const LOSS_GRACE_MS = 500;

export class AgentGroup {
  readonly #agents = new Map<string, AgentConnection>();
  readonly #variables: Variables;

  constructor(variables: Variables) {
    this.#variables = variables;
  }

  /**
   * Starts the agents of these hosts, but for those that are there; what they say of their hosts, in the same order.
   * @throws {LaunchError} when one cannot be started; no agent is left then
   */
  async connect(hosts: readonly ReachableHost[]): Promise<readonly AgentHello[]> {
    try {
      const added = hosts.filter(({ target }) => !this.#agents.has(target.name));
      const preparations = await Promise.allSettled(added.map(({ prepare }) => prepare()));
      const failed = preparations.find(({ status }) => status === "rejected") as PromiseRejectedResult | undefined;
      if (failed !== undefined) throw failed.reason;
      for (const { target } of added) this.#agents.set(target.name, new AgentConnection(target, this.#variables));
      return await Promise.all(hosts.map(({ target }) => this.agentOf(target.name).hello));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The agent of a host that was connected. */
  agentOf(host: string): AgentConnection {
    return this.#agents.get(host)!;
  }

  /** Hands each job to the agent of its host, and lets go of the agents that have none. */
  start(jobs: readonly AgentJob[], events: AgentEvents): void {
    for (const [host, agent] of this.#agents) {
      const job = jobs.find((each) => each.host === host);
      if (job === undefined) agent.close();
      else agent.start(job, events);
    }
  }

  /** Resolves when all agents and their ranks are gone: to what was first wrong with one, if anything. */
  async gone(): Promise<string | undefined> {
    const failures: string[] = [];
    await Promise.all(
      [...this.#agents.values()].map(async (agent) => {
        const failure = await agent.gone;
        if (failure === undefined) return;
        failures.push(failure);
        this.terminate(LOSS_GRACE_MS);
      }),
    );
    return failures[0];
  }

  /** Lets agents without a job go; resolves when they are gone. */
  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    for (const agent of agents) agent.close();
    await Promise.all(agents.map((agent) => agent.gone));
  }

  /** Hands a signal on to every rank; resolves when it is under way. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.signal(signal)));
  }

  /** From now on, ranks that are stopped before they have joined the others are killed. */
  watchStopped(): void {
    for (const agent of this.#agents.values()) agent.watchStopped();
  }

  /** Ends every rank: SIGTERM, after the grace SIGKILL; at once where the grace is 0. */
  terminate(graceMs: number): void {
    for (const agent of this.#agents.values()) agent.terminate(graceMs);
  }

  /** Stops reading what the agents send, which in the end stops the ranks that write. */
  pause(): void {
    for (const agent of this.#agents.values()) agent.pause();
  }

  resume(): void {
    for (const agent of this.#agents.values()) agent.resume();
  }
}
