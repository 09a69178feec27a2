/**
 * A conversation with one host: an agent is started there as for a run, and answer.ts by it. In: a host. Out: answers to
 * questions, or the one sentence that says why the host cannot take part.
 */
import { definedVariables, type Variables } from "../environment.ts";
import { LaunchError } from "../errors.ts";
import { AgentConnection } from "../launch/agent-connection.ts";
import type { AgentHello } from "../launch/job.ts";
import { describeExit } from "../launch/outcome.ts";
import type { ReachableHost } from "../launch/targets.ts";
import type { Answer, AnswerLine, Asked, QuestionKind, QuestionLine } from "./questions.ts";

const ENTRY = "check/answer.js";
/** Longer than any answer takes that is ever given. */
const ANSWER_LIMIT_MS = 30_000;

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: LaunchError) => void;
}

export class Inquiry {
  readonly hello: AgentHello;
  readonly #host: string;
  readonly #agent: AgentConnection;
  readonly #pending = new Map<number, Pending>();
  #numAsked = 0;
  #unread = "";
  #said = "";
  #failure: LaunchError | undefined;

  private constructor(host: string, agent: AgentConnection, hello: AgentHello, variables: Variables | undefined) {
    this.#host = host;
    this.#agent = agent;
    this.hello = hello;
    agent.start(
      {
        host,
        command: [],
        entry: ENTRY,
        workingDirectory: "/",
        environment: variables === undefined ? {} : definedVariables(variables),
        addsHostEnvironment: variables === undefined,
        ranks: [{ rank: 0, environment: {} }],
        stdinRank: 0,
      },
      {
        refused: ({ message }) => this.#fail(message),
        started: () => {},
        joining: () => {},
        output: (_, stream, chunk) => this.#read(stream, chunk.toString("utf8")),
        stdinTaken: () => {},
        exited: (exit) => this.#fail(`The ${describeExit(exit)}: ${this.#said.trim() || "it says nothing"}.`),
        ended: () => {},
      },
    );
    void agent.gone.then((failure) => failure !== undefined && this.#fail(failure));
  }

  /** Reaches a host. @throws {LaunchError} when it cannot take part */
  static async open({ target, prepare }: ReachableHost, variables: Variables): Promise<Inquiry> {
    await prepare();
    const agent = new AgentConnection(target, variables);
    const hello = await agent.hello;
    return new Inquiry(target.name, agent, hello, target.ssh === undefined ? variables : undefined);
  }

  /** Asks one thing. @throws {LaunchError} when the host does not answer */
  async ask<Kind extends QuestionKind>(kind: Kind, asked: Asked<Kind>): Promise<Answer<Kind>> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = this.#numAsked++;
    const timer = setTimeout(
      () => this.#fail(`Host "${this.#host}" did not answer within ${ANSWER_LIMIT_MS / 1000} s (${kind}).`),
      ANSWER_LIMIT_MS,
    );
    try {
      return await new Promise<Answer<Kind>>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        this.#agent.writeStdin(Buffer.from(`${JSON.stringify({ id, kind, asked } satisfies QuestionLine)}\n`));
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks one thing; a host that does not answer is an answer, too. */
  async try<Kind extends QuestionKind>(
    kind: Kind,
    asked: Asked<Kind>,
  ): Promise<Answer<Kind> | { readonly failure: string }> {
    try {
      return await this.ask(kind, asked);
    } catch (error) {
      return { failure: (error as Error).message };
    }
  }

  /** Ends the conversation; resolves when nothing of it is left on the host. */
  async close(): Promise<void> {
    this.#agent.terminate(0);
    await this.#agent.gone;
  }

  #read(stream: "stdout" | "stderr", text: string): void {
    if (stream === "stderr") {
      this.#said += text;
      return;
    }
    const lines = (this.#unread + text).split("\n");
    this.#unread = lines.pop()!;
    for (const line of lines) {
      const { id, answer } = JSON.parse(line) as AnswerLine;
      this.#pending.get(id)?.resolve(answer as never);
      this.#pending.delete(id);
    }
  }

  #fail(message: string): void {
    this.#failure ??= new LaunchError(message, { host: this.#host });
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }
}
