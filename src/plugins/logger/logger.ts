import { z } from "zod";
import { catalog, type ErrorCode } from "../../errors/catalog.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import {
  type CooldownEvent,
  eventsOfInterest,
  type FallbackEvent,
  type Plugin,
  type RequestOutcome,
  type RouterEvent,
  type SettledEvent,
  type WarningEvent,
} from "../plugin.js";
import { recordFields } from "../telemetry/record-plugin.js";
import { attemptRecord, type RecordFields, requestRecord, type TelemetryRecord } from "../telemetry/records.js";
import { BoundLoggers, ownFields } from "./bound-loggers.js";

type Level = "debug" | "info" | "warn" | "error";

/** What is used of a logger: `pino`'s shape, which others have, too. */
export type LoggerLike = { readonly [L in Level]: (fields: object, message: string) => unknown } & {
  /** What is not logged is not put together either, where the logger can tell. */
  readonly isLevelEnabled?: ((level: string) => boolean) | undefined;
  /** Only for {@link LoggerOptions.bindsRepeated}. */
  readonly child?: ((fields: Record<string, unknown>) => LoggerLike) | undefined;
};

export interface LoggerOptions extends RecordFields {
  /** Level of the lines about requests that went well, were refused, or were left by their callers. @default "info" */
  readonly level?: "debug" | "info" | undefined;
  /** Upstream calls that get a line, at `debug`. @default "failed" */
  readonly attempts?: "all" | "failed" | "none" | undefined;
  /**
   * Fields that are the same for many requests are bound with `log.child` (up to 1,000 loggers are kept), so that they are
   * not written out again for each line: a third less work. They come first in the line then, and `pino`'s `mixin`,
   * `nestedKey`, `formatters.log` and hooks do not get them. @default false
   */
  readonly bindsRepeated?: boolean | undefined;
  /** @default "logger" */
  readonly name?: string | undefined;
}

const optionsSchema = z.strictObject({
  level: z.enum(["debug", "info"], 'expected "debug" or "info"').default("info"),
  name: pluginNameSchema.default("logger"),
  bindsRepeated: z.boolean("expected a boolean").default(false),
  ...recordFields,
  attempts: recordFields.attempts.unwrap().default("failed"),
});

const method = z.custom<LoggerLike[Level]>((value) => typeof value === "function", "expected a function");
/** Not strict: loggers have much else. */
const loggerSchema = z.object(
  {
    ...({ debug: method, info: method, warn: method, error: method } satisfies Record<Level, z.ZodType>),
    isLevelEnabled: method.optional(),
  },
  "expected a logger",
);
const parentSchema = z.object({ child: method });

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
 * apply are absent; a logger with `isLevelEnabled`, like `pino`, writes JSON without those that are `undefined` itself, and
 * gets them so. Nothing else is written: no error's text, no `principal.key`, which might be a credential, and
 * prompts, answers and metadata only where the options say so.
 *
 * @param log - Its methods are called as `log.info(fields, message)`.
 * @throws {InvalidOptionsError} `log` lacks a method (`child`, too, where it is to be used), or an option is wrong.
 */
export function logger(log: LoggerLike, options: LoggerOptions = {}): Plugin {
  parseOwnOptions("logger", loggerSchema, log);
  const { level, name, attempts, bindsRepeated, ...fields } = parseOwnOptions("logger", optionsSchema, options);
  if (bindsRepeated) parseOwnOptions("logger", parentSchema, log);
  const loggers = bindsRepeated ? new BoundLoggers((repeated) => log.child?.(repeated) ?? log) : undefined;
  // What prints objects prints fields without anything in them; to leave them out costs as much as the record.
  const line = log.isLevelEnabled ? (written: object) => written : withoutUndefined;
  return {
    name,
    observesContent: Boolean(fields.content),
    [eventsOfInterest]: attempts === "none" ? EVENTS.filter((type) => type !== "attempt-ended") : EVENTS,
    onSettled(event) {
      const settledLevel = levelOf(event, level);
      if (log.isLevelEnabled?.(settledLevel) === false) return undefined;
      const message = SETTLED_MESSAGES[event.outcome];
      const bound = loggers?.of(event);
      return bound
        ? bound[settledLevel](line(ownFields(event, fields)), message)
        : log[settledLevel](line(lineOf(event.type, requestRecord(event, fields))), message);
    },
    onAttempt(event) {
      if (event.type !== "attempt-ended" || attempts === "none") return undefined;
      if (event.outcome === "ok" && attempts !== "all") return undefined;
      if (log.isLevelEnabled?.("debug") === false) return undefined;
      const record = line(lineOf(event.type, attemptRecord(event)));
      return log.debug(record, `attempt ${event.outcome === "ok" ? "succeeded" : "failed"} on ${event.deployment}`);
    },
    onFallback: (event) => log.warn(line(fallbackFields(event)), `falling back from ${event.from} to ${event.to}`),
    onCooldown(event) {
      if (event.type === "deployment-cooled")
        log.warn(line(cooldownFields(event)), `${event.deployment} is cooling down`);
      else log.info(line(cooldownFields(event)), `${event.deployment} has recovered`);
    },
    onWarning: (event) => log.warn(line(warningFields(event)), event.message),
  };
}

const EVENTS: readonly RouterEvent["type"][] = [
  "request-settled",
  "attempt-ended",
  "fallback-taken",
  "deployment-cooled",
  "deployment-recovered",
  "warning-raised",
];

/** The record itself, with one field more: nobody else has it, and a copy costs as much as the record. */
function lineOf(event: RouterEvent["type"], record: TelemetryRecord): object {
  const line: TelemetryRecord & { event?: RouterEvent["type"] } = record;
  line.event = event;
  return line;
}

function withoutUndefined(line: object): object {
  return Object.fromEntries(Object.entries(line).filter(([, value]) => value !== undefined));
}

const SETTLED_MESSAGES: Readonly<Record<RequestOutcome, string>> = {
  succeeded: "request succeeded",
  rejected: "request rejected",
  cancelled: "request cancelled",
  blocked: "request blocked",
  failed: "request failed",
  interrupted: "request interrupted",
};

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
