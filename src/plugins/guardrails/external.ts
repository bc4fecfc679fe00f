import { z } from "zod";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import type { Finding } from "./inspection.js";
import { ALL_ACTIONS, ALL_MODES, CATEGORY, type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import { codePointOffsets, isOffset, type ReadableText, readableText } from "./readable-text.js";
import {
  isFields,
  REMOTE_TIMEOUT_MS,
  RemoteCheckError,
  type RemoteOptions,
  RemoteService,
  refuseExcess,
  remoteFields,
  urlSchema,
} from "./remote-service.js";

export interface ExternalOptions extends GuardrailOptions, RemoteOptions {
  /** Where texts are posted: `https:`, or `http:` where you know the way. */
  readonly url: string;
  /** What `start` and `end` of findings count: units of JavaScript's texts, or characters as Python counts them. @default "utf-16" */
  readonly offsets?: "utf-16" | "code-points" | undefined;
  /** To be changed with what the service goes by, so that answers stored under another policy are not given. */
  readonly version?: string | undefined;
}

const optionsSchema = z.strictObject({
  ...guardrailFields,
  ...remoteFields,
  timeoutMs: guardrailFields.timeoutMs.default(REMOTE_TIMEOUT_MS),
  url: urlSchema,
  offsets: z.enum(["utf-16", "code-points"], 'expected "utf-16" or "code-points"').default("utf-16"),
  version: z.string("expected a text").max(200, "expected at most 200 characters").optional(),
});

/** Findings of one answer. */
const MAX_FINDINGS = 10_000;

/**
 * A guardrail behind a URL of yours: gets texts as JSON, and says what it found in them.
 *
 * @throws {InvalidOptionsError} an option is wrong, or what is asked for cannot be done.
 * @see docs/guardrails.md, "A service of your own"
 */
export function external(options: ExternalOptions): Plugin {
  const parsed = parseOwnOptions("external", optionsSchema, options);
  const { url, offsets, version, stream, maxCharacters, timeoutMs = REMOTE_TIMEOUT_MS } = parsed;
  const settings = settingsOf(parsed, { factory: "external", modes: ALL_MODES, actions: ALL_ACTIONS });
  const service = new RemoteService({ ...parsed, name: settings.name, timeoutMs });
  const plugin = buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream,
      async check(texts, context) {
        refuseExcess(texts, context, { settings, maxCharacters });
        const readable = texts.map(readableText);
        const { request, side, signal } = context;
        const answer = await service.post(
          url,
          {
            version: 1,
            guardrail: settings.name,
            requestId: request.id,
            side,
            operation: request.operation,
            model: request.model,
            isStreaming: request.isStreaming,
            texts: texts.map(({ path, role, format }, place) => ({ path, role, format, text: readable[place]?.text })),
          },
          signal,
        );
        return findingsOf(answer, readable, offsets);
      },
    },
    policy: { kind: "external", url, offsets, version, stream },
  });
  return service.serving(plugin);
}

/** @throws {RemoteCheckError} the answer is not what the contract says. */
function findingsOf(
  answer: unknown,
  readable: readonly ReadableText[],
  offsets: "utf-16" | "code-points",
): readonly Finding[] {
  if (!isFields(answer) || !Array.isArray(answer.findings) || answer.findings.length > MAX_FINDINGS) throw junk();
  const converters = new Map<number, (offset: number) => number | undefined>();
  return answer.findings.map((found: unknown): Finding => {
    if (!isFields(found)) throw junk();
    const { text: place, category, start, end } = found;
    const text = typeof place === "number" ? readable[place] : undefined;
    if (typeof place !== "number" || !text || typeof category !== "string" || !CATEGORY.test(category)) throw junk();
    if (start == null && end == null) return { text: place, category };
    let convert = converters.get(place);
    if (!convert) {
      convert = offsets === "code-points" ? codePointOffsets(text.text) : (offset) => offset;
      converters.set(place, convert);
    }
    const [from, to] = [convert(Number(start)), convert(Number(end))];
    const { length } = text.text;
    if (typeof start !== "number" || typeof end !== "number" || !isOffset(from, length) || !isOffset(to, length)) {
      throw junk();
    }
    if (from > to) throw junk();
    return { text: place, category, ...text.written(from, to) };
  });
}

const junk = () => new RemoteCheckError("no findings");
