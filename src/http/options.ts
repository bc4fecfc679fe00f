import { z } from "zod";
import { InvalidOptionsError } from "../errors/router-error.js";
import { type Clock, systemClock } from "../internal/clock.js";
import { OptionIssues } from "../router/option-issues.js";
import type { Authenticate, AuthorizeMetrics } from "./authenticate.js";
import type { BodyLimits } from "./http-request.js";

/** How a handler receives requests. Whatever is left out has a safe default. */
export interface HandlerOptions {
  /**
   * Says who is calling, or throws to refuse. Called before the body is read, for every route but health and metrics. What it
   * throws reaches the client as 401 and is reported as a warning, unless it is a `RouterError`, which keeps its code.
   * Without it every caller is anonymous; `false` says that this is meant, where the router has a directory.
   */
  readonly authenticate?: Authenticate | false | undefined;
  /** How long `authenticate` may take, in milliseconds, 1–60000; then the caller is refused (401). @default 5000 */
  readonly authenticateTimeoutMs?: number | undefined;
  /**
   * Who may read `GET /metrics`, which tells about all tenants: asked instead of `authenticate`, within the same time.
   * Anything but `true` is refused (403), and so is throwing (401, or the `RouterError`'s own code). Without it the
   * metrics are refused wherever callers are told apart: by `authenticate`, or by the host's principal.
   */
  readonly authorizeMetrics?: AuthorizeMetrics | undefined;
  /** Where the routes begin. Empty, or segments that begin with `/`. @default "/v1" */
  readonly basePath?: string | undefined;
  /** Bytes of a request body, 1–1073741824 (413). @default the router's `inputLimits.bodyBytes`, 10485760 */
  readonly maxBodyBytes?: number | undefined;
  /** How long a body may take to arrive, in milliseconds, 1–600000 (408). @default the router's `inputLimits.bodyTimeMs`, 30000 */
  readonly bodyTimeoutMs?: number | undefined;
  /**
   * Slowest pace of a body after `bodyGraceMs`, in bytes per second, 0–1073741824; 0 takes any pace (408).
   * @default the router's `inputLimits.bodyBytesPerSecond`, 1024
   */
  readonly minBodyBytesPerSecond?: number | undefined;
  /** How long a body may be slower than that, in milliseconds, 0–600000. @default the router's `inputLimits.bodyGraceMs`, 10000 */
  readonly bodyGraceMs?: number | undefined;
  /** How deep arrays and objects of a body may nest, 1–512 (400). @default the router's `inputLimits.jsonDepth`, 64 */
  readonly maxJsonDepth?: number | undefined;
  /** A client that reads nothing for so long is taken to have left, in milliseconds, 1–3600000. @default 60000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
}

/** The options of a handler, parsed. Body limits that are `undefined` are the router's. */
export interface HandlerSettings {
  /** `false`: the host has said that callers are anonymous. */
  readonly authenticate: Authenticate | false | undefined;
  readonly authenticateTimeoutMs: number;
  readonly authorizeMetrics: AuthorizeMetrics | undefined;
  /** Empty, or with a leading and without a trailing slash. */
  readonly basePath: string;
  readonly limits: { readonly [Limit in keyof BodyLimits]: BodyLimits[Limit] | undefined };
  readonly stallTimeoutMs: number;
  readonly clock: Clock;
}

const isFunction = (value: unknown): boolean => typeof value === "function";
const isClock = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "now" in value && "schedule" in value && isFunction(value.schedule);
const integer = (least: number, most: number) => z.int().min(least).max(most);

export const handlerSchema = z.strictObject({
  authenticate: z
    .custom<Authenticate | false>(
      (value) => value === false || isFunction(value),
      "expected a function, or `false`: every caller is anonymous",
    )
    .optional(),
  authenticateTimeoutMs: integer(1, 60_000).default(5_000),
  authorizeMetrics: z.custom<AuthorizeMetrics>(isFunction, "expected a function").optional(),
  basePath: z
    .string()
    .regex(/^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)*\/?$/, 'expected a path such as "/v1", without dot segments and escapes')
    .transform((path) => path.replace(/\/$/, ""))
    .default("/v1"),
  maxBodyBytes: integer(1, 1_073_741_824).optional(),
  bodyTimeoutMs: integer(1, 600_000).optional(),
  minBodyBytesPerSecond: integer(0, 1_073_741_824).optional(),
  bodyGraceMs: integer(0, 600_000).optional(),
  maxJsonDepth: integer(1, 512).optional(),
  stallTimeoutMs: integer(1, 3_600_000).default(60_000),
  clock: z.custom<Clock>(isClock, "expected a clock: an object with `now` and `schedule`").default(() => systemClock),
});

/** @throws {InvalidOptionsError} with every problem at once. */
export function parseHandlerOptions(options: HandlerOptions): HandlerSettings {
  const issues = new OptionIssues(new Map());
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    issues.add([], "expected an object");
    throw new InvalidOptionsError(issues.list);
  }
  const parsed = issues.parseFields(handlerSchema, { ...options }, []);
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
  return {
    authenticate: parsed.authenticate,
    // Nothing is wrong, so that every field with a default was parsed.
    authenticateTimeoutMs: parsed.authenticateTimeoutMs!,
    authorizeMetrics: parsed.authorizeMetrics,
    basePath: parsed.basePath!,
    limits: {
      maxBodyBytes: parsed.maxBodyBytes,
      bodyTimeoutMs: parsed.bodyTimeoutMs,
      minBodyBytesPerSecond: parsed.minBodyBytesPerSecond,
      bodyGraceMs: parsed.bodyGraceMs,
      maxJsonDepth: parsed.maxJsonDepth,
    },
    stallTimeoutMs: parsed.stallTimeoutMs!,
    clock: parsed.clock!,
  };
}
