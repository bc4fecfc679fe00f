import type { DroppedFields } from "../encoded-body.js";
import { isJsonObject, type JsonObject, textOf } from "../json-object.js";
import { type Block, type Message, REASONING_FORMAT } from "./blocks.js";
import type { ModelFacts } from "./model-facts.js";

/**
 * The thinking of an earlier turn, rebuilt from `reasoning_details` (wire C5): the API wants it back unchanged. What
 * another vendor signed means nothing here and is left out.
 */
export function thinkingBlocks({ reasoning_details: details, reasoning_content: visible }: JsonObject): Block[] {
  if (!Array.isArray(details)) return [];
  const parts = new Map<string, ThinkingPart>();
  details.forEach((detail: unknown, position) => {
    if (!isJsonObject(detail) || detail.format !== REASONING_FORMAT) return;
    // A stream gives the pieces of one block separately, under the block's index.
    const key = typeof detail.index === "number" ? `${String(detail.type)} ${detail.index}` : `at ${position}`;
    const part = parts.get(key) ?? { text: undefined, signature: undefined, data: undefined };
    parts.set(key, part);
    addDetail(part, detail);
  });
  const all = [...parts.values()];
  const signed = all.filter(({ signature }) => signature !== undefined);
  return all.flatMap((part): Block[] => {
    if (part.data !== undefined) return [{ type: "redacted_thinking", data: part.data }];
    if (part.signature === undefined) return [];
    // Of a streamed answer only the signature is here; with one block its text is known all the same.
    const text = part.text ?? (signed.length === 1 ? textOf(visible) : undefined) ?? "";
    return [{ type: "thinking", thinking: text, signature: part.signature }];
  });
}

interface ThinkingPart {
  text: string | undefined;
  signature: string | undefined;
  data: string | undefined;
}

function addDetail(part: ThinkingPart, detail: JsonObject): void {
  if (detail.type === "reasoning.encrypted") part.data = textOf(detail.data) ?? part.data;
  if (detail.type !== "reasoning.text") return;
  const text = textOf(detail.text);
  if (text !== undefined) part.text = (part.text ?? "") + text;
  part.signature = textOf(detail.signature) ?? part.signature;
}

/** What a request says about reasoning. */
export interface ReasoningPlan {
  readonly thinking: JsonObject | undefined;
  readonly effort: string | undefined;
}

const NOTHING: ReasoningPlan = { thinking: undefined, effort: undefined };
/** The least that a budget may be. */
const MIN_BUDGET = 1_024;
const BUDGETS: ReadonlyMap<string, number> = new Map([
  ["minimal", 1_024],
  ["low", 1_024],
  ["medium", 2_048],
  ["high", 4_096],
  ["xhigh", 4_096],
  ["max", 4_096],
]);

export interface ReasoningRequest {
  readonly facts: ModelFacts;
  /** Whether models that think adaptively show their thoughts. @default as the model does */
  readonly display?: string | undefined;
  readonly maxTokens: number;
  /** The model must call a tool: it cannot think first. */
  readonly forcesTool: boolean;
  readonly messages: readonly Message[];
  readonly report: DroppedFields;
}

/** `thinking` in Anthropic's own words wins over `reasoning_effort`. */
export function planReasoning(body: JsonObject, request: ReasoningRequest): ReasoningPlan {
  if (isJsonObject(body.thinking)) return { thinking: body.thinking, effort: undefined };
  const effort = textOf(body.reasoning_effort);
  if (effort === undefined) return NOTHING;
  if (!BUDGETS.has(effort) && effort !== "none") {
    request.report.add("reasoning_effort");
    return NOTHING;
  }
  switch (request.facts.thinking) {
    case "none":
      if (effort !== "none") request.report.add("reasoning_effort");
      return NOTHING;
    case "budget":
      return budgetPlan(effort, request);
    case "adaptive":
      return adaptivePlan(effort, request);
  }
}

function budgetPlan(effort: string, { maxTokens, forcesTool, messages, report }: ReasoningRequest): ReasoningPlan {
  if (effort === "none") return NOTHING;
  const budget = Math.min(BUDGETS.get(effort) ?? 0, maxTokens - 1);
  if (budget < MIN_BUDGET || forcesTool || !canThink(messages)) {
    report.add("reasoning_effort");
    return NOTHING;
  }
  return { thinking: { type: "enabled", budget_tokens: budget }, effort: undefined };
}

/**
 * With a budget the API wants thoughts before the calls of the turn that goes on, and nothing to continue. A turn that
 * another vendor's model began has no thoughts that could be sent.
 */
function canThink(messages: readonly Message[]): boolean {
  if (messages.at(-1)?.role === "assistant") return false;
  const turn = messages.findLast(({ role }) => role === "assistant")?.content ?? [];
  const first = turn[0]?.type;
  return !turn.some(({ type }) => type === "tool_use") || first === "thinking" || first === "redacted_thinking";
}

function adaptivePlan(effort: string, { facts, display, forcesTool, report }: ReasoningRequest): ReasoningPlan {
  if (effort === "none") return { thinking: { type: "disabled" }, effort: undefined };
  const known = effort === "minimal" ? "low" : effort === "xhigh" && !facts.hasXhighEffort ? "max" : effort;
  if (forcesTool) {
    report.add("reasoning_effort");
    return { thinking: undefined, effort: known };
  }
  return { thinking: { type: "adaptive", ...(display === undefined ? {} : { display }) }, effort: known };
}

/** Whether a request with this `thinking` thinks before it answers. */
export function isThinking(thinking: JsonObject | undefined): boolean {
  return thinking !== undefined && thinking.type !== "disabled";
}
