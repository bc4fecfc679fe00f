import { z } from "zod";
import { InvalidOptionsError } from "../../errors/router-error.js";
import { estimateTokens, utf8Length } from "../../tokens/estimate.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin, PluginRequest } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import { type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";

/** At least one of the three limits. */
export interface MaxInputOptions extends Omit<GuardrailOptions, "placeholder"> {
  /** Of all texts of a request, 1 at least; estimated as bytes / 4. */
  readonly tokens?: number | undefined;
  /** UTF-16 code units of all texts of a request, 1 at least. */
  readonly characters?: number | undefined;
  /** Messages of a chat, or texts of an embedding or a completion, 1 at least. */
  readonly messages?: number | undefined;
}

const { placeholder: _, ...fields } = guardrailFields;
const limit = z.int("expected a whole number").min(1, "expected 1 at least").optional();
const optionsSchema = z.strictObject({ ...fields, tokens: limit, characters: limit, messages: limit });

/**
 * A guardrail that refuses requests that are too long, before anything is sent.
 *
 * @throws {InvalidOptionsError} an option is wrong, or no limit is given.
 */
export function maxInput(options: MaxInputOptions): Plugin {
  const parsed = parseOwnOptions("maxInput", optionsSchema, options);
  const { tokens, characters, messages } = parsed;
  if (tokens === undefined && characters === undefined && messages === undefined) {
    throw new InvalidOptionsError([{ path: "maxInput", message: "needs `tokens`, `characters` or `messages`" }]);
  }
  const settings = settingsOf(
    { ...parsed, placeholder: "[{category}]" },
    { factory: "maxInput", modes: ["input", "log-only"], actions: ["block", "flag"] },
  );
  return buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream: "buffer",
      check(texts, { request }) {
        const length = texts.reduce((sum, { text }) => sum + text.length, 0);
        const bytes = tokens === undefined ? 0 : texts.reduce((sum, { text }) => sum + utf8Length(text), 0);
        const exceeded = [
          ...(characters !== undefined && length > characters ? ["characters"] : []),
          ...(tokens !== undefined && estimateTokens(bytes) > tokens ? ["tokens"] : []),
          ...(messages !== undefined && countMessages(request) > messages ? ["messages"] : []),
        ];
        return exceeded.map((category) => ({ text: 0, category }));
      },
    },
    policy: { kind: "maxInput", tokens, characters, messages },
  });
}

function countMessages({ body }: PluginRequest): number {
  if ("messages" in body) return body.messages.length;
  const texts: unknown = "prompt" in body ? body.prompt : "input" in body ? body.input : [];
  return Array.isArray(texts) && typeof texts[0] === "string" ? texts.length : 1;
}
