import { z } from "zod";
import { routerError } from "../../errors/router-error.js";
import { onAbort } from "../../internal/abort.js";
import { type Clock, systemClock } from "../../internal/clock.js";
import { isObjectWith } from "../../internal/object-with.js";
import { Secret } from "../../internal/secret.js";
import { exceedsDepth } from "../../protocol/json.js";
import { defaultTransport } from "../../transport/default.js";
import { checkedHeaders } from "../../transport/headers.js";
import type { Transport } from "../../transport/transport.js";
import { headersSchema } from "../headers-option.js";
import type { Plugin } from "../plugin.js";
import type { InspectionContext } from "./inspection.js";
import type { GuardrailSettings } from "./options.js";
import type { InspectedText } from "./texts.js";

/** What guardrails that ask a service can be told. */
export interface RemoteOptions {
  /** Sent with each call, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Characters of all texts that one look may send; more cannot be looked at. @default 1000000 */
  readonly maxCharacters?: number | undefined;
  /** How it looks at streamed replies: `buffer` holds the whole reply, `window` goes sentence by sentence. @default "buffer" */
  readonly stream?: "buffer" | "window" | undefined;
  /** The way out of the process. @default a connection pool of its own */
  readonly transport?: Transport | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
}

/** How long a look may take, unless the options say it. */
export const REMOTE_TIMEOUT_MS = 5_000;
/** Bytes of one answer. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_ANSWER_DEPTH = 64;

export const urlSchema = z.custom<string>(
  (value) => urlOf(value) !== undefined,
  "expected an http: or https: URL without credentials",
);

export const remoteFields = {
  headers: headersSchema,
  maxCharacters: z.int("expected an integer").min(1).max(100_000_000).default(1_000_000),
  stream: z.enum(["buffer", "window"], 'expected "buffer" or "window"').default("buffer"),
  transport: z.custom<Transport>(isObjectWith("send"), "expected a transport").optional(),
  clock: z.custom<Clock>(isObjectWith("schedule"), "expected a clock").default(() => systemClock),
};

/** The service gave no answer that counts. Says nothing of what it answered: that may quote a request (S18). */
export class RemoteCheckError extends Error {
  override readonly name = "RemoteCheckError";
}

interface ServiceSettings {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly transport?: Transport | undefined;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** Asks services over HTTP, JSON in and out: one call at a time or several, each bounded in time and size. */
export class RemoteService {
  readonly #settings: Omit<ServiceSettings, "headers">;
  readonly #headers: readonly (readonly [name: string, value: Secret])[];
  readonly #calls = new Set<() => void>();
  /** Routers that it serves. */
  #users = 0;
  /** Made with the first call. */
  #own: Transport | undefined;

  constructor(settings: ServiceSettings) {
    const { name, transport, clock, timeoutMs } = settings;
    this.#settings = { name, transport, clock, timeoutMs };
    const headers = { accept: "application/json", ...checkedHeaders(settings.headers) };
    this.#headers = Object.entries(headers).map(([name, value]) => [name, new Secret(value)]);
  }

  /** The plugin, which closes its connections with its last router. */
  serving(plugin: Plugin): Plugin {
    return {
      ...plugin,
      start: () => {
        this.#users++;
      },
      close: () => this.#close(),
    };
  }

  /**
   * @returns the answer, parsed.
   * @throws {RemoteCheckError} it did not come in time, is no success (redirects are none), too large or no JSON.
   */
  async post(url: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    if (this.#users === 0) throw new RemoteCheckError("closed");
    const { name, clock, timeoutMs, transport = (this.#own ??= defaultTransport()) } = this.#settings;
    const headers: Record<string, string> = { "content-type": "application/json" };
    for (const [key, value] of this.#headers) headers[key] = value.reveal();
    const { origin, pathname, search } = new URL(url);
    const exchange = transport.send({
      method: "POST",
      origin,
      path: pathname + search,
      headers,
      body: JSON.stringify(body),
      partition: `guardrail:${name}`,
      isStrict: false,
    });
    let stop = () => {};
    const stopped = new Promise<never>((_, reject) => {
      stop = () => {
        const error = new RemoteCheckError("no answer in time");
        reject(error);
        exchange.cancel(error);
      };
    });
    stopped.catch(() => {});
    this.#calls.add(stop);
    const timer = clock.schedule(timeoutMs, stop);
    const stopListening = onAbort(signal, stop);
    try {
      // A transport may ignore its cancellation: nobody waits for it longer than this.
      const { status, headers: received, body: answer } = await Promise.race([exchange.response, stopped]);
      const coding = received.get("content-encoding") ?? "identity";
      if (status !== 200 || coding !== "identity") throw new RemoteCheckError(`answered with ${status}`);
      const text = await Promise.race([answer.text(MAX_ANSWER_BYTES), stopped]);
      if (exceedsDepth(text, MAX_ANSWER_DEPTH)) throw new RemoteCheckError("nested too deeply");
      return JSON.parse(text) as unknown;
    } catch {
      const error = new RemoteCheckError("no answer that counts");
      exchange.cancel(error);
      throw error;
    } finally {
      timer.cancel();
      stopListening();
      this.#calls.delete(stop);
    }
  }

  async #close(): Promise<void> {
    if (--this.#users > 0) return;
    for (const stop of this.#calls) stop();
    const own = this.#own;
    this.#own = undefined;
    await own?.close();
  }
}

/** Whose limits say that a look is too large to be made. */
export interface SizeLimit {
  readonly settings: GuardrailSettings;
  readonly maxCharacters: number;
}

/**
 * @throws {RouterError} `invalid_request`: the request is too long to be looked at.
 * @throws {RangeError} so is the reply, or nobody is harmed by a look that is not made.
 */
export function refuseExcess(
  texts: readonly Pick<InspectedText, "text">[],
  { request, side }: InspectionContext,
  { settings, maxCharacters }: SizeLimit,
): void {
  const length = texts.reduce((sum, { text }) => sum + text.length, 0);
  if (length <= maxCharacters) return;
  if (side === "reply" || settings.failure === "open" || settings.isLogOnly) throw new RangeError("too long");
  const message = `The guardrail ${JSON.stringify(settings.name)} cannot read more than ${maxCharacters} characters.`;
  throw routerError("invalid_request", { message, requestId: request.id });
}

/** Does a thing for each item, so many at once. */
export async function forEachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, place: number) => Promise<void>,
): Promise<void> {
  const entries = items.entries();
  let hasFailed = false;
  const lane = async () => {
    for (const [place, item] of entries) {
      // What others wait for will not be used.
      if (hasFailed) return;
      try {
        await work(item, place);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
}

export function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A path below a base URL, which keeps its query. */
export function endpoint(base: string, name: string): string {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${name}`;
  return url.href;
}

function urlOf(value: unknown): URL | undefined {
  if (typeof value !== "string" || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  const isPlain = url.username === "" && url.password === "" && url.hash === "";
  return isPlain && (url.protocol === "https:" || url.protocol === "http:") ? url : undefined;
}
