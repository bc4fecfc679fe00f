import { z } from "zod";
import { catalog, type ErrorCode } from "../../errors/catalog.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import type { CooldownEvent, FallbackEvent, Plugin, RequestOutcome, SettledEvent, WarningEvent } from "../plugin.js";
import { recordFields } from "../telemetry/record-plugin.js";
import { attemptRecord, type RecordFields, requestRecord } from "../telemetry/records.js";

type Level = "debug" | "info" | "warn" | "error";

/** What is used of a logger: `pino`'s shape, which others have, too. */
export type LoggerLike = { readonly [L in Level]: (fields: object, message: string) => unknown };

export interface LoggerOptions extends RecordFields {
  /** Level of the lines about requests that went well, were refused, or were left by their callers. @default "info" */
  readonly level?: "debug" | "info" | undefined;
  /** Upstream calls that get a line, at `debug`. @default "failed" */
  readonly attempts?: "all" | "failed" | "none" | undefined;
  /** @default "logger" */
  readonly name?: string | undefined;
}

const optionsSchema = z.strictObject({
  level: z.enum(["debug", "info"], 'expected "debug" or "info"').default("info"),
  name: pluginNameSchema.default("logger"),
  ...recordFields,
  attempts: recordFields.attempts.unwrap().default("failed"),
});

const method = z.custom<LoggerLike[Level]>((value) => typeof value === "function", "expected a function");
/** Not strict: loggers have much else. */
const loggerSchema = z.object(
  { debug: method, info: method, warn: method, error: method } satisfies Record<Level, z.ZodType>,
  "expected a logger",
);

/**
 * A plugin that writes what happens into the host's own log: one line per request when it has ended, and one per
 * fallback, cooldown, recovery and warning.
 *
 * | `event` | level | fields beside `event` and `at` (Unix milliseconds) |
 * | --- | --- | --- |
 * | `request-settled` | `level`; `warn` if blocked; `error` if failed, interrupted, or broken by us | the record of the request |
 * | `attempt-ended` | `debug` | the record of the attempt |
 * | `fallback-taken` | `warn` | *request*, `from`, `to`, `chain`, `code` |
 * | `deployment-cooled` | `warn` | `deployment`, `provider`, `cause`, `untilMs` |
 * | `deployment-recovered` | `info` | `deployment`, `provider`, `cause`, `untilMs` |
 * | `warning-raised` | `warn` | `deployment`, `requestId` |
 *
 * *request* is `requestId`, `operation`, `model`, `group`, `user`, `team`, `organization`, `tags`. Fields that do not
 * apply are `undefined`. Nothing else is written: no error's text, no `principal.key`, which might be a credential, and
 * prompts, answers and metadata only where the options say so.
 *
 * @param log - Its methods are called as `log.info(fields, message)`.
 * @throws {InvalidOptionsError} `log` lacks a method, or an option is wrong.
 */
export function logger(log: LoggerLike, options: LoggerOptions = {}): Plugin {
  parseOwnOptions("logger", loggerSchema, log);
  const { level, name, attempts, ...fields } = parseOwnOptions("logger", optionsSchema, options);
  return {
    name,
    observesContent: Boolean(fields.content),
    onSettled(event) {
      const line = { event: event.type, ...requestRecord(event, fields) };
      return log[levelOf(event, level)](line, `request ${event.outcome}`);
    },
    onAttempt(event) {
      if (event.type !== "attempt-ended" || attempts === "none") return undefined;
      if (event.outcome === "ok" && attempts !== "all") return undefined;
      const line = { event: event.type, ...attemptRecord(event) };
      return log.debug(line, `attempt ${event.outcome === "ok" ? "succeeded" : "failed"} on ${event.deployment}`);
    },
    onFallback: (event) => log.warn(fallbackFields(event), `falling back from ${event.from} to ${event.to}`),
    onCooldown(event) {
      if (event.type === "deployment-cooled") log.warn(cooldownFields(event), `${event.deployment} is cooling down`);
      else log.info(cooldownFields(event), `${event.deployment} has recovered`);
    },
    onWarning: (event) => log.warn(warningFields(event), event.message),
  };
}

const OUTCOME_LEVELS: Readonly<Record<RequestOutcome, Level | undefined>> = {
  succeeded: undefined,
  rejected: undefined,
  cancelled: undefined,
  blocked: "warn",
  failed: "error",
  interrupted: "error",
};

/** `undefined` in the table stands for the level that was asked for. */
function levelOf({ outcome, code }: SettledEvent, level: Level): Level {
  return isOurs(code) ? "error" : (OUTCOME_LEVELS[outcome] ?? level);
}

/** A guard, a price or the router itself broke, whatever became of the request: somebody should look. */
function isOurs(code: ErrorCode | undefined): boolean {
  return code !== undefined && catalog[code].status === 500;
}

function requestFields(event: FallbackEvent) {
  return {
    event: event.type,
    at: event.at,
    requestId: event.requestId,
    operation: event.operation,
    model: event.model,
    group: event.group,
    user: event.principal?.user,
    team: event.principal?.team,
    organization: event.principal?.organization,
    tags: event.tags.length > 0 ? event.tags : undefined,
  };
}

function fallbackFields(event: FallbackEvent) {
  return { ...requestFields(event), from: event.from, to: event.to, chain: event.chain, code: event.code };
}

function cooldownFields({ type, at, deployment, provider, cause, untilMs }: CooldownEvent) {
  return { event: type, at, deployment, provider, cause, untilMs };
}

function warningFields({ type, at, deployment, requestId }: WarningEvent) {
  return { event: type, at, deployment, requestId };
}
