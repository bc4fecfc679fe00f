import { z } from "zod";
import { type OptionsIssue, routerError } from "../../errors/router-error.js";
import type { ChatMessage, ChatRequest } from "../../protocol/chat.js";
import { exceedsDepth } from "../../protocol/json.js";
import type { Chunk, Reply } from "../../protocol/operations.js";
import { matchSchema, valueMatcher } from "../limits/scope.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin, PluginRequest } from "../plugin.js";
import { buildGuardrail } from "./guardrail.js";
import type { Finding, InspectionContext } from "./inspection.js";
import { type GuardrailOptions, guardrailFields, settingsOf } from "./options.js";
import { type AskedRouter, OwnRequests } from "./own-requests.js";
import { compileSchema, SchemaProblem, type ValueValidator } from "./schema-validator.js";
import type { InspectedText } from "./texts.js";
import { Tally, VerdictRecorder } from "./verdict.js";

/** What is used of Ajv (`new Ajv({ allErrors: true })`): any version whose `compile` returns such a function will do. */
export interface AjvLike {
  compile(schema: object): {
    (value: unknown): unknown;
    errors?: readonly { readonly instancePath: string; readonly message?: string | undefined }[] | null | undefined;
  };
}

export interface JsonSchemaOptions extends Omit<GuardrailOptions, "placeholder" | "unreadable" | "action"> {
  /** What answers have to be. Either this or `from`. */
  readonly schema?: Readonly<Record<string, unknown>> | boolean | undefined;
  /** `"request"`: answers have to be what the request's own `response_format` says. */
  readonly from?: "request" | undefined;
  /** Names, or patterns with `*`, of the models whose answers are looked at. @default all */
  readonly match?: string | readonly string[] | undefined;
  /** Asks the same model once more for an answer that is wrong: a request of its own, which the caller pays. @default false */
  readonly repair?: boolean | undefined;
  /** `block`: wrong answers are refused. `flag`: they are only told of. @default "block" */
  readonly action?: "block" | "flag" | undefined;
  /** Checks `schema` with Ajv, which knows all keywords, instead of the validator of this package. */
  readonly ajv?: AjvLike | undefined;
}

const { placeholder: _, unreadable: __, ...fields } = guardrailFields;
const optionsSchema = z.strictObject({
  ...fields,
  mode: guardrailFields.mode.unwrap().default("output"),
  schema: z.union([z.boolean(), z.record(z.string(), z.unknown())], "expected a JSON schema").optional(),
  from: z.enum(["request"], 'expected "request"').optional(),
  match: matchSchema,
  repair: z.boolean("expected a boolean").default(false),
  ajv: z
    .custom<AjvLike>(
      (value) => typeof value === "object" && value !== null && "compile" in value,
      "expected an instance of Ajv",
    )
    .optional(),
});

const ANSWER = /^choices\[(\d+)\]\.(?:message\.content|text)$/;
/** Deeper answers are wrong, whatever their schema says. */
const MAX_ANSWER_DEPTH = 64;
/** Of a wrong answer that the model is shown again. */
const MAX_SHOWN_LENGTH = 20_000;
/** Wrong answers of one reply that are repaired: as many as a caller may ask for. */
const MAX_REPAIRS = 8;
const REPAIR_TIMEOUT_MS = 60_000;

type Category = "invalid-json" | "schema-mismatch";

interface Wrong {
  readonly category: Category;
  readonly problems: readonly string[];
}

/** What is known of the choices of a reply beside their texts, by index. */
class ChoiceFacts {
  readonly seen = new Set<number>();
  /** They say something: an answer, a call or a refusal. */
  readonly speaking = new Set<number>();
  /** Call tools: what they say beside that is no answer. */
  readonly calling = new Set<number>();
  /** Cut off: the same again would be cut off again. */
  readonly cut = new Set<number>();

  note(index: number, said: unknown, finishReason: unknown): void {
    this.seen.add(index);
    if (finishReason === "length") this.cut.add(index);
    if (typeof said === "string") {
      if (said !== "") this.speaking.add(index);
      return;
    }
    // A message or a delta, as the decoders promise; fields are looked at one by one.
    const { content, refusal, tool_calls, function_call } = (said ?? {}) as Readonly<Record<string, unknown>>;
    if (content || refusal) this.speaking.add(index);
    if (function_call || (Array.isArray(tool_calls) && tool_calls.length > 0)) {
      this.speaking.add(index);
      this.calling.add(index);
    }
  }

  noteAll(choices: readonly object[]): void {
    for (const [place, choice] of choices.entries()) {
      const { index = place, message, delta, text, finish_reason } = choice as Readonly<Record<string, unknown>>; // of either operation
      this.note(Number(index), text ?? message ?? delta, finish_reason);
    }
  }

  get hasEmpty(): boolean {
    return [...this.seen].some((index) => !this.speaking.has(index));
  }
}

/**
 * A guardrail that delivers answers in JSON only if they are as a schema says.
 *
 * @throws {InvalidOptionsError} an option is wrong, the schema is none, or what is asked for cannot be done.
 * @see docs/guardrails.md, "Answers in JSON"
 */
export function jsonSchema(options: JsonSchemaOptions): Plugin<AskedRouter> {
  const parsed = parseOwnOptions("jsonSchema", optionsSchema, options);
  const { repair, schema, from, onVerdict } = parsed;
  const timeoutMs = parsed.timeoutMs ?? (repair ? REPAIR_TIMEOUT_MS : undefined);
  const conflicts = conflictsOf(parsed);
  let given: ValueValidator | undefined;
  if (schema !== undefined) {
    try {
      given = validatorOf(schema, parsed.ajv);
    } catch (error) {
      const problem = error instanceof Error ? error.message : "it is no schema";
      const hint = error instanceof SchemaProblem ? "; pass `ajv` for schemas that need all of the standard" : "";
      conflicts.push({ path: "jsonSchema.schema", message: `cannot be used: ${problem}${hint}` });
    }
  }
  const settings = settingsOf(
    { ...parsed, timeoutMs, placeholder: "[{category}]" },
    { factory: "jsonSchema", modes: ["output", "stream", "log-only"], actions: ["block", "flag"], conflicts },
  );
  const { name, isLogOnly, failure } = settings;
  const own = new OwnRequests(name);
  const matches = valueMatcher(parsed.match);
  const validators = new WeakMap<object, ValueValidator>();
  const facts = new WeakMap<object, ChoiceFacts>();

  const validatorFor = ({ model, identity }: PluginRequest) =>
    matches(model) ? (given ?? validators.get(identity)) : undefined;
  const factsOf = ({ identity }: PluginRequest) => {
    let known = facts.get(identity);
    if (!known) facts.set(identity, (known = new ChoiceFacts()));
    return known;
  };

  const findings = (texts: readonly InspectedText[], { request }: InspectionContext): [Finding, Wrong][] => {
    const validator = validatorFor(request);
    if (!validator) return [];
    const known = factsOf(request);
    return texts.flatMap(({ path, text }, place): [Finding, Wrong][] => {
      const choice = ANSWER.exec(path)?.[1];
      if (choice === undefined || known.calling.has(Number(choice))) return [];
      const wrong = wrongIn(text, validator);
      return wrong ? [[{ text: place, category: wrong.category }, wrong]] : [];
    });
  };

  /** @returns `undefined`: the second answer is wrong, too, or did not come. */
  const repaired = async (text: string, wrong: Wrong, { request, signal }: InspectionContext) => {
    const validator = validatorFor(request);
    const body = repairBody(request, text, wrong);
    if (!validator || !body) return undefined;
    try {
      const deadlineMs = timeoutMs ?? REPAIR_TIMEOUT_MS;
      // Where the first answer may not come from, the second may not either.
      const { principal, require, fallbacks } = request;
      const answer = await own.ask(body, { signal, principal, require, fallbacks, deadlineMs });
      return wrongIn(answer, validator) ? undefined : answer;
    } catch {
      return undefined;
    }
  };

  const plugin = buildGuardrail({
    settings,
    inspection: {
      kind: "check",
      stream: "buffer",
      check(texts, context) {
        const found = findings(texts, context);
        if (!repair || found.length === 0 || found.length > MAX_REPAIRS) return found.map(([finding]) => finding);
        const known = factsOf(context.request);
        const isCut = ({ text }: Finding) => known.cut.has(Number(ANSWER.exec(texts[text]?.path ?? "")?.[1]));
        // If one cannot be mended, the reply is refused: then no other is asked for.
        if (found.some(([finding]) => isCut(finding))) return found.map(([finding]) => finding);
        return Promise.all(
          found.map(async ([finding, wrong]) => {
            const replacement = await repaired(texts[finding.text]?.text ?? "", wrong, context);
            return replacement === undefined ? finding : { ...finding, replacement };
          }),
        );
      },
    },
    readsForm: true,
    policy: { kind: "jsonSchema", version: 1, schema, from, match: parsed.match, repair, hasAjv: !!parsed.ajv },
  });

  const recorder = new VerdictRecorder(name, plugin.policyVersion ?? "", onVerdict);
  /** An answer that says nothing has no text that could be looked at. */
  const refuseEmpty = (known: ChoiceFacts, request: PluginRequest) => {
    if (!known.hasEmpty || !validatorFor(request)) return;
    const tally = new Tally();
    tally.add("empty-answer");
    const { action } = settings;
    recorder.record(request, { side: "reply", action, tally, unread: [] });
    if (isLogOnly || action === "flag") return;
    const message = `The reply was blocked by the guardrail ${JSON.stringify(name)}: empty-answer.`;
    throw routerError("content_policy_violation", { message, requestId: request.id });
  };
  async function* watched(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncGenerator<Chunk> {
    const known = factsOf(request);
    for await (const chunk of chunks) {
      known.noteAll(chunk.choices);
      yield chunk;
    }
    refuseEmpty(known, request);
  }
  const { beforeRequest, afterReply, transformStream } = plugin;
  return own.guarding({
    ...plugin,
    ...(from && {
      beforeRequest(request) {
        const patch = beforeRequest?.(request);
        if (!matches(request.model)) return patch;
        try {
          const validator = requestedValidator(request);
          if (validator) validators.set(request.identity, validator);
        } catch (error) {
          // What it cannot check it does not let through (S41).
          if (failure === "open" || isLogOnly) return patch;
          const problem = error instanceof SchemaProblem ? error.message : "it is no schema";
          const message = `The guardrail ${JSON.stringify(name)} cannot check answers against this schema: ${problem}.`;
          throw routerError("invalid_request", {
            message,
            param: "response_format.json_schema.schema",
            requestId: request.id,
          });
        }
        return patch;
      },
    }),
    ...(afterReply && {
      afterReply(reply: Reply, request: PluginRequest) {
        // Not the index that an upstream gives them: texts of whole replies are known by their place.
        const known = factsOf(request);
        if ("choices" in reply) {
          known.noteAll((reply.choices as readonly object[]).map((choice, index) => ({ ...choice, index })));
          refuseEmpty(known, request);
        }
        return afterReply(reply, request);
      },
    }),
    ...(transformStream && {
      transformStream: (chunks: AsyncIterable<Chunk>, request: PluginRequest) =>
        validatorFor(request) ? transformStream(watched(chunks, request), request) : chunks,
    }),
  });
}

function conflictsOf({ schema, from, ajv, repair, action, mode }: z.infer<typeof optionsSchema>): OptionsIssue[] {
  const issues: OptionsIssue[] = [];
  if ((schema === undefined) === (from === undefined)) {
    issues.push({ path: "jsonSchema.schema", message: 'expected either `schema` or `from: "request"`' });
  }
  if (ajv && from) {
    issues.push({ path: "jsonSchema.ajv", message: "is for `schema`: schemas of callers are not compiled" });
  }
  const acts = action === "block" && mode !== "log-only" && !mode.includes("log-only");
  if (repair && !acts)
    issues.push({ path: "jsonSchema.repair", message: 'needs `action: "block"`, and not "log-only"' });
  return issues;
}

function validatorOf(schema: Readonly<Record<string, unknown>> | boolean, ajv: AjvLike | undefined): ValueValidator {
  if (!ajv || typeof schema === "boolean") return compileSchema(schema, { patterns: "refuse" });
  const validate = ajv.compile(structuredClone(schema));
  return (value) => {
    const isValid = validate(value);
    // A schema with `$async` would have it return a promise, which says nothing yet.
    if (typeof isValid !== "boolean") throw new TypeError("a validator returned something else than a boolean");
    if (isValid) return [];
    const errors = validate.errors ?? [];
    const problems = errors.slice(0, 10).map(({ instancePath, message = "" }) => `${instancePath || "/"} ${message}`);
    return problems.length > 0 ? problems : ["/ does not match the schema"];
  };
}

/** @throws {SchemaProblem} the request's schema cannot be checked against. */
function requestedValidator({ body }: PluginRequest): ValueValidator | undefined {
  const format = "response_format" in body ? body.response_format : undefined;
  if (format?.type === "json_object") return compileSchema({ type: "object" }, { patterns: "skip" });
  if (format?.type !== "json_schema") return undefined;
  return compileSchema(format.json_schema?.schema ?? true, { patterns: "skip" });
}

function wrongIn(text: string, validator: ValueValidator): Wrong | undefined {
  const invalid = (problem: string): Wrong => ({ category: "invalid-json", problems: [problem] });
  if (exceedsDepth(text, MAX_ANSWER_DEPTH)) return invalid(`It is nested deeper than ${MAX_ANSWER_DEPTH}.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return invalid("It is not JSON, or not only JSON.");
  }
  const problems = validator(value, text.length);
  return problems.length > 0 ? { category: "schema-mismatch", problems } : undefined;
}

/** The same question, with the wrong answer and what is wrong with it. */
function repairBody(
  { operation, body, model }: PluginRequest,
  text: string,
  { problems }: Wrong,
): (ChatRequest & { stream: false }) | undefined {
  if (operation !== "chat.completions" || !("messages" in body)) return undefined;
  const { stream_options: _, ...rest } = body;
  const request = `Your answer is not what was asked for:
${problems.map((problem) => `- ${problem.slice(0, 400)}`).join("\n")}

Answer again, with nothing but JSON that has none of these faults.`;
  const messages: ChatMessage[] = [
    ...body.messages,
    { role: "assistant", content: text.slice(0, MAX_SHOWN_LENGTH) },
    { role: "user", content: request },
  ];
  return { ...rest, model, messages, stream: false, n: 1 };
}
