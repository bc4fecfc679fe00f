/**
 * Regular expressions that take linear time (S26): a pattern becomes a lazily built automaton, which reads each
 * character once. What cannot be had that way (references back, looking around) is refused when the pattern is read.
 *
 * @see https://swtch.com/~rsc/regexp/regexp1.html
 */

/** A pattern that cannot be used. The message completes "the pattern …". */
export class PatternError extends Error {
  override readonly name = "PatternError";
}

/** Inclusive ranges of UTF-16 code units, sorted, apart from each other. */
export type Ranges = readonly (readonly [from: number, to: number])[];

type Node =
  | { readonly kind: "set"; readonly ranges: Ranges }
  | { readonly kind: "all"; readonly nodes: readonly Node[] }
  | { readonly kind: "any"; readonly nodes: readonly Node[] }
  | { readonly kind: "repeat"; readonly node: Node; readonly min: number; readonly max: number };

const LAST_UNIT = 0xffff;
const MAX_SOURCE_LENGTH = 2_000;
const MAX_DEPTH = 50;
const MAX_STATES = 4_000;
/** Built states of the automaton; beyond, it is built anew as it is needed. */
const MAX_BUILT = 1_000;

const DIGITS: Ranges = [[0x30, 0x39]];
const WORD: Ranges = normalised([
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
]);
const SPACE: Ranges = normalised([
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);
const ESCAPED_CLASSES: Readonly<Record<string, Ranges>> = {
  d: DIGITS,
  D: inverse(DIGITS),
  w: WORD,
  W: inverse(WORD),
  s: SPACE,
  S: inverse(SPACE),
};
const ESCAPED_CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };

export interface LinearPatternOptions {
  readonly ignoreCase?: boolean | undefined;
  /** Longer matches are not found. */
  readonly maxLength: number;
}

/** What is known of matches that begin at one place. */
export interface Attempt {
  /** Lengths of possible matches, the longest last. */
  readonly lengths: readonly number[];
  /** More text could bring a longer match, or the first. */
  readonly isOpen: boolean;
}

const NOTHING: Attempt = { lengths: [], isOpen: false };

/** An attempt that goes on where it stopped, when more text has come. */
class ResumableAttempt implements Attempt {
  constructor(
    readonly lengths: number[],
    public isOpen: boolean,
    /** Characters read. */
    public readLength: number,
    public state: BuiltState,
  ) {}
}

interface BuiltState {
  readonly isAccepting: boolean;
  /** Has a way on. */
  readonly isAlive: boolean;
  readonly nodes: readonly number[];
  /** By class of characters. */
  readonly next: (BuiltState | undefined)[];
}

/** One pattern. It has no state that outlives a call but for what it has built of its automaton. */
export class LinearPattern {
  readonly maxLength: number;
  /** `\b` at the begin and the end of the pattern. */
  readonly startsAtBoundary: boolean;
  readonly endsAtBoundary: boolean;
  /** Characters read by all calls so far: what its cost is measured by. */
  steps = 0;
  /** Per state: what it reads and where that leads, or the states that it stands for. */
  readonly #reads: (Ranges | undefined)[] = [];
  readonly #leads: (readonly number[])[] = [];
  readonly #start: number;
  readonly #accept: number;
  readonly #classStarts: readonly number[];
  readonly #asciiClasses: Uint16Array;
  #built = new Map<string, BuiltState>();
  #first: BuiltState | undefined;

  /** @throws {PatternError} the pattern is broken, too large, or not a regular one. */
  constructor(source: string, { ignoreCase = false, maxLength }: LinearPatternOptions) {
    this.maxLength = maxLength;
    const parsed = new PatternParser(source, ignoreCase).parse();
    this.startsAtBoundary = parsed.startsAtBoundary;
    this.endsAtBoundary = parsed.endsAtBoundary;
    this.#accept = this.#add(undefined, []);
    this.#start = this.#compile(parsed.node, this.#accept);
    const starts = new Set([0]);
    for (const ranges of this.#reads) {
      for (const [from, to] of ranges ?? []) {
        starts.add(from);
        if (to < LAST_UNIT) starts.add(to + 1);
      }
    }
    this.#classStarts = [...starts].sort((a, b) => a - b);
    this.#asciiClasses = Uint16Array.from({ length: 128 }, (_, unit) => this.#findClass(unit));
    if (this.#firstState().isAccepting) throw new PatternError("matches the empty text");
  }

  /** Whether a match can begin with this code unit. */
  canStartWith(unit: number): boolean {
    const next = this.#step(this.#firstState(), unit);
    return next.isAlive || next.isAccepting;
  }

  get canStartBeyondAscii(): boolean {
    return this.#classStarts.some((start, place) => {
      const isBeyond = (this.#classStarts[place + 1] ?? LAST_UNIT + 1) > 128;
      return isBeyond && this.canStartWith(Math.max(start, 128));
    });
  }

  /**
   * Reads on from `start`, which is a place where a match may begin.
   * @param earlier - What this returned for the same place when less of the text had come: that is not read again.
   */
  attempt(text: string, start: number, earlier?: Attempt): Attempt {
    const resumed = earlier instanceof ResumableAttempt ? earlier : undefined;
    if (earlier && !resumed?.isOpen) return earlier;
    const limit = Math.min(text.length, start + this.maxLength);
    let lengths = resumed?.lengths;
    let state = resumed?.state ?? this.#firstState();
    const from = start + (resumed?.readLength ?? 0);
    let at = from;
    while (at < limit && state.isAlive) {
      state = this.#step(state, text.charCodeAt(at++));
      if (state.isAccepting) (lengths ??= []).push(at - start);
    }
    this.steps += at - from;
    const isOpen = state.isAlive && at === text.length && at < start + this.maxLength;
    if (resumed) {
      resumed.isOpen = isOpen;
      resumed.readLength = at - start;
      resumed.state = state;
      return resumed;
    }
    // Most places are none: they make no garbage.
    return lengths || isOpen ? new ResumableAttempt(lengths ?? [], isOpen, at - start, state) : NOTHING;
  }

  #firstState(): BuiltState {
    this.#first ??= this.#build([this.#start]);
    return this.#first;
  }

  #step(state: BuiltState, unit: number): BuiltState {
    const unitClass = unit < 128 ? (this.#asciiClasses[unit] ?? 0) : this.#findClass(unit);
    return (state.next[unitClass] ??= this.#build(
      state.nodes.flatMap((node) => (contains(this.#reads[node] ?? [], unit) ? (this.#leads[node] ?? []) : [])),
    ));
  }

  #build(nodes: readonly number[]): BuiltState {
    const reached = new Set<number>();
    const open = [...nodes];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      if (reached.has(node)) continue;
      reached.add(node);
      if (!this.#reads[node]) open.push(...(this.#leads[node] ?? []));
    }
    const reading = [...reached].filter((node) => this.#reads[node]).sort((a, b) => a - b);
    const isAccepting = reached.has(this.#accept);
    const key = `${isAccepting} ${reading.join()}`;
    let built = this.#built.get(key);
    if (!built) {
      if (this.#built.size >= MAX_BUILT) {
        // The states in use stay alive through who holds them; none of the old ones is found again.
        this.#built = new Map();
        this.#first = undefined;
      }
      built = { isAccepting, isAlive: reading.length > 0, nodes: reading, next: [] };
      this.#built.set(key, built);
    }
    return built;
  }

  #findClass(unit: number): number {
    let low = 0;
    let high = this.#classStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#classStarts[middle] ?? 0) <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #add(reads: Ranges | undefined, leads: readonly number[]): number {
    if (this.#reads.length >= MAX_STATES) throw new PatternError("is too large");
    this.#leads.push(leads);
    return this.#reads.push(reads) - 1;
  }

  /** @returns the state from which `node` is read, and `next` after it. */
  #compile(node: Node, next: number): number {
    switch (node.kind) {
      case "set":
        return this.#add(node.ranges, [next]);
      case "all":
        return node.nodes.reduceRight((after, child) => this.#compile(child, after), next);
      case "any":
        return this.#add(
          undefined,
          node.nodes.map((child) => this.#compile(child, next)),
        );
      case "repeat": {
        let after = next;
        if (node.max === Number.POSITIVE_INFINITY) {
          const loop = this.#add(undefined, []);
          this.#leads[loop] = [this.#compile(node.node, loop), next];
          after = loop;
        } else {
          for (let count = node.min; count < node.max; count++) {
            after = this.#add(undefined, [this.#compile(node.node, after), next]);
          }
        }
        for (let count = 0; count < node.min; count++) after = this.#compile(node.node, after);
        return after;
      }
    }
  }
}

/** JavaScript's syntax, as far as it is regular. */
class PatternParser {
  #at = 0;
  #depth = 0;

  constructor(
    private readonly source: string,
    private readonly ignoreCase: boolean,
  ) {
    if (source.length > MAX_SOURCE_LENGTH) throw new PatternError(`is longer than ${MAX_SOURCE_LENGTH} characters`);
  }

  parse(): { node: Node; startsAtBoundary: boolean; endsAtBoundary: boolean } {
    const startsAtBoundary = this.#take("\\b");
    const node = this.#alternatives();
    const endsAtBoundary = this.#take("\\b");
    if (this.#at < this.source.length) {
      throw new PatternError(
        this.source[this.#at] === ")" ? "closes a group that is not open" : "has `\\b` elsewhere than at its two ends",
      );
    }
    return { node, startsAtBoundary, endsAtBoundary };
  }

  #take(text: string): boolean {
    const isThere = this.source.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #alternatives(): Node {
    const nodes = [this.#sequence()];
    while (this.#take("|")) nodes.push(this.#sequence());
    const [first] = nodes;
    return nodes.length === 1 && first ? first : { kind: "any", nodes };
  }

  #sequence(): Node {
    const nodes: Node[] = [];
    while (this.#at < this.source.length && !/^(?:\||\)|\\b)/.test(this.source.slice(this.#at, this.#at + 2))) {
      nodes.push(this.#repeated(this.#atom()));
    }
    return { kind: "all", nodes };
  }

  #repeated(node: Node): Node {
    let min: number;
    let max: number;
    const counted = /^\{(\d{1,4})(,)?(\d{1,4})?\}/.exec(this.source.slice(this.#at, this.#at + 12));
    if (this.#take("*")) [min, max] = [0, Number.POSITIVE_INFINITY];
    else if (this.#take("+")) [min, max] = [1, Number.POSITIVE_INFINITY];
    else if (this.#take("?")) [min, max] = [0, 1];
    else if (counted) {
      const [whole, from = "", comma, to] = counted;
      this.#at += whole.length;
      min = Number(from);
      max = to !== undefined ? Number(to) : comma ? Number.POSITIVE_INFINITY : min;
      if (max < min) throw new PatternError("has a repetition whose bounds are the wrong way round");
    } else return node;
    if (/^[?+*{]/.test(this.source.slice(this.#at, this.#at + 1))) {
      throw new PatternError("repeats a repetition, or wants the shortest match: matches are the longest ones");
    }
    return { kind: "repeat", node, min, max };
  }

  #atom(): Node {
    const character = this.source[this.#at] ?? "";
    if (character === "(") return this.#group();
    if (character === "[") return this.#set(this.#class());
    if (character === ".") {
      this.#at++;
      return this.#set(
        inverse(
          normalised([
            [10, 10],
            [13, 13],
            [0x2028, 0x2029],
          ]),
        ),
      );
    }
    if (character === "\\") return this.#set(this.#escape());
    if (/[*+?{^$]/.test(character)) {
      throw new PatternError(
        /[\^$]/.test(character) ? `has \`${character}\`: a text has no ends while it streams` : "repeats nothing",
      );
    }
    this.#at++;
    return this.#set([[character.charCodeAt(0), character.charCodeAt(0)]]);
  }

  #set(ranges: Ranges): Node {
    return { kind: "set", ranges: this.ignoreCase ? withBothCases(ranges) : ranges };
  }

  #group(): Node {
    this.#at++;
    if (++this.#depth > MAX_DEPTH) throw new PatternError("is nested too deeply");
    if (!this.#take("?:") && !/^\?<[A-Za-z]/.test(this.source.slice(this.#at, this.#at + 3)) && this.#take("?")) {
      throw new PatternError("looks ahead or behind, which takes no linear time");
    }
    if (this.#take("?<")) {
      const close = this.source.indexOf(">", this.#at);
      if (close === -1) throw new PatternError("has a group whose name does not end");
      this.#at = close + 1;
    }
    const node = this.#alternatives();
    if (!this.#take(")")) {
      throw new PatternError(
        this.source.startsWith("\\b", this.#at)
          ? "has `\\b` elsewhere than at its two ends"
          : "has a group that does not end",
      );
    }
    this.#depth--;
    return node;
  }

  /** Of the escape that begins here. */
  #escape(): Ranges {
    this.#at++;
    const letter = this.source[this.#at++];
    if (letter === undefined) throw new PatternError("ends in a backslash");
    const known = Object.hasOwn(ESCAPED_CLASSES, letter) ? ESCAPED_CLASSES[letter] : undefined;
    if (known) return known;
    const hexLength = letter === "x" ? 2 : letter === "u" ? 4 : 0;
    if (hexLength > 0) {
      const hex = this.source.slice(this.#at, this.#at + hexLength);
      if (!/^[0-9a-fA-F]+$/.test(hex) || hex.length < hexLength) {
        throw new PatternError(`has a \`\\${letter}\` without ${hexLength} hexadecimal digits`);
      }
      this.#at += hexLength;
      return one(Number.parseInt(hex, 16));
    }
    const control = Object.hasOwn(ESCAPED_CONTROLS, letter) ? ESCAPED_CONTROLS[letter] : undefined;
    if (control !== undefined) return one(control);
    if (/[A-Za-z1-9]/.test(letter)) {
      throw new PatternError(
        `has \`\\${letter}\`, which ${/\d|k/.test(letter) ? "refers back and takes no linear time" : "is not known here"}`,
      );
    }
    return one(letter.charCodeAt(0));
  }

  #class(): Ranges {
    this.#at++;
    const isInverse = this.#take("^");
    const ranges: (readonly [number, number])[] = [];
    for (;;) {
      const character = this.source[this.#at];
      if (character === undefined) throw new PatternError("has a class that does not end");
      if (character === "]") {
        this.#at++;
        break;
      }
      const low = this.#classMember();
      const [single] = low;
      const isRange = this.source[this.#at] === "-" && this.source[this.#at + 1] !== "]";
      if (!isRange || low.length !== 1 || !single || single[0] !== single[1]) {
        ranges.push(...low);
        continue;
      }
      this.#at++;
      const [high] = this.#classMember();
      if (!high || high[0] !== high[1] || high[0] < single[0]) throw new PatternError("has a range that is none");
      ranges.push([single[0], high[0]]);
    }
    // Both cases first: the inverse of a letter is neither of its cases.
    const all = normalised(ranges);
    const cased = this.ignoreCase ? withBothCases(all) : all;
    return isInverse ? inverse(cased) : cased;
  }

  #classMember(): Ranges {
    const character = this.source[this.#at] ?? "";
    if (character !== "\\") {
      this.#at++;
      return one(character.charCodeAt(0));
    }
    if (this.source[this.#at + 1] === "b") throw new PatternError("has `\\b` in a class");
    return this.#escape();
  }
}

function one(unit: number): Ranges {
  return [[unit, unit]];
}

function normalised(ranges: Ranges): Ranges {
  const result: [number, number][] = [];
  for (const [from, to] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = result.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  return result;
}

function inverse(ranges: Ranges): Ranges {
  const result: [number, number][] = [];
  let next = 0;
  for (const [from, to] of ranges) {
    if (from > next) result.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= LAST_UNIT) result.push([next, LAST_UNIT]);
  return result;
}

/** Adds the other case of Latin, Greek and Cyrillic letters; ranges beyond them are taken as they are. */
function withBothCases(ranges: Ranges): Ranges {
  const added: [number, number][] = [];
  for (const [from, to] of ranges) {
    for (let unit = from; unit <= Math.min(to, 0x52f); unit++) {
      const character = String.fromCharCode(unit);
      for (const other of [character.toLowerCase(), character.toUpperCase()]) {
        if (other.length === 1) added.push([other.charCodeAt(0), other.charCodeAt(0)]);
      }
    }
  }
  return normalised([...ranges, ...added]);
}

function contains(ranges: Ranges, unit: number): boolean {
  for (const [from, to] of ranges) {
    if (unit < from) return false;
    if (unit <= to) return true;
  }
  return false;
}
