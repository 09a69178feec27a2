/**
 * Open MPI's hostfile: text in, hosts with their slots out.
 *
 *     # comment; C's two kinds of comments are understood too
 *     hosta slots=2 max_slots=4
 *     user@hostb slots = 2 port=2222 weight=0.5 devices=0,1    the last three are our own additions
 *     192.168.0.7                  no slots: as many as it has cores
 *     ^hostc                       never use this one
 *
 * Whatever cannot be understood is an error that says where and what was expected.
 * @see https://docs.open-mpi.org/en/v5.0.x/launching-apps/scheduling.html (hostfiles); shared rules with 4.1
 */
import { readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { HostfileError } from "../errors.ts";
import { type HostSettings, SETTING_OF_KEY } from "./hostfile-settings.ts";
import { canonicalHostName, groupByHost } from "./this-host.ts";

/** A host as a hostfile describes it, all of its lines together; without slots it has as many as cores. */
export interface HostfileHost extends Omit<HostSettings, "maxSlots"> {
  readonly name: string;
  /** As whom ssh logs in; undefined: as the user's ssh configuration says. */
  readonly user?: string;
}

/** Reads a hostfile from disk. @throws {HostfileError} when it is missing or malformed */
export function readHostfile(path: string): readonly HostfileHost[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new HostfileError(
      `Could not read the hostfile "${path}": ${(error as Error).message}. Check the path given with -hostfile.`,
      { cause: error },
    );
  }
  return parseHostfile(text, path);
}

/** Understands a hostfile's text; `path` is for messages. @throws {HostfileError} at the first mistake */
export function parseHostfile(text: string, path: string): readonly HostfileHost[] {
  const lines = splitIntoLines(tokenize(text, path)).map((tokens) => parseLine(tokens, path));
  const excluded = new Set(lines.filter((line) => line.isExcluded).map((line) => canonicalHostName(line.name)));
  const hosts = mergeLines(lines.filter((line) => !excluded.has(canonicalHostName(line.name))));
  if (hosts.length === 0) {
    throw new HostfileError(`${path}:1:1: expected at least one host, e.g. "localhost slots=2"; found none.`);
  }
  return hosts;
}

interface Token {
  readonly kind: "word" | "equals" | "newline";
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

interface HostLine extends HostfileHost {
  readonly isExcluded: boolean;
  readonly place: string;
  readonly line: number;
}

/** Comments and blanks are dropped; a quoted text is one word, quotes included. */
const TOKEN =
  /(?<comment>#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/)|(?<newline>\n)|(?<blank>[^\S\n]+)|(?<equals>=)|(?<word>"[^"\n]*"|(?:(?!\/\/|\/\*)[^\s=#])+)/y;

function tokenize(text: string, path: string): readonly Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  for (let offset = 0; offset < text.length;) {
    const column = offset - lineStart + 1;
    TOKEN.lastIndex = offset;
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) throw new HostfileError(`${path}:${line}:${column}: expected "*/" to end this comment.`);
    const { comment, newline, equals, word } = groups;
    if (newline !== undefined) tokens.push({ kind: "newline", text: newline, line, column });
    else if (equals !== undefined) tokens.push({ kind: "equals", text: equals, line, column });
    else if (word !== undefined) tokens.push({ kind: "word", text: word, line, column });
    const lineBreaks = (newline ?? comment ?? "").split("\n").length - 1;
    offset = TOKEN.lastIndex;
    if (lineBreaks > 0) {
      line += lineBreaks;
      lineStart = text.lastIndexOf("\n", offset - 1) + 1;
    }
  }
  return tokens;
}

function splitIntoLines(tokens: readonly Token[]): readonly (readonly Token[])[] {
  const lines: Token[][] = [[]];
  for (const token of tokens) {
    if (token.kind === "newline") lines.push([]);
    else lines.at(-1)!.push(token);
  }
  return lines.filter((line) => line.length > 0);
}

function parseLine(tokens: readonly Token[], path: string): HostLine {
  const [first, ...rest] = tokens as [Token, ...Token[]];
  const place = `${path}:${first.line}:${first.column}`;
  const host = parseHostName(first, place);
  const values: Partial<Record<keyof HostSettings, number | readonly number[]>> = {};
  for (let index = 0; index < rest.length; index += 3) {
    const key = rest[index]!;
    const hasValue = rest[index + 1]?.kind === "equals";
    const value = hasValue ? rest[index + 2] : undefined;
    const received = `"${key.text}${hasValue ? "=" : ""}${value?.text ?? ""}"`;
    const at = `${path}:${key.line}:${key.column}`;
    const kind = SETTING_OF_KEY.get(key.text);
    if (kind === undefined) {
      throw new HostfileError(`${at}: expected slots=, max_slots=, port=, weight= or devices=, received ${received}.`);
    }
    const read = kind.read(value?.text ?? "");
    if (read === undefined) {
      throw new HostfileError(`${at}: expected ${key.text}=${kind.expected}, received ${received}.`);
    }
    if (values[kind.setting] !== undefined) {
      throw new HostfileError(`${at}: expected ${key.text}= once for a host, received ${received} as well.`);
    }
    values[kind.setting] = read;
  }
  const { slots, maxSlots, port, weight, devices } = values as HostSettings;
  if (slots !== undefined && maxSlots !== undefined && maxSlots < slots) {
    throw new HostfileError(
      `${place}: expected max_slots of at least slots=${slots}, received "max_slots=${maxSlots}".`,
    );
  }
  return { ...host, slots: slots ?? maxSlots, port, weight, devices, place, line: first.line };
}

function parseHostName(token: Token, place: string): Pick<HostLine, "name" | "user" | "isExcluded"> {
  const match = /^(?<exclude>\^)?(?:(?<user>(?!-)[^@]+)@)?(?<name>[^@]+)$/.exec(token.text); // a user "-F..." would be an option of ssh
  const { exclude, user, name = "" } = match?.groups ?? {};
  const address = name.replace(/^\[(.*)\]$/, "$1");
  if (isIPv6(address) || /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)) {
    return { name: address, user, isExcluded: exclude !== undefined };
  }
  const colonForm = /^([^:]+):(\d+)$/.exec(name);
  const remedy = colonForm === null ? "" : ` Write "${colonForm[1]} slots=${colonForm[2]}"; the colon form is for -H.`;
  throw new HostfileError(`${place}: expected a host name or address, received "${token.text}".${remedy}`);
}

/**
 * One host may stand on several lines. Each line without slots counts for one slot, unless it is the only one (then:
 * all cores); its number of slots may be given once, as in Open MPI 4.
 */
function mergeLines(lines: readonly HostLine[]): readonly HostfileHost[] {
  return groupByHost(lines).map((ofHost) => {
    const [first] = ofHost;
    const [given, again] = ofHost.filter((line) => line.slots !== undefined);
    if (given !== undefined && again !== undefined) {
      throw new HostfileError(
        `${again.place}: expected the slots of host ${again.name} once; line ${given.line} gives them already. ` +
          `Add them up on one line.`,
      );
    }
    const numBareLines = ofHost.length - (given === undefined ? 0 : 1);
    const slots = ofHost.length === 1 ? first.slots : (given?.slots ?? 0) + numBareLines;
    const firstSaid = <Key extends keyof HostfileHost>(key: Key): HostfileHost[Key] | undefined =>
      ofHost.find((line) => line[key] !== undefined)?.[key];
    return {
      name: first.name,
      slots,
      user: firstSaid("user"),
      port: firstSaid("port"),
      weight: firstSaid("weight"),
      devices: firstSaid("devices"),
    };
  });
}
