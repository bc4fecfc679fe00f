import { type ModelFacts as ClaudeFacts, modelFacts as claudeFacts } from "../shared/claude/model-facts.js";

/** What differs between the models, as far as requests must know. */
export interface ModelFacts {
  /** Set for Anthropic's models. */
  readonly claude: ClaudeFacts | undefined;
  /** How reasoning is asked for; `none`: it cannot be. */
  readonly reasoning: "claude" | "effort" | "nova" | "none";
  /** Where `top_k` goes. */
  readonly topK: "field" | "nova" | "none";
  /** Can be made to call a tool. */
  readonly takesForcedTool: boolean;
  /** Takes marks for its prompt cache. */
  readonly hasCache: boolean;
  /** Ids of tool calls are nine letters and digits. */
  readonly hasShortCallIds: boolean;
  /** Thoughts that Anthropic has signed may go to it. */
  readonly takesSignedThoughts: boolean;
}

/** Who made a model: `us.anthropic.claude-…`, `arn:…:foundation-model/amazon.nova-…`. */
const VENDOR = /(?:^|[./:])(anthropic|amazon|meta|mistral|cohere|ai21|openai|deepseek|qwen|writer|google|nvidia)\./;

/**
 * @param model - An id, the id of an inference profile, or an ARN. An ARN that names no model has the facts of a model
 * that nobody knows.
 * @see https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html
 */
export function modelFacts(model: string): ModelFacts {
  const name = model.toLowerCase();
  const vendor = VENDOR.exec(name)?.[1];
  const claude = vendor === "anthropic" ? claudeOf(name) : undefined;
  return {
    claude,
    reasoning: reasoningOf(vendor, name, claude),
    topK: vendor === "anthropic" || vendor === "mistral" ? "field" : name.includes("amazon.nova") ? "nova" : "none",
    takesForcedTool: vendor !== "meta",
    hasCache: vendor === undefined || vendor === "anthropic" || vendor === "amazon",
    hasShortCallIds: vendor === "mistral",
    takesSignedThoughts: claude ? claude.thinking !== "none" : vendor === undefined,
  };
}

/** The oldest ones have their version in other words: `claude-v2:1`, `claude-instant-v1`. */
function claudeOf(name: string): ClaudeFacts {
  return claudeFacts(/claude-(?:v\d|instant)/.test(name) ? "claude-2" : name);
}

function reasoningOf(
  vendor: string | undefined,
  name: string,
  claude: ClaudeFacts | undefined,
): ModelFacts["reasoning"] {
  if (claude) return claude.thinking === "none" ? "none" : "claude";
  if (vendor === "openai") return "effort";
  return /amazon\.nova-2/.test(name) ? "nova" : "none";
}

/** How an embedding model is spoken to. */
export type EmbeddingFamily = "titan-v1" | "titan-v2" | "cohere-v3" | "cohere-v4" | "nova";

/** @returns `undefined` for a model that embeds nothing. */
export function embeddingFamily(model: string): EmbeddingFamily | undefined {
  const name = model.toLowerCase();
  if (name.includes("amazon.titan-embed")) return name.includes("text-v2") ? "titan-v2" : "titan-v1";
  if (name.includes("cohere.embed")) return /embed-v[4-9]/.test(name) ? "cohere-v4" : "cohere-v3";
  return /amazon\.nova-[\w.-]*embed/.test(name) ? "nova" : undefined;
}
