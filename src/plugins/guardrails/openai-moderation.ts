import { z } from "zod";
import type { OptionsIssue } from "../../errors/router-error.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import type { Finding } from "./inspection.js";
import { ALL_ACTIONS, ALL_MODES, CATEGORY, type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import { readableText } from "./readable-text.js";
import {
  endpoint,
  forEachOf,
  isFields,
  REMOTE_TIMEOUT_MS,
  RemoteCheckError,
  type RemoteOptions,
  RemoteService,
  refuseExcess,
  remoteFields,
  urlSchema,
} from "./remote-service.js";
import type { InspectedText } from "./texts.js";

export interface OpenAIModerationOptions extends GuardrailOptions, RemoteOptions {
  readonly apiKey: string;
  /** The API's base URL. @default "https://api.openai.com/v1" */
  readonly baseUrl?: string | undefined;
  /** @default "omni-moderation-latest" */
  readonly model?: string | undefined;
  /** Categories that count, as the API names them: `"hate/threatening"`. @default all */
  readonly categories?: readonly string[] | undefined;
  /** From which score on a category counts, 0–1, instead of the model's own judgement. */
  readonly thresholds?: Readonly<Record<string, number>> | undefined;
}

const category = z
  .string("expected a category")
  .regex(/^[a-z][\w/-]{0,63}$/, 'expected a category such as "hate/threatening"');

const optionsSchema = z.strictObject({
  ...guardrailFields,
  ...remoteFields,
  timeoutMs: guardrailFields.timeoutMs.default(REMOTE_TIMEOUT_MS),
  apiKey: z
    .string("expected a key")
    .min(1, "expected a key")
    .regex(/^[\x21-\x7e]*$/, "expected printable ASCII without spaces"),
  baseUrl: urlSchema.default("https://api.openai.com/v1"),
  model: z.string("expected the name of a model").min(1).max(256).default("omni-moderation-latest"),
  categories: z.array(category).min(1, "expected at least one category").max(100).optional(),
  thresholds: z
    .record(category, z.number("expected a number").min(0, "expected 0 to 1").max(1, "expected 0 to 1"))
    .optional(),
});

/** Texts of one call, and characters of one text and of all: the model reads no more than so many tokens. */
const MAX_BATCH = 32;
const MAX_PIECE_LENGTH = 20_000;
const MAX_BATCH_LENGTH = 100_000;
/** What two pieces of one text share, so that nothing is only seen cut. */
const OVERLAP = 500;
const CALLS_AT_ONCE = 4;

/** A text, or part of one, and where it belongs. */
interface Piece {
  readonly place: number;
  readonly text: string;
}

/**
 * A guardrail that asks OpenAI's moderation endpoint, or one of the same shape.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 * @see https://platform.openai.com/docs/api-reference/moderations
 */
export function openaiModeration(options: OpenAIModerationOptions): Plugin {
  const parsed = parseOwnOptions("openaiModeration", optionsSchema, options);
  const { apiKey, baseUrl, model, stream, maxCharacters, timeoutMs = REMOTE_TIMEOUT_MS } = parsed;
  const counted = parsed.categories && new Set(parsed.categories);
  const thresholds = new Map(Object.entries(parsed.thresholds ?? {}));
  const conflicts: OptionsIssue[] = [...thresholds.keys()]
    .filter((name) => counted && !counted.has(name))
    .map((name) => ({ path: `openaiModeration.thresholds.${name}`, message: "is not among `categories`" }));
  if (Object.keys(parsed.headers).some((name) => name.toLowerCase() === "authorization")) {
    conflicts.push({ path: "openaiModeration.headers.authorization", message: "is made of `apiKey`" });
  }
  const settings = settingsOf(parsed, {
    factory: "openaiModeration",
    modes: ALL_MODES,
    actions: ALL_ACTIONS,
    conflicts,
  });
  const service = new RemoteService({
    ...parsed,
    headers: { ...parsed.headers, authorization: `Bearer ${apiKey}` },
    name: settings.name,
    timeoutMs,
  });
  const url = endpoint(baseUrl, "moderations");

  const plugin = buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream,
      async check(texts, context) {
        refuseExcess(texts, context, { settings, maxCharacters });
        const batches = batchesOf(texts);
        const found = texts.map(() => new Set<string>());
        await forEachOf(batches, CALLS_AT_ONCE, async (batch) => {
          const answer = await service.post(url, { model, input: batch.map(({ text }) => text) }, context.signal);
          for (const [index, result] of resultsOf(answer, batch.length).entries()) {
            const of = found[batch[index]?.place ?? -1];
            for (const name of flagged(result, counted, thresholds)) of?.add(name);
          }
        });
        return found.flatMap((names, text) => [...names].sort().map((name): Finding => ({ text, category: name })));
      },
    },
    policy: {
      kind: "openaiModeration",
      baseUrl,
      model,
      categories: counted && [...counted].sort(),
      thresholds: Object.fromEntries(thresholds),
      stream,
    },
  });
  return service.serving(plugin);
}

function batchesOf(texts: readonly InspectedText[]): Piece[][] {
  const batches: Piece[][] = [];
  let length = 0;
  for (const [place, inspected] of texts.entries()) {
    const { text } = readableText(inspected);
    if (text.trim() === "") continue;
    for (let at = 0; ; at += MAX_PIECE_LENGTH - OVERLAP) {
      // A cut through a character leaves halves of it, which not every reader takes.
      const piece = text.slice(at, at + MAX_PIECE_LENGTH).replace(/\p{Surrogate}/gu, "\ufffd");
      const last = batches.at(-1);
      if (last && last.length < MAX_BATCH && length + piece.length <= MAX_BATCH_LENGTH) {
        last.push({ place, text: piece });
        length += piece.length;
      } else {
        batches.push([{ place, text: piece }]);
        length = piece.length;
      }
      if (at + MAX_PIECE_LENGTH >= text.length) break;
    }
  }
  return batches;
}

interface Result {
  readonly flagged: boolean;
  readonly categories: Readonly<Record<string, unknown>>;
  readonly scores: Readonly<Record<string, unknown>>;
}

/** @throws {RemoteCheckError} there is not one result for each text. */
function resultsOf(answer: unknown, count: number): Result[] {
  if (!isFields(answer) || !Array.isArray(answer.results) || answer.results.length !== count) {
    throw new RemoteCheckError("no results");
  }
  return answer.results.map((result: unknown) => {
    if (!isFields(result)) throw new RemoteCheckError("no result");
    const { flagged, categories, category_scores: scores } = result;
    if (typeof flagged !== "boolean" || !isFields(categories) || !isFields(scores)) {
      throw new RemoteCheckError("no result");
    }
    return { flagged, categories, scores };
  });
}

/** Names of what a result says, as categories of findings. @throws {RemoteCheckError} a score that counts is missing. */
function* flagged(
  { flagged: isFlagged, categories, scores }: Result,
  counted: ReadonlySet<string> | undefined,
  thresholds: ReadonlyMap<string, number>,
): Generator<string> {
  let isNamed = false;
  for (const [name, threshold] of thresholds) {
    const score = Object.hasOwn(scores, name) ? scores[name] : undefined;
    if (typeof score !== "number" || !Number.isFinite(score)) throw new RemoteCheckError("no score");
    if (score >= threshold) yield categoryOf(name);
  }
  for (const [name, value] of Object.entries(categories)) {
    if (value !== true) continue;
    isNamed = true;
    if (!thresholds.has(name) && (counted?.has(name) ?? true)) yield categoryOf(name);
  }
  // It says that something is wrong, and not what: a new category, perhaps.
  if (isFlagged && !isNamed && !counted) yield "flagged";
}

function categoryOf(name: string): string {
  const category = name.replaceAll("/", "-");
  return CATEGORY.test(category) ? category : "flagged";
}
