/** What differs between Google's models, as far as requests must know. */
export interface ModelFacts {
  /** How reasoning is asked for: a budget of tokens, a level, or not at all. */
  readonly thinking: "none" | "budget" | "level";
  /** The smallest budget that can be asked for; 0 turns thinking off. */
  readonly leastBudget: number;
  /** The lowest level. */
  readonly leastLevel: "minimal" | "low";
  /** Refuses a history whose calls have no thought signature. */
  readonly needsSignatures: boolean;
  readonly hasSystemInstruction: boolean;
  /** Takes a JSON form of the answer beside tools. */
  readonly takesJsonWithTools: boolean;
  /** Fetches public URLs that stand in content; older models fetch only what Google holds. */
  readonly fetchesUrls: boolean;
}

/** @see https://ai.google.dev/gemini-api/docs/models */
export function modelFacts(model: string): ModelFacts {
  const name = model.toLowerCase();
  // Names without a version, such as `gemini-flash-latest`, mean the newest one; other families are older in all of this.
  const found = /gemini-(\d{1,2})(?:\.(\d{1,2}))?/.exec(name);
  const isGemini = name.includes("gemini");
  const version = found ? Number(found[1]) * 100 + Number(found[2] ?? 0) * 10 : isGemini ? Number.POSITIVE_INFINITY : 0;
  return {
    thinking: version < 250 ? "none" : version < 300 ? "budget" : "level",
    leastBudget: name.includes("pro") ? 128 : 0,
    leastLevel: name.includes("flash") ? "minimal" : "low",
    needsSignatures: version >= 300,
    hasSystemInstruction: !name.includes("gemma"),
    takesJsonWithTools: version >= 300,
    fetchesUrls: version >= 250,
  };
}
