import { InvalidOptionsError } from "../../errors/router-error.js";
import type { TraceEntry } from "./workload.js";

/** Requests of one trace: more are refused, so that a wrong file does not fill the memory. */
const MAX_ENTRIES = 5_000_000;
const MAX_PROBLEMS = 20;

/**
 * Reads a trace of requests, JSON per line, as the ledger exports it (`ledgerToJsonLines`) or as you write it: `at` (Unix
 * milliseconds or an ISO time), `promptTokens`, `completionTokens`, and where there are some `model`, `organization`,
 * `team`, `user`, `key`, `requestId`, `durationMs` (then `at` is the time at which the request ended, as in the ledger).
 *
 * Of several attempts of one request, the one with the most output stands for it, at the time of the first. Embeddings and the
 * ledger's corrections are left out. The trace begins with its first request, and is in order of time.
 *
 * @throws {InvalidOptionsError} with the lines that are wrong, or when none is a request.
 */
export function parseTrace(text: string): TraceEntry[] {
  const problems: { path: string; message: string }[] = [];
  const entries = new Map<string, TraceEntry>();
  let lineNumber = 0;
  for (const line of linesOf(text)) {
    lineNumber += 1;
    if (line.trim() === "") continue;
    const parsed = parseLine(line);
    if (typeof parsed === "string") {
      problems.push({ path: `line ${lineNumber}`, message: parsed });
      if (problems.length >= MAX_PROBLEMS) break;
      continue;
    }
    if (!parsed) continue;
    const { requestId = `line ${lineNumber}`, entry } = parsed;
    const known = entries.get(requestId);
    if (!known) entries.set(requestId, entry);
    else {
      const larger = entry.outputTokens > known.outputTokens ? entry : known;
      entries.set(requestId, { ...larger, atMs: Math.min(entry.atMs, known.atMs) });
    }
    if (entries.size > MAX_ENTRIES) {
      problems.push({ path: `line ${lineNumber}`, message: `more than ${MAX_ENTRIES} requests` });
      break;
    }
  }
  if (problems.length === 0 && entries.size === 0)
    problems.push({ path: "trace", message: "there is no request in it" });
  if (problems.length > 0) throw new InvalidOptionsError(problems);
  const sorted = [...entries.values()].sort((one, other) => one.atMs - other.atMs);
  const beginMs = sorted[0]?.atMs ?? 0;
  return sorted.map((entry) => ({ ...entry, atMs: entry.atMs - beginMs }));
}

function* linesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf("\n", start);
    yield text.slice(start, end === -1 ? text.length : end);
    if (end === -1) return;
    start = end + 1;
  }
}

interface ParsedLine {
  readonly requestId: string | undefined;
  readonly entry: TraceEntry;
}

/** @returns what is wrong, as a text; `undefined`: a line that is right and no request. */
function parseLine(line: string): ParsedLine | string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "is not JSON: expected one object per line, as the ledger exports them";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "expected an object";
  const fields = value as Readonly<Record<string, unknown>>;
  const { kind = "usage", operation = "chat.completions" } = fields;
  if (kind !== "usage" || operation === "embeddings") return undefined;
  const at = typeof fields.at === "string" ? Date.parse(fields.at) : fields.at;
  if (!isCount(at)) return "expected `at` to be a time: Unix milliseconds, or as ISO 8601";
  const { promptTokens, completionTokens, durationMs } = fields;
  if (!isCount(promptTokens)) return "expected `promptTokens` to be a number from 0";
  if (!isCount(completionTokens)) return "expected `completionTokens` to be a number from 0";
  const tenant = [fields.organization, fields.team, fields.user, fields.key].find(isText);
  const entry = {
    atMs: isCount(durationMs) ? at - durationMs : at,
    promptTokens: Math.max(1, Math.round(promptTokens)),
    outputTokens: Math.max(1, Math.round(completionTokens)),
    ...(isText(fields.model) && { model: fields.model }),
    ...(tenant !== undefined && { tenant }),
  };
  return { requestId: isText(fields.requestId) ? fields.requestId : undefined, entry };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
