import { InvalidOptionsError } from "../../errors/router-error.js";
import type { Random } from "../../internal/random.js";
import type { ChatMessage } from "../../protocol/chat.js";
import { drawExponential, drawGeometric, drawLognormal, type Lognormal, zipf } from "./distributions.js";
import { ABOVE_ZERO, COUNT, expectOptions, FROM_ZERO } from "./expect-options.js";
import { BLOCK_TOKENS } from "./model.js";
import type { RequestResult } from "./results.js";
import type { SimulationClock } from "./simulation-clock.js";

/** One request of a workload, when its time has come. */
export interface SimulatedRequest {
  /** Group or alias. @default the first group */
  readonly model?: string | undefined;
  readonly promptTokens: number;
  /** Tokens of the answer, which only the upstream knows before. */
  readonly outputTokens: number;
  /** The conversation so far; without it a prompt that shares nothing with any other. */
  readonly messages?: ChatMessage[] | undefined;
  /** What is answered, where the next turn repeats it. @default a filler */
  readonly answer?: string | undefined;
  /** Identities of the whole 128-token blocks of prompt and answer, for the replicas' prefix caches. @default none */
  readonly blocks?: readonly number[] | undefined;
  /** Whose request it is; charged as an organization where the router has a directory. */
  readonly tenant?: string | undefined;
  readonly priority?: "interactive" | "batch" | undefined;
  /** What the caller caps its answer at (`max_completion_tokens`). */
  readonly maxOutputTokens?: number | undefined;
  /** Of several processes, the one that gets it. @default any, at random */
  readonly process?: number | undefined;
}

/** What a workload works with. */
export interface WorkloadContext {
  readonly clock: SimulationClock;
  /** Of the workload alone: whatever the router does, the same requests come. */
  readonly random: Random;
  /** No request comes from then on, on the simulation's clock. */
  readonly endMs: number;
  /** Sends a request now. */
  send(request: SimulatedRequest): Promise<RequestResult>;
}

/** Where requests come from. */
export interface Workload {
  /** Schedules the first arrivals. */
  start(context: WorkloadContext): void;
}

/** The sizes of requests: draws one. */
export interface RequestSizes {
  readonly prompt: Lognormal;
  readonly output: Lognormal;
}

/** The mixes of the routing rows. */
export const chatMix: RequestSizes = {
  prompt: { median: 800, sigma: 0.8, min: 20, max: 8_000 },
  output: { median: 180, sigma: 0.7, min: 5, max: 1_500 },
};
export const heavyPrompts: RequestSizes = {
  prompt: { median: 900, sigma: 1.3, min: 20, max: 30_000 },
  output: { median: 150, sigma: 0.9, min: 1, max: 2_000 },
};
export const decodeHeavy: RequestSizes = {
  prompt: { median: 200, sigma: 0.7, min: 20, max: 4_000 },
  output: { median: 500, sigma: 0.6, min: 20, max: 3_000 },
};

export interface PoissonOptions {
  readonly sizes?: RequestSizes | undefined;
  /** Requests per second, or how many there are at a moment. */
  readonly rate: number | ((nowMs: number) => number);
  /** The highest that `rate` ever gives, where it is a function. */
  readonly mostRate?: number | undefined;
  /** Draws whose request it is. */
  readonly tenants?: readonly { readonly name: string; readonly share: number }[] | undefined;
}

/** Independent requests at random moments. @throws {InvalidOptionsError} */
export function poisson(options: PoissonOptions): Workload {
  const isSteady = typeof options.rate !== "function";
  const others = ["sizes", "tenants", ...(isSteady ? [] : ["rate" as const])] as const;
  expectOptions("poisson", options, { mostRate: ABOVE_ZERO, ...(isSteady && { rate: ABOVE_ZERO }) }, others);
  if (options.rate === undefined) {
    throw new InvalidOptionsError([{ path: "poisson.rate", message: "is missing: requests per second" }]);
  }
  const { sizes = chatMix, rate, mostRate, tenants } = options;
  const rateAt = typeof rate === "number" ? () => rate : rate;
  const highest = mostRate ?? rateAt(0);
  return {
    start({ clock, random, endMs, send }) {
      const next = () => {
        // By thinning: of arrivals at the highest rate, as many are taken as the rate of the moment says.
        let delayMs = 0;
        do delayMs += drawExponential(1_000 / highest, random);
        while (random.next() * highest >= rateAt(clock.now() + delayMs));
        if (clock.now() + delayMs >= endMs) return;
        clock.after(delayMs, () => {
          void send({ ...drawSizes(sizes, random), tenant: tenants && drawTenant(tenants, random) });
          next();
          return true;
        });
      };
      next();
    },
  };
}

export interface ClosedLoopOptions {
  readonly sizes?: RequestSizes | undefined;
  /** Callers, each of which sends its next request when the last one has ended. */
  readonly callers: number;
  /** Callers keep to a process each, in turn, where there are several. @default 1 */
  readonly processes?: number | undefined;
  /** How long a caller waits after a failure, in milliseconds. @default 1000 */
  readonly pauseMs?: number | undefined;
  /** What every request has beside its size. */
  readonly request?: Partial<SimulatedRequest> | undefined;
}

/** Callers that always have something to ask. */
export function closedLoop(options: ClosedLoopOptions): Workload {
  expectOptions("closedLoop", options, { callers: COUNT, processes: COUNT, pauseMs: ABOVE_ZERO }, ["sizes", "request"]);
  const { sizes = chatMix, callers, processes = 1, pauseMs = 1_000, request } = options;
  return {
    start({ clock, random, endMs, send }) {
      const call = async (process: number) => {
        while (clock.now() < endMs) {
          const { isOk } = await send({ ...drawSizes(sizes, random), process, ...request });
          if (!isOk) await clock.sleep(pauseMs);
        }
      };
      for (let caller = 0; caller < callers; caller++) void call(caller % processes);
    },
  };
}

function drawSizes({ prompt, output }: RequestSizes, random: Random) {
  return {
    promptTokens: Math.max(1, Math.round(drawLognormal(prompt, random))),
    outputTokens: Math.max(1, Math.round(drawLognormal(output, random))),
  };
}

function drawTenant(tenants: readonly { name: string; share: number }[], random: Random): string | undefined {
  let drawn = random.next() * tenants.reduce((sum, { share }) => sum + share, 0);
  for (const { name, share } of tenants) if ((drawn -= share) < 0) return name;
  return tenants.at(-1)?.name;
}

export interface ConversationOptions {
  /** Conversations that begin per second. */
  readonly rate: number;
  /** System prompts, used with a frequency of 1 / rank. @default 40 */
  readonly applications?: number | undefined;
  /** Turns of a conversation, on average. @default 5 */
  readonly turns?: number | undefined;
  /** @default 12 */
  readonly mostTurns?: number | undefined;
  /** Between an answer and the next question, on average, in milliseconds. @default 8000 */
  readonly thinkMs?: number | undefined;
}

const TURN: Lognormal = { median: 90, sigma: 0.9, min: 5, max: 1_500 };
const ANSWER: Lognormal = { median: 180, sigma: 0.6, min: 5, max: 1_000 };
/** What an estimate adds to each message, and what stands for a token. */
const MESSAGE_TOKENS = 3;
const CHARACTERS_PER_TOKEN = 4;

/** Conversations whose every turn sends what was said before. */
export function conversations(options: ConversationOptions): Workload {
  const numbers = { rate: ABOVE_ZERO, applications: COUNT, turns: ABOVE_ZERO, mostTurns: COUNT, thinkMs: FROM_ZERO };
  expectOptions("conversations", options, numbers);
  const { rate, applications = 40, turns = 5, mostTurns = 12, thinkMs = 8_000 } = options;
  return {
    start({ clock, random, endMs, send }) {
      const systemTokens = Array.from({ length: applications }, () => 400 + Math.floor(random.next() * 2_601));
      const drawApplication = zipf(applications, 1);
      let conversationCount = 0;

      const converse = async () => {
        const application = drawApplication(random);
        const conversation = ++conversationCount;
        const tokens = systemTokens[application] as number; // in range
        const messages: ChatMessage[] = [{ role: "system", content: textOf(application, tokens) }];
        let promptTokens = tokens;
        // All chance is drawn first, so that the order in which answers come changes nothing.
        const plan = Array.from({ length: drawGeometric(turns, mostTurns, random) }, () => ({
          question: Math.round(drawLognormal(TURN, random)),
          answer: Math.round(drawLognormal(ANSWER, random)),
          thinkMs: drawExponential(thinkMs, random),
        }));
        for (const [turn, { question, answer, thinkMs: pauseMs }] of plan.entries()) {
          messages.push({ role: "user", content: textOf(conversation * 64 + 2 * turn, question) });
          promptTokens += question;
          const blocks = blocksOf(application, tokens, conversation, promptTokens + answer);
          const text = textOf(conversation * 64 + 2 * turn + 1, answer);
          const request = { promptTokens, outputTokens: answer, messages: [...messages], answer: text, blocks };
          const { isOk } = await send(request);
          if (!isOk) return;
          messages.push({ role: "assistant", content: text });
          promptTokens += answer;
          await clock.sleep(pauseMs);
          if (clock.now() >= endMs) return;
        }
      };
      const next = () => {
        const delayMs = drawExponential(1_000 / rate, random);
        if (clock.now() + delayMs >= endMs) return;
        clock.after(delayMs, () => {
          void converse();
          next();
          return true;
        });
      };
      next();
    },
  };
}

/** Blocks that a system prompt fills are its application's, all others the conversation's own. */
function blocksOf(application: number, systemTokens: number, conversation: number, tokens: number): number[] {
  const shared = Math.floor(systemTokens / BLOCK_TOKENS);
  return Array.from({ length: Math.floor(tokens / BLOCK_TOKENS) }, (_, position) =>
    position < shared ? -(application * 1_000 + position + 1) : conversation * 1_000 + position,
  );
}

const FILLER_LENGTH = 4 * 1_024 * 1_024;
let filler: string | undefined;

/** A text of about so many tokens by the router's estimate; another one for each `number`. */
export function textOf(number: number, tokens: number): string {
  filler ??= makeFiller();
  const head = `${number}:`;
  const length = Math.max(1, (tokens - MESSAGE_TOKENS) * CHARACTERS_PER_TOKEN - head.length);
  // A prime step: neighbours share nothing.
  const offset = (Math.abs(number) * 7_919) % FILLER_LENGTH;
  return head + (offset + length <= FILLER_LENGTH ? filler.slice(offset, offset + length) : filler.slice(0, length));
}

function makeFiller(): string {
  let state = 1;
  const codes = new Uint8Array(FILLER_LENGTH);
  for (let position = 0; position < FILLER_LENGTH; position++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    codes[position] = 97 + ((state >>> 16) % 26);
  }
  return new TextDecoder("latin1").decode(codes);
}

/** Requests at given moments. */
export interface TraceEntry extends SimulatedRequest {
  /** From the beginning of the trace, in milliseconds. */
  readonly atMs: number;
}

/** Sends the requests of a trace as they came. @param speed - 2: twice as fast. @default 1 @throws {InvalidOptionsError} */
export function replay(trace: readonly TraceEntry[], speed = 1): Workload {
  expectOptions("replay", { speed }, { speed: ABOVE_ZERO });
  return {
    start({ clock, endMs, send }) {
      let position = 0;
      const next = () => {
        const entry = trace[position++];
        if (!entry) return;
        const atMs = entry.atMs / speed;
        if (atMs >= endMs) return;
        clock.after(atMs - clock.now(), () => {
          const { atMs: _, ...request } = entry;
          void send(request);
          next();
          return true;
        });
      };
      next();
    },
  };
}
