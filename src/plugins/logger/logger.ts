import { z } from "zod";
import { catalog, type ErrorCode } from "../../errors/catalog.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import type {
  AttemptEvent,
  CooldownEvent,
  FallbackEvent,
  Plugin,
  RequestOutcome,
  SettledEvent,
  WarningEvent,
} from "../plugin.js";

type Level = "debug" | "info" | "warn" | "error";

/** What is used of a logger: `pino`'s shape, which others have, too. */
export type LoggerLike = { readonly [L in Level]: (fields: object, message: string) => unknown };

export interface LoggerOptions {
  /** Level of the lines about requests that went well, were refused, or were left by their callers. @default "info" */
  readonly level?: "debug" | "info" | undefined;
  /** @default "logger" */
  readonly name?: string | undefined;
}

const optionsSchema = z.strictObject({
  level: z.enum(["debug", "info"], 'expected "debug" or "info"').default("info"),
  name: pluginNameSchema.default("logger"),
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
 * | `request-settled` | `level`; `warn` if blocked; `error` if failed, interrupted, or broken by us | *request*, `outcome`, `code`, `deployment`, `provider`, `attempts`, `durationMs`, `ttftMs`, `promptTokens`, `cachedTokens`, `completionTokens`, `reasoningTokens`, `isUsageEstimated`, `costUsd` |
 * | `attempt-ended` | `debug`, failed ones only | *request*, `attempt`, `deployment`, `provider`, `outcome`, `errorClass`, `code`, `status`, `durationMs` |
 * | `fallback-taken` | `warn` | *request*, `from`, `to`, `chain`, `code` |
 * | `deployment-cooled` | `warn` | `deployment`, `provider`, `cause`, `untilMs` |
 * | `deployment-recovered` | `info` | `deployment`, `provider`, `cause`, `untilMs` |
 * | `warning-raised` | `warn` | `deployment`, `requestId` |
 *
 * *request* is `requestId`, `operation`, `model`, `group`, `user`, `team`, `organization`, `tags`. Fields that do not
 * apply are `undefined`. Nothing else is written: no prompt, no answer, no metadata, no error's text, and no
 * `principal.key`, which might be a credential.
 *
 * @param log - Its methods are called as `log.info(fields, message)`.
 * @throws {InvalidOptionsError} `log` lacks a method, or an option is wrong.
 */
export function logger(log: LoggerLike, options: LoggerOptions = {}): Plugin {
  parseOwnOptions("logger", loggerSchema, log);
  const { level, name } = parseOwnOptions("logger", optionsSchema, options);
  return {
    name,
    onSettled: (event) => log[levelOf(event, level)](settledFields(event), `request ${event.outcome}`),
    onAttempt(event) {
      if (event.type !== "attempt-ended" || event.outcome === "ok") return;
      log.debug(attemptFields(event), `attempt failed on ${event.deployment}`);
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

function requestFields(event: SettledEvent | AttemptEvent | FallbackEvent) {
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

function settledFields(event: SettledEvent) {
  const { usage } = event;
  return {
    ...requestFields(event),
    outcome: event.outcome,
    code: event.code,
    deployment: event.deployment,
    provider: event.provider,
    attempts: event.attempts,
    durationMs: tenths(event.durationMs),
    ttftMs: tenths(event.ttftMs),
    promptTokens: usage?.promptTokens,
    cachedTokens: usage?.cachedTokens,
    completionTokens: usage?.completionTokens,
    reasoningTokens: usage?.reasoningTokens,
    isUsageEstimated: usage?.isEstimated,
    costUsd: usage?.costUsd,
  };
}

function attemptFields(event: AttemptEvent) {
  return {
    ...requestFields(event),
    attempt: event.attempt,
    deployment: event.deployment,
    provider: event.provider,
    outcome: event.outcome,
    errorClass: event.errorClass,
    code: event.code,
    status: event.status,
    durationMs: tenths(event.durationMs),
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

/** Clocks give more digits than a log wants. */
function tenths(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : Math.round(milliseconds * 10) / 10;
}
