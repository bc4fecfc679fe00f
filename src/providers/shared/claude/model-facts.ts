/** What differs between Claude's models, as far as requests must know. */
export interface ModelFacts {
  /** How reasoning is asked for: a budget of tokens, an effort, or not at all. */
  readonly thinking: "none" | "budget" | "adaptive";
  /** Takes the effort `xhigh`. */
  readonly hasXhighEffort: boolean;
  /** How much of `temperature`, `top_p` and `top_k` it takes. */
  readonly sampling: "all" | "one" | "none";
  /** Takes `output_config.format`; others are made to call a tool whose input is the answer. */
  readonly hasStructuredOutputs: boolean;
  /** Continues an assistant message that ends the conversation. */
  readonly takesPrefill: boolean;
}

/** `claude-opus-4-1-20250805`, `claude-sonnet-4.5`: the name comes first since version 4. */
const NAME_FIRST = /claude-[a-z]+-(\d{1,2})(?:[.-](\d{1,2}))?(?!\d)/;
/** `claude-3-5-sonnet-20241022`, `claude-2.1`. */
const VERSION_FIRST = /claude-(\d)(?:[.-](\d{1,2}))?(?!\d)/;

/** Servers that are only compatible: what Anthropic's API took from the start, and little else. */
const COMPATIBLE: ModelFacts = {
  thinking: "budget",
  hasXhighEffort: false,
  sampling: "all",
  hasStructuredOutputs: false,
  takesPrefill: true,
};

/** @see https://docs.claude.com/en/docs/about-claude/models */
export function modelFacts(model: string): ModelFacts {
  const name = model.toLowerCase();
  if (!name.includes("claude")) return COMPATIBLE;
  const found = NAME_FIRST.exec(name) ?? VERSION_FIRST.exec(name);
  // A name without a version, such as an alias for the latest model.
  if (!found) return factsOf(Number.POSITIVE_INFINITY);
  return factsOf(Number(found[1]) * 100 + Number(found[2] ?? 0));
}

/** @param version - Hundreds are the major version: 405 is 4.5. */
function factsOf(version: number): ModelFacts {
  return {
    thinking: version < 307 ? "none" : version < 406 ? "budget" : "adaptive",
    hasXhighEffort: version >= 407,
    sampling: version < 401 ? "all" : version <= 406 ? "one" : "none",
    hasStructuredOutputs: version >= 401,
    takesPrefill: version < 406,
  };
}
