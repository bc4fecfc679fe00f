import { z } from "zod";
import { retryAfterMs } from "../../errors/retry-after.js";
import { type Clock, systemClock } from "../../internal/clock.js";
import { isObjectWith } from "../../internal/object-with.js";
import { type Random, randomId, systemRandom } from "../../internal/random.js";
import { Secret } from "../../internal/secret.js";
import { backoffMs } from "../../routing/backoff.js";
import { defaultTransport } from "../../transport/default.js";
import { checkedHeaders } from "../../transport/headers.js";
import type { Transport } from "../../transport/transport.js";
import { headersSchema } from "../headers-option.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import { type Plugin, type SinkView, sinkView } from "../plugin.js";
import { BatchQueue } from "./batch-queue.js";
import { type RecordOptions, recordFields, recordPlugin } from "./record-plugin.js";
import { RECORD_VERSION } from "./records.js";
import { secretProblem, WebhookSigner } from "./webhook-signature.js";

export interface WebhookOptions extends RecordOptions {
  /** Where records are posted: `https:`, or `http:` where you know the way. */
  readonly url: string;
  /** Signs deliveries (HMAC-SHA-256, Standard Webhooks): `whsec_` and base64, or any text of at least 16 bytes. @default none */
  readonly secret?: string | undefined;
  /** Sent with each delivery, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Records of one delivery, 1–1000. @default 100 */
  readonly batchSize?: number | undefined;
  /** How long a record waits for company, in milliseconds, 10–600000. @default 1000 */
  readonly flushIntervalMs?: number | undefined;
  /** Records that may wait, 1–100000; the oldest are dropped beyond it. @default 10000 */
  readonly maxQueued?: number | undefined;
  /** How long the answer may take, in milliseconds, 100–60000. @default 5000 */
  readonly timeoutMs?: number | undefined;
  /** Further tries of a delivery that failed, 0–10. @default 3 */
  readonly retries?: number | undefined;
  /** Needed where one router has several of these. @default "webhook" */
  readonly name?: string | undefined;
  /** The way out of the process. @default a connection pool of its own */
  readonly transport?: Transport | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
  /** Chance, for tests. @default the machine's */
  readonly random?: Random | undefined;
}

/** A plugin that delivers records somewhere. */
export interface SinkPlugin extends Plugin {
  /** What has become of its records so far. */
  view(): SinkView;
}

const integer = (least: number, most: number) => z.int().min(least).max(most);
const webhookSchema = z.strictObject({
  name: pluginNameSchema.default("webhook"),
  url: z.custom<string>((value) => urlOf(value) !== undefined, "expected an http: or https: URL without credentials"),
  secret: z
    .string("expected a text")
    .superRefine((text, context) => {
      const problem = secretProblem(text);
      if (problem) context.addIssue({ code: "custom", message: problem });
    })
    .transform((text) => new Secret(text))
    .optional(),
  headers: headersSchema,
  batchSize: integer(1, 1_000).default(100),
  flushIntervalMs: integer(10, 600_000).default(1_000),
  maxQueued: integer(1, 100_000).default(10_000),
  timeoutMs: integer(100, 60_000).default(5_000),
  retries: integer(0, 10).default(3),
  transport: z.custom<Transport>(isObjectWith("send"), "expected a transport").optional(),
  clock: z.custom<Clock>(isObjectWith("schedule"), "expected a clock").default(() => systemClock),
  random: z.custom<Random>(isObjectWith("next"), "expected a source of chance").default(() => systemRandom),
  ...recordFields,
});

/** Characters of records that may wait, and of one delivery. */
const MAX_QUEUED_LENGTH = 16 * 1024 * 1024;
const MAX_BATCH_LENGTH = 1024 * 1024;
/** Within what a router gives a plugin to close. */
const CLOSE_MS = 4_000;
/** Bytes of an answer that are read, so that its connection can be used again. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * A plugin that posts records to a URL, in batches, signed where there is a secret. Requests never wait for it: records
 * wait in a bounded queue, failed deliveries are tried again a few times, and what is lost is counted.
 *
 * @throws {InvalidOptionsError} an option is wrong.
 * @see docs/telemetry.md
 */
export function webhook(options: WebhookOptions): SinkPlugin {
  const { name, attempts, content, metadata, ...settings } = parseOwnOptions("webhook", webhookSchema, options);
  const { clock, batchSize, flushIntervalMs, maxQueued } = settings;
  const transport = settings.transport ?? defaultTransport();
  const post = new WebhookPost({ ...settings, transport, headers: checkedHeaders(settings.headers) });
  const queue = new BatchQueue({
    clock,
    batchSize,
    batchLength: MAX_BATCH_LENGTH,
    flushIntervalMs,
    maxQueued,
    maxQueuedLength: MAX_QUEUED_LENGTH,
    closeMs: CLOSE_MS,
    deliver: (texts, signal) => post.deliver(texts, signal),
  });
  return {
    ...recordPlugin(name, { attempts, content, metadata }, (record) => {
      if (queue.push(JSON.stringify(record)) > 0) throw new Error("the webhook does not keep up");
    }),
    view: () => queue.view(),
    [sinkView]: () => queue.view(),
    async close() {
      await queue.close();
      if (!settings.transport) await transport.close();
    },
  };
}

interface PostSettings {
  readonly url: string;
  readonly secret?: Secret | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
}

/** What one try came to: how long to wait at least before the next, where there may be one. */
type Tried = "delivered" | "refused" | { readonly retryAfterMs: number | undefined };

/** Delivers batches to one URL. */
class WebhookPost {
  readonly #settings: PostSettings;
  readonly #signer: WebhookSigner | undefined;
  readonly #origin: string;
  readonly #path: string;

  constructor(settings: PostSettings) {
    this.#settings = settings;
    this.#signer = settings.secret && new WebhookSigner(settings.secret);
    const { origin, pathname, search } = new URL(settings.url);
    this.#origin = origin;
    this.#path = pathname + search;
  }

  /** @returns how many of the texts were delivered: all or none. */
  async deliver(texts: readonly string[], signal: AbortSignal): Promise<number> {
    const { retries, clock, random } = this.#settings;
    // The same for each try: receivers tell repetitions by it.
    const id = randomId(random, "msg_");
    const body = `{"recordVersion":${RECORD_VERSION},"records":[${texts.join(",")}]}`;
    for (let retry = 0; ; retry++) {
      const tried = await this.#try(id, body, signal);
      if (tried === "delivered") return texts.length;
      if (tried === "refused" || retry >= retries || signal.aborted) return 0;
      // Ends with an abort, which throws: nothing was delivered then.
      await clock.sleep(backoffMs(retry, tried.retryAfterMs, random), signal);
    }
  }

  async #try(id: string, body: string, signal: AbortSignal): Promise<Tried> {
    const { clock, timeoutMs, transport, headers } = this.#settings;
    const timestampS = Math.floor(clock.wallNow() / 1_000);
    const signature = await this.#signer?.sign(id, timestampS, body);
    const exchange = transport.send({
      method: "POST",
      origin: this.#origin,
      path: this.#path,
      headers: {
        ...headers,
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": String(timestampS),
        ...(signature && { "webhook-signature": signature }),
      },
      body,
      partition: "webhook",
      isStrict: false,
    });
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) stop.abort();
    const timer = clock.schedule(timeoutMs, () => stop.abort());
    const stopped = new Promise<never>((_, reject) => {
      const give = () => reject(new Error("no answer in time"));
      if (stop.signal.aborted) give();
      else stop.signal.addEventListener("abort", give, { once: true });
    });
    try {
      // A transport may ignore its cancellation: nobody waits for it longer than this.
      const response = await Promise.race([exchange.response, stopped]);
      const { status } = response;
      if (status >= 200 && status < 300) {
        // It has been delivered, whatever becomes of the answer's body.
        await Promise.race([response.body.text(MAX_ANSWER_BYTES), stopped]).catch((error) => exchange.cancel(error));
        return "delivered";
      }
      exchange.cancel(new Error("the answer is not read"));
      if (status !== 408 && status !== 429 && status < 500) return "refused";
      return { retryAfterMs: retryAfterMs({ headers: response.headers }, clock.wallNow()) };
    } catch (error) {
      exchange.cancel(error);
      return { retryAfterMs: undefined };
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
      stopped.catch(() => {});
    }
  }
}

function urlOf(value: unknown): URL | undefined {
  if (typeof value !== "string" || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  const isPlain = url.username === "" && url.password === "" && url.hash === "";
  return isPlain && (url.protocol === "https:" || url.protocol === "http:") ? url : undefined;
}
