import type { z } from "zod";
import { type RouterError, routerError } from "../../errors/router-error.js";
import { OptionIssues } from "../../internal/option-issues.js";
import { checkBodyHeaders, parseBody } from "../body.js";
import type { BodyLimits, HttpRequest, ReadBody } from "../http-request.js";

/** @throws {RouterError} `invalid_request` with every problem, with the name that was probably meant. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown): T {
  const issues = new OptionIssues(new Map());
  const parsed = issues.parse(schema, value, []);
  const [first] = issues.list;
  if (first) {
    const message = issues.list.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
    throw routerError("invalid_request", { message, param: first.path === "" ? null : first.path });
  }
  // No issue: it was parsed.
  return parsed as T;
}

/** The body of a change; one that is empty states nothing. @throws {RouterError} */
export async function readBodyOf(request: HttpRequest, maxBodyBytes: number): Promise<Record<string, unknown>> {
  const limits: BodyLimits = {
    maxBodyBytes,
    bodyTimeoutMs: 30_000,
    minBodyBytesPerSecond: 1_024,
    bodyGraceMs: 10_000,
    maxJsonDepth: 16,
  };
  checkBodyHeaders(request, limits);
  const body = await request.readBody(limits);
  return isEmpty(body) ? {} : (parseBody(body, limits) as Record<string, unknown>); // a JSON object
}

function isEmpty(body: ReadBody): boolean {
  return body.kind === "bytes" ? body.bytes.length === 0 : body.value === undefined || body.value === "";
}

/** Of these the text of a query becomes what the schema asks for. */
const NUMBERS = new Set(["limit", "from", "to"]);
const LISTS = new Set(["by"]);

/** @throws {RouterError} `invalid_request`. */
export function parseQuery<T>(schema: z.ZodType<T>, query: URLSearchParams): T {
  const fields = new Map<string, unknown>();
  for (const [name, text] of query) {
    if (fields.has(name)) {
      throw invalid(name, LISTS.has(name) ? "is given twice: separate its values by commas" : "is given twice");
    }
    if (NUMBERS.has(name) && /^\d{1,16}$/.test(text)) fields.set(name, Number(text));
    else if (LISTS.has(name)) fields.set(name, text === "" ? [] : text.split(","));
    else fields.set(name, text);
  }
  return parseInput(schema, Object.fromEntries(fields));
}

function invalid(param: string, message: string): RouterError {
  return routerError("invalid_request", { message: `${param}: ${message}`, param });
}
