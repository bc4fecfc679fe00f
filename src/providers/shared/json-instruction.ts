/** Asks in words for what a model cannot be held to. @param schema - A JSON schema; without it any object will do. */
export function jsonInstruction(schema?: object | undefined): string {
  const instruction = "Answer with one JSON object and nothing else: no explanation, no Markdown.";
  return schema ? `${instruction} It must fit this JSON schema: ${JSON.stringify(schema)}` : instruction;
}
