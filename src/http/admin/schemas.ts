import { z } from "zod";
import { LEVELS, type Level } from "../../access/entries.js";
import { fieldShapes, idSchema } from "../../access/fields.js";
import { LEDGER_DIMENSIONS } from "../../ledger/query.js";

/** Shapes of what goes in and out: for checking, and for the OpenAPI document. */

const time = z.int().min(0).describe("Unix milliseconds");
const version = z.int().min(1).describe("Refuses with 409 unless the entry has this version");

type Shape = Record<string, z.ZodType>;
const shapeOf = (level: Level): Shape => fieldShapes[level];
const nullable = (shape: Shape): Shape =>
  Object.fromEntries(Object.entries(shape).map(([name, schema]) => [name, schema.nullable()]));
const byLevel = <T>(make: (level: Level) => T): Readonly<Record<Level, T>> =>
  Object.fromEntries(LEVELS.map((level) => [level, make(level)])) as Record<Level, T>; // every level

/** Bodies. What goes beyond the shape, such as a soft budget above the hard one, the directory refuses. */
export const createBodies = byLevel((level) => z.strictObject({ id: idSchema.optional(), ...shapeOf(level) }));
export const updateBodies = byLevel((level) =>
  z.strictObject({ version: version.optional(), ...nullable(shapeOf(level)) }),
);
export const versionBody = z.strictObject({ version: version.optional() });
export const rotateBody = z.strictObject({
  overlapMs: z
    .int()
    .min(0)
    .max(30 * 86_400_000)
    .describe("How long the secret before is good, too, in milliseconds")
    .optional(),
});
export const emptyBody = z.strictObject({});

export const listQueries = byLevel((level): z.ZodObject => {
  const filters = {
    organization: [],
    team: ["organization"],
    user: ["organization", "team"],
    key: ["organization", "team", "user"],
  }[level];
  return z.strictObject({
    limit: z.int().min(1).max(1_000).optional(),
    after: idSchema.describe("`next` of the page before").optional(),
    ...Object.fromEntries(filters.map((name) => [name, idSchema.optional()])),
  });
});

const text = z.string().max(512).optional();
const ledgerFilter = {
  from: time.describe("Unix milliseconds, inclusive").optional(),
  to: time.describe("Unix milliseconds, exclusive").optional(),
  key: text,
  user: text,
  team: text,
  organization: text,
  model: text,
  group: text,
  deployment: text,
  provider: text,
  tag: text,
};
export const reportQuery = z.strictObject({
  ...ledgerFilter,
  by: z.array(z.enum(LEDGER_DIMENSIONS)).max(4).describe("Separated by commas").optional(),
  limit: z.int().min(1).max(100_000).optional(),
});
export const entriesQuery = z.strictObject({
  ...ledgerFilter,
  format: z.enum(["csv", "jsonl"]).optional(),
});
export const noQuery = z.strictObject({});

/** Replies. */
const base = { id: z.string(), createdAt: time, updatedAt: time, version: z.int().min(1) };
export const entryReplies = byLevel((level) =>
  z.strictObject({
    ...shapeOf(level),
    ...base,
    ...(level === "key" && { previousExpiresAt: time.optional(), revokedAt: time.optional() }),
  }),
);
export const pageReplies = byLevel((level) =>
  z.strictObject({
    data: z.array(entryReplies[level]),
    next: z.string().nullable().describe("`after` of the next page; null: this is the last one"),
  }),
);
export const createdKeyReply = z.strictObject({
  secret: z.string().describe("Told once: only its digest is kept"),
  entry: entryReplies.key,
});
export const deletedReply = z.strictObject({ id: z.string(), deleted: z.literal(true) });
export const budgetsReply = z.strictObject({
  data: z.array(
    z.strictObject({
      models: z.string().nullable().describe("The pattern of `modelLimits` that states it; null: of all models"),
      isHard: z.boolean(),
      limitUsd: z.number(),
      spentUsd: z.number(),
      reservedUsd: z.number(),
      period: z.string(),
      resetsAt: time.nullable(),
    }),
  ),
});
const nanoUsd = z.string().regex(/^-?\d+$/);
const totals = {
  requests: z.int(),
  attempts: z.int(),
  promptTokens: z.int(),
  cachedTokens: z.int(),
  cacheWriteTokens: z.int(),
  completionTokens: z.int(),
  reasoningTokens: z.int(),
  costUsd: z.number().describe("Rounded, for people; `costNanoUsd` is exact"),
  costNanoUsd: nanoUsd,
  estimatedNanoUsd: nanoUsd.describe("Of these, from tokens that the upstream did not report"),
  unpricedAttempts: z.int(),
};
export const reportReply = z.strictObject({
  rows: z.array(z.strictObject({ by: z.record(z.string(), z.string().nullable()), ...totals })),
  totals: z.strictObject(totals),
  isTruncated: z.boolean(),
});
export const errorReplySchema = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});
