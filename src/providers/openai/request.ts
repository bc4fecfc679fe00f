import type { Operation, RequestBody } from "../../protocol/operations.js";
import type { AttemptContext, ProviderSettings } from "../provider.js";
import { DroppedFields, type EncodedBody } from "../shared/encoded-body.js";
import { missingFeature } from "../shared/invalid-request.js";
import { isJsonObject, type JsonObject } from "../shared/json-object.js";
import { isNeutral } from "../shared/neutral.js";
import type { OpenAiFacts, RequestFacts } from "./facts.js";
import { type FieldRule, KNOWN_FIELDS, rulesOf } from "./parameters.js";

/** Everything about a body that is known before there is one. */
interface Plan {
  readonly rules: ReadonlyMap<string, FieldRule>;
  readonly facts: RequestFacts;
  readonly unknownFields: ProviderSettings["unknownFields"];
  readonly known: ReadonlySet<string>;
}

/** Writes bodies for one deployment. Callers' bodies are never changed. */
export class RequestWriter {
  readonly #plans: Readonly<Partial<Record<Operation, Plan>>>;

  constructor(facts: OpenAiFacts, { unknownFields }: ProviderSettings) {
    const plans: Partial<Record<Operation, Plan>> = {};
    for (const operation of Object.keys(KNOWN_FIELDS) as Operation[]) {
      const support = facts.operations[operation];
      if (!support) continue;
      plans[operation] = {
        rules: rulesOf(facts.request ?? {}, support.drops ?? 0, operation),
        facts: facts.request ?? {},
        unknownFields,
        known: KNOWN_FIELDS[operation],
      };
    }
    this.#plans = plans;
  }

  /** @throws {UpstreamError} class `invalid_request` with `lacksFeature`: the upstream has no words for it. */
  write(body: RequestBody, context: AttemptContext): EncodedBody {
    const plan = this.#plans[context.operation];
    if (!plan) throw missingFeature(`this deployment has no ${context.operation}`, null);
    const { facts } = plan;
    const report = new DroppedFields();
    // A body is an object whatever its operation; here its fields are looked up by name.
    const wire = copyOf(body as unknown as JsonObject, plan, report);
    wire.model = facts.model ?? context.model;
    if (Array.isArray(wire.messages)) wire.messages = adaptMessages(wire.messages, facts);
    setStreaming(wire, facts, context.isStreaming);
    if (context.continuesAnswer) facts.continueAnswer?.(wire);
    facts.adapt?.(wire, { operation: context.operation, dropped: (field) => report.add(field) });
    return { text: JSON.stringify(wire), dropped: report.fields };
  }
}

/** The fields in their order (R23), as the plan wants them. */
function copyOf(body: JsonObject, plan: Plan, report: DroppedFields): JsonObject {
  const { rules, unknownFields, known } = plan;
  let isPlain = true;
  for (const field in body) {
    if (rules.has(field) || (unknownFields !== "forward" && !known.has(field))) {
      isPlain = false;
      break;
    }
  }
  if (isPlain) return { ...body };

  const wire: JsonObject = {};
  for (const field of Object.keys(body)) {
    const value = body[field];
    const rule = rules.get(field);
    if (field === "__proto__") continue;
    if (rule === undefined) {
      if (unknownFields === "forward" || known.has(field)) wire[field] = value;
      else if (unknownFields === "drop") report.add(field);
      else
        throw missingFeature(`the field \`${field}\` is unknown, and this deployment takes no unknown fields`, field);
      continue;
    }
    switch (rule.kind) {
      case "leave-out":
        if (!rule.when(value)) wire[field] = value;
        else if (!isNeutral(field, value)) report.add(field);
        break;
      case "rename":
        if (value !== null && value !== undefined) wire[rule.to] = value;
        break;
      case "as-array":
        if (typeof value === "string") wire[field] = [value];
        else if (value !== null && value !== undefined) wire[field] = value;
    }
  }
  // The newer name wins over the one that it becomes, wherever they stand.
  for (const [field, rule] of rules) {
    if (rule.kind === "rename" && body[field] !== null && body[field] !== undefined) wire[rule.to] = body[field];
  }
  return wire;
}

function setStreaming(wire: JsonObject, { asksForUsage = true }: RequestFacts, isStreaming: boolean): void {
  if (!isStreaming) {
    if (wire.stream === true) {
      delete wire.stream;
      delete wire.stream_options;
    }
    return;
  }
  wire.stream = true;
  if (!asksForUsage) delete wire.stream_options;
  else {
    const { stream_options: given } = wire;
    wire.stream_options = isJsonObject(given) ? { ...given, include_usage: true } : { include_usage: true };
  }
}

/** The same array where nothing is to be changed. */
function adaptMessages(messages: unknown[], facts: RequestFacts): unknown[] {
  let adapted: unknown[] | undefined;
  for (let position = 0; position < messages.length; position++) {
    const message = messages[position];
    if (!isJsonObject(message)) continue;
    const changed = adaptMessage(message, position, messages, facts);
    if (changed === message) continue;
    adapted ??= [...messages];
    adapted[position] = changed;
  }
  return adapted ?? messages;
}

function adaptMessage(message: JsonObject, position: number, messages: unknown[], facts: RequestFacts): JsonObject {
  if (message.role === "developer") return facts.systemForDeveloper ? { ...message, role: "system" } : message;
  if (message.role !== "assistant") return message;
  const { reasoning_content: reasoning, reasoning_details: details, extra_content: extra, tool_calls: calls } = message;
  const losesReasoning = reasoning !== undefined && !keepsReasoning(message, position, messages, facts);
  const losesCallExtras = Array.isArray(calls) && calls.some((call) => isJsonObject(call) && "extra_content" in call);
  if (!losesReasoning && details === undefined && extra === undefined && !losesCallExtras) return message;

  const copy = { ...message };
  if (losesReasoning) delete copy.reasoning_content;
  delete copy.reasoning_details;
  delete copy.extra_content;
  if (losesCallExtras) copy.tool_calls = calls.map(withoutExtras);
  return copy;
}

function withoutExtras(call: unknown): unknown {
  if (!isJsonObject(call)) return call;
  const { extra_content: _, ...rest } = call;
  return rest;
}

/** DeepSeek wants reasoning back within the turn that calls tools, and refuses it elsewhere. */
function keepsReasoning(message: JsonObject, position: number, messages: unknown[], facts: RequestFacts): boolean {
  if (facts.keepsReasoning !== "tool-turn") return facts.keepsReasoning === "always";
  if (!Array.isArray(message.tool_calls)) return false;
  return !messages.slice(position + 1).some((later) => isJsonObject(later) && later.role === "user");
}
