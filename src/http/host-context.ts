import { InvalidOptionsError } from "../errors/router-error.js";
import { nearMiss } from "../internal/near-miss.js";
import { OptionIssues } from "../internal/option-issues.js";
import type { HandlerContext, HostCallOptions } from "../router/call.js";

const CONTEXT_FIELDS = ["principal", "options"] as const satisfies readonly (keyof HandlerContext)[];
const OPTION_NAMES: Readonly<Record<keyof HostCallOptions, true>> = {
  tags: true,
  metadata: true,
  deadlineMs: true,
  require: true,
  priority: true,
  sessionId: true,
  fallbacks: true,
  explain: true,
  cache: true,
};

/**
 * Checks the names in a context; values are checked like those of any call.
 *
 * Servers hand functions that they mount objects of their own in its place: Workers their bindings, Bun its server, Deno
 * and Next.js facts about the request. What such an object holds is none of our business, unless it looks as if it was
 * meant for us.
 *
 * @throws {InvalidOptionsError} it has a field that would be ignored.
 */
export function checkContext(context: HandlerContext): void {
  let isOurs = false;
  let hasOthers = false;
  for (const name in context) {
    if (name === "principal" || name === "options") isOurs = true;
    else hasOthers = true;
  }
  const { options } = context;
  if (!hasOthers && options === undefined) return;
  const issues = new OptionIssues(new Map());
  if (hasOthers) addUnknownFields(context, isOurs, issues);
  if (options !== undefined) addWrongOptions(options, issues);
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
}

function addUnknownFields(context: HandlerContext, isOurs: boolean, issues: OptionIssues): void {
  for (const name of Object.keys(context)) {
    if (name === "principal" || name === "options") continue;
    if (Object.hasOwn(OPTION_NAMES, name)) {
      issues.add(["context", name], `belongs into \`options\`: \`{ options: { ${name} } }\``);
    } else if (isOurs || nearMiss(name, CONTEXT_FIELDS)) issues.addUnknownOption(["context", name], CONTEXT_FIELDS);
  }
}

function addWrongOptions(options: unknown, issues: OptionIssues): void {
  const at = ["context", "options"];
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    issues.addWrongValue(at, "an object", options);
    return;
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(OPTION_NAMES, name)) continue;
    if (name === "principal") issues.add([...at, name], "stands beside `options`: `{ principal, options }`");
    else if (name === "signal") issues.add([...at, name], "is the handler's own: it aborts when the client leaves");
    else issues.addUnknownOption([...at, name], Object.keys(OPTION_NAMES));
  }
}
