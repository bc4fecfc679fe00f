import { z } from "zod";
import type { OptionsIssue } from "../../errors/router-error.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import type { Finding } from "./inspection.js";
import { ALL_ACTIONS, ALL_MODES, type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import { codePointOffsets, readableText } from "./readable-text.js";
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

export interface PresidioOptions extends GuardrailOptions, RemoteOptions {
  /** The analyzer's base URL: `http://presidio-analyzer:3000`. */
  readonly analyzerUrl: string;
  /** The anonymizer's base URL. With it (action `mask`) the anonymizer decides what stands in place of matches. @default placeholders */
  readonly anonymizerUrl?: string | undefined;
  /** What the anonymizer does, by entity or `DEFAULT`, as its API has it: `{ "DEFAULT": { "type": "redact" } }`. */
  readonly anonymizers?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /** Language of all texts. @default "en" */
  readonly language?: string | undefined;
  /** What is looked for: `["PERSON", "EMAIL_ADDRESS"]`. @default all that the analyzer knows */
  readonly entities?: readonly string[] | undefined;
  /** Matches with a lower score do not count, 0–1. @default the analyzer's */
  readonly scoreThreshold?: number | undefined;
  /** Texts that are never matches. */
  readonly allowList?: readonly string[] | undefined;
  /** Calls at once for one request, 1–64: the analyzer takes one text per call. @default 8 */
  readonly concurrency?: number | undefined;
}

const ENTITY = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
const entity = z.string("expected the name of an entity").regex(ENTITY, "expected the name of an entity");

const optionsSchema = z.strictObject({
  ...guardrailFields,
  ...remoteFields,
  timeoutMs: guardrailFields.timeoutMs.default(REMOTE_TIMEOUT_MS),
  analyzerUrl: urlSchema,
  anonymizerUrl: urlSchema.optional(),
  anonymizers: z.record(entity, z.record(z.string(), z.unknown())).optional(),
  language: z
    .string("expected a language")
    .regex(/^[a-z]{2,3}(-[A-Za-z]{2,4})?$/, 'expected a language such as "en"')
    .default("en"),
  entities: z.array(entity).min(1, "expected at least one entity").max(1_000).optional(),
  scoreThreshold: z.number("expected a number").min(0, "expected 0 to 1").max(1, "expected 0 to 1").optional(),
  allowList: z.array(z.string("expected a text").min(1)).max(10_000).optional(),
  concurrency: z.int("expected an integer").min(1).max(64).default(8),
});

/** Matches in one text. */
const MAX_MATCHES = 10_000;

/** A match as the analyzer tells it: offsets count code points. */
interface Match {
  readonly entity_type: string;
  readonly start: number;
  readonly end: number;
  readonly score: number;
}

/**
 * A guardrail that asks Microsoft Presidio for personal data: its analyzer finds it, and its anonymizer, if there is
 * one, says what stands in its place.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 * @see https://microsoft.github.io/presidio/api-docs/api-docs.html
 */
export function presidio(options: PresidioOptions): Plugin {
  const parsed = parseOwnOptions("presidio", optionsSchema, options);
  const { analyzerUrl, anonymizerUrl, anonymizers, language, entities, scoreThreshold, allowList } = parsed;
  const { concurrency, stream, maxCharacters, timeoutMs = REMOTE_TIMEOUT_MS } = parsed;
  const settings = settingsOf(parsed, {
    factory: "presidio",
    modes: ALL_MODES,
    actions: ALL_ACTIONS,
    conflicts: conflictsOf(parsed),
  });
  const service = new RemoteService({ ...parsed, name: settings.name, timeoutMs });
  const analyze = endpoint(analyzerUrl, "analyze");
  const anonymize = anonymizerUrl && settings.action === "mask" ? endpoint(anonymizerUrl, "anonymize") : undefined;

  const lookAt = async (inspected: InspectedText, place: number, signal: AbortSignal): Promise<Finding[]> => {
    const readable = readableText(inspected);
    const { text } = readable;
    const answer = await service.post(
      analyze,
      { text, language, entities, score_threshold: scoreThreshold, allow_list: allowList },
      signal,
    );
    const matches = matchesOf(answer, scoreThreshold);
    const offsetOf = codePointOffsets(text);
    const findings = matches.map(({ entity_type: category, start, end }): Finding => {
      const [from, to] = [offsetOf(start), offsetOf(end)];
      if (from === undefined || to === undefined || from > to) throw new RemoteCheckError("no matches");
      return { text: place, category, ...readable.written(from, to) };
    });
    const [first, ...others] = findings;
    if (!anonymize || !first) return findings;
    const masked = await service.post(anonymize, { text, anonymizers, analyzer_results: matches }, signal);
    if (!isFields(masked) || typeof masked.text !== "string") throw new RemoteCheckError("no text");
    // One replacement for the whole; the others count, and overlap with it.
    const whole = { start: 0, end: inspected.text.length };
    const replacement = inspected.format === "json" ? rewritten(inspected.text, text, masked.text) : masked.text;
    return replacement === undefined ? findings : [{ ...first, ...whole, replacement }, ...others];
  };

  const plugin = buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream,
      async check(texts, context) {
        refuseExcess(texts, context, { settings, maxCharacters });
        const findings: Finding[][] = [];
        await forEachOf(texts, concurrency, async (text, place) => {
          if (text.text.trim() !== "") findings[place] = await lookAt(text, place, context.signal);
        });
        return findings.flat();
      },
    },
    policy: {
      kind: "presidio",
      analyzerUrl,
      anonymizerUrl,
      anonymizers,
      language,
      entities,
      scoreThreshold,
      allowList,
      stream,
    },
  });
  return service.serving(plugin);
}

function conflictsOf({ anonymizerUrl, anonymizers, action }: z.infer<typeof optionsSchema>): OptionsIssue[] {
  const issues: OptionsIssue[] = [];
  if (anonymizerUrl && action !== "mask") {
    issues.push({ path: "presidio.anonymizerUrl", message: 'needs `action: "mask"`' });
  }
  if (anonymizers && !anonymizerUrl) {
    issues.push({ path: "presidio.anonymizers", message: "needs `anonymizerUrl`" });
  }
  return issues;
}

/** @throws {RemoteCheckError} the answer is no list of matches. */
function matchesOf(answer: unknown, scoreThreshold = 0): Match[] {
  if (!Array.isArray(answer) || answer.length > MAX_MATCHES) throw new RemoteCheckError("no matches");
  return answer
    .map((match: unknown): Match => {
      if (!isFields(match)) throw new RemoteCheckError("no match");
      const { entity_type, start, end, score } = match;
      const isGood =
        typeof entity_type === "string" &&
        ENTITY.test(entity_type) &&
        Number.isInteger(start) &&
        Number.isInteger(end) &&
        typeof score === "number";
      if (!isGood) throw new RemoteCheckError("no match");
      return { entity_type, start: start as number, end: end as number, score }; // integers, by the check before
    })
    .filter(({ score }) => score >= scoreThreshold)
    .sort((a, b) => a.start - b.start || b.end - a.end);
}

/** JSON as the anonymizer left it. @returns `undefined`: its escapes were undone, and cannot be put back. */
function rewritten(written: string, sent: string, masked: string): string | undefined {
  if (written !== sent) return undefined;
  try {
    JSON.parse(masked);
    return masked;
  } catch {
    return undefined;
  }
}
