import { z } from "zod";
import { type Clock, systemClock } from "../../internal/clock.js";
import { matchSchema } from "../limits/scope.js";
import { pluginNameSchema } from "../options.js";
import type { CacheStore } from "./cache-store.js";

export interface SemanticOptions {
  /** A group of embedding models of the same router. */
  readonly model: string;
  /** How alike two questions are to have the same answer: the cosine of their vectors, above 0, at most 1. @default 0.95 */
  readonly threshold?: number | undefined;
  /** Memory for the vectors of questions, an integer, 1–1073741824. @default 33554432 */
  readonly maxBytes?: number | undefined;
  /** How long the embedding may take, in milliseconds, 1–60000. @default 1000 */
  readonly timeoutMs?: number | undefined;
}

export interface CacheOptions {
  /** Where answers are kept: the memory of this process, or a store such as that of `redisCache(client)`. @default "memory" */
  readonly store?: "memory" | CacheStore | undefined;
  /** How long an answer may be given again, in milliseconds, an integer, 1–31536000000. @default 300000 */
  readonly ttlMs?: number | undefined;
  /** Memory for answers, in bytes, an integer, 1–17179869184; other stores have bounds of their own. @default 67108864 */
  readonly maxBytes?: number | undefined;
  /** Larger answers are not kept, in bytes, an integer, 1–67108864. @default 1048576 */
  readonly maxAnswerBytes?: number | undefined;
  /** Only requests for these models: names as callers say them, or patterns with `*`. @default all */
  readonly match?: string | readonly string[] | undefined;
  /** Only requests that ask for `temperature: 0`, and embeddings. @default false */
  readonly onlyTemperatureZero?: boolean | undefined;
  /** Body fields that do not count: requests that differ in them only get the same answer. @default [] */
  readonly ignoreFields?: readonly string[] | undefined;
  /** Equal requests at the same time wait for the answer of the first one. @default true */
  readonly singleFlight?: boolean | undefined;
  /** How long they wait at most, in milliseconds, 1–600000. @default 60000 */
  readonly maxWaitMs?: number | undefined;
  /** How long a store may take to answer, in milliseconds, 1–10000. @default 50 */
  readonly storeTimeoutMs?: number | undefined;
  /** Told when the store begins to fail: requests go on without it. */
  readonly onStoreFailure?: ((error: unknown) => void) | undefined;
  /** Also give answers to questions that only say the same. @default none */
  readonly semantic?: SemanticOptions | undefined;
  /** @default the machine's own */
  readonly clock?: Clock | undefined;
  /** @default "cache" */
  readonly name?: string | undefined;
}

const bytes = (most: number) =>
  z.int("expected a whole number of bytes").min(1, "expected 1 at least").max(most, `expected at most ${most}`);
const milliseconds = (most: number) =>
  z.int("expected a whole number of milliseconds").min(1, "expected 1 at least").max(most, `expected at most ${most}`);
const boolean = z.boolean("expected a boolean");

const semanticSchema = z.strictObject({
  model: z.string("expected the name of a group of embedding models").min(1, "expected a name").max(512),
  threshold: z.number("expected a number").gt(0, "expected more than 0").max(1, "expected at most 1").default(0.95),
  maxBytes: bytes(2 ** 30).default(32 * 1024 * 1024),
  timeoutMs: milliseconds(60_000).default(1_000),
});

/** These are the question itself. */
const NEVER_IGNORED = ["model", "messages", "prompt", "input"];

export const cacheSchema = z.strictObject({
  store: z
    .union([z.literal("memory"), z.custom<CacheStore>(isStore)], 'expected "memory" or a store with `get` and `set`')
    .default("memory"),
  ttlMs: milliseconds(31_536_000_000).default(300_000),
  maxBytes: bytes(2 ** 34).default(64 * 1024 * 1024),
  maxAnswerBytes: bytes(64 * 1024 * 1024).default(1024 * 1024),
  match: matchSchema,
  onlyTemperatureZero: boolean.default(false),
  ignoreFields: z
    .array(
      z
        .string("expected the name of a body field")
        .min(1, "expected the name of a body field")
        .max(128)
        .refine((name) => !NEVER_IGNORED.includes(name), "cannot be ignored: it is what is asked"),
    )
    .max(64)
    .default([]),
  singleFlight: boolean.default(true),
  maxWaitMs: milliseconds(600_000).default(60_000),
  storeTimeoutMs: milliseconds(10_000).default(50),
  onStoreFailure: z
    .custom<(error: unknown) => void>((value) => typeof value === "function", "expected a function")
    .optional(),
  semantic: semanticSchema.optional(),
  clock: z
    .custom<Clock>(
      (value) => typeof value === "object" && value !== null && "wallNow" in value && "schedule" in value,
      "expected a clock",
    )
    .default(systemClock),
  name: pluginNameSchema.default("cache"),
});

export type CacheSettings = z.output<typeof cacheSchema>;

function isStore(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { get, set } = value as Partial<CacheStore>; // an object, and its fields are checked
  return typeof get === "function" && typeof set === "function";
}
