import { Writable } from "node:stream";
import { pino } from "pino";
import { describe, expect, expectTypeOf, it } from "vitest";
import { routerError } from "../../../../src/errors/router-error.js";
import { type LoggerLike, logger } from "../../../../src/plugins/logger/logger.js";
import { pluginsSchema } from "../../../../src/plugins/options.js";
import type { Plugin, RequestOutcome, RouterEvent } from "../../../../src/plugins/plugin.js";
import { anAttemptEvent, aRunner, aSettledEvent, aStartedEvent, aWarning } from "../../../support/plugin-fixtures.js";

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

function aPino(level = "info") {
  const lines: Line[] = [];
  const destination = new Writable({
    write(text, _encoding, done) {
      lines.push(JSON.parse(String(text)));
      done();
    },
  });
  const options = { level, base: null, timestamp: false, formatters: { level: (label: string) => ({ level: label }) } };
  return { lines, log: pino(options, destination) };
}

async function logged(plugin: Plugin, ...events: readonly RouterEvent[]) {
  const fixture = aRunner(plugin);
  for (const event of events) fixture.runner.emit(event);
  await fixture.clock.advance(1);
  return fixture;
}

const base = aStartedEvent();
const settled = (outcome: RequestOutcome, code?: Parameters<typeof routerError>[0]) => aSettledEvent({ outcome, code });

describe("logger", () => {
  it("is a plugin that watches and does nothing else", () => {
    const plugin = logger(aPino().log);
    expect(pluginsSchema.safeParse([plugin]).success).toBe(true);
    expect(aRunner(plugin).runner.hasGuards).toBe(false);
    expectTypeOf(aPino().log).toExtend<LoggerLike>();
    expectTypeOf(console).toExtend<LoggerLike>();
  });

  it("hands a logger that prints objects no field without anything in it", async () => {
    const lines: object[] = [];
    const write = (fields: object) => void lines.push(fields);
    const console: LoggerLike = { debug: write, info: write, warn: write, error: write };
    const cooled = {
      type: "deployment-cooled",
      at: 1,
      deployment: "d",
      provider: "p",
      cause: "failures",
      untilMs: undefined,
    };
    const fallback = { ...base, type: "fallback-taken", from: "a", to: "b", chain: "onError", code: "upstream_error" };
    await logged(
      logger(console, { attempts: "all" }),
      base,
      anAttemptEvent({ type: "attempt-ended", outcome: "ok" }),
      aSettledEvent(),
      cooled as RouterEvent,
      fallback as RouterEvent,
      aWarning(),
    );
    expect(lines).toHaveLength(5);
    for (const fields of lines) {
      expect(Object.keys(fields).length).toBeGreaterThan(1);
      expect(Object.values(fields)).not.toContain(undefined);
    }
  });

  it("writes one line per request, with exactly the promised fields", async () => {
    const { lines, log } = aPino();
    await logged(logger(log), base, aSettledEvent({ principal: { user: "u1", team: "t1" }, tags: ["web"], ttftMs: 4 }));
    expect(lines).toEqual([
      {
        level: "info",
        event: "request-settled",
        recordVersion: 1,
        kind: "request",
        at: 1_767_225_600_000,
        startedAt: 1_767_225_599_988,
        requestId: "req_1",
        operation: "chat.completions",
        model: "chat",
        group: "chat",
        user: "u1",
        team: "t1",
        tags: ["web"],
        isStreaming: false,
        outcome: "succeeded",
        finishReason: "stop",
        deployment: "openai/gpt@api",
        provider: "openai",
        attempts: 1,
        groups: ["chat"],
        durationMs: 12.3,
        ttftMs: 4,
        promptTokens: 10,
        cachedTokens: 0,
        cacheWriteTokens: 0,
        completionTokens: 5,
        reasoningTokens: 0,
        isUsageEstimated: false,
        costNanoUsd: 1_000_000,
        costUsd: 0.001,
        msg: "request succeeded",
      },
    ]);
  });

  it.each<[RouterEvent, string, string]>([
    [settled("succeeded"), "info", "request succeeded"],
    [settled("cancelled", "cancelled"), "info", "request cancelled"],
    [settled("rejected", "rate_limit_exceeded"), "info", "request rejected"],
    [settled("rejected", "guardrail_error"), "error", "request rejected"],
    [settled("blocked", "content_policy_violation"), "warn", "request blocked"],
    [settled("failed", "upstream_error"), "error", "request failed"],
    [settled("interrupted", "upstream_timeout"), "error", "request interrupted"],
    [aWarning({ message: "careful" }), "warn", "careful"],
  ])("writes %o at %s", async (event, level, msg) => {
    const { lines, log } = aPino();
    await logged(logger(log), event);
    expect(lines).toMatchObject([{ level, msg, event: event.type }]);
  });

  it("warns of fallbacks and cooldowns, and tells of recoveries", async () => {
    const { lines, log } = aPino();
    const deployment = { at: 1, deployment: "d", provider: "p" };
    await logged(
      logger(log),
      { ...base, type: "fallback-taken", from: "a", to: "b", chain: "onError", code: "upstream_error" },
      { ...deployment, type: "deployment-cooled", cause: "failures", untilMs: 99 },
      { ...deployment, type: "deployment-recovered", cause: undefined, untilMs: undefined },
    );
    expect(lines).toMatchObject([
      { level: "warn", msg: "falling back from a to b", from: "a", to: "b", chain: "onError", code: "upstream_error" },
      { level: "warn", msg: "d is cooling down", deployment: "d", provider: "p", cause: "failures", untilMs: 99 },
      { level: "info", msg: "d has recovered", deployment: "d", provider: "p" },
    ]);
  });

  it("writes failed attempts for those who debug, and successful requests where they want them", async () => {
    const { lines, log } = aPino("debug");
    const attempt = anAttemptEvent({ attempt: 2 });
    await logged(
      logger(log, { level: "debug" }),
      { ...attempt, type: "attempt-started" },
      { ...attempt, outcome: "ok", durationMs: 5 },
      { ...attempt, outcome: "hard", errorClass: "server", code: "upstream_error", status: 500, durationMs: 5.06 },
      settled("succeeded"),
      settled("failed", "upstream_error"),
    );
    expect(lines).toMatchObject([
      { level: "debug", msg: "attempt failed on d", attempt: 2, errorClass: "server", status: 500, durationMs: 5.1 },
      { level: "debug", msg: "request succeeded" },
      { level: "error", msg: "request failed" },
    ]);
  });

  it("writes every attempt, or none, where that is asked for", async () => {
    const all = aPino("debug");
    await logged(logger(all.log, { attempts: "all" }), anAttemptEvent(), anAttemptEvent({ outcome: "hard" }));
    expect(all.lines).toMatchObject([
      { level: "debug", msg: "attempt succeeded on d", kind: "attempt", recordVersion: 1 },
      { level: "debug", msg: "attempt failed on d" },
    ]);
    const none = aPino("debug");
    await logged(logger(none.log, { attempts: "none" }), anAttemptEvent({ outcome: "hard" }));
    expect(none.lines).toEqual([]);
  });

  it("puts no line together that the log would not write", async () => {
    const asked: string[] = [];
    const shown: unknown[] = [];
    const { lines, log } = aPino("warn");
    const quiet: LoggerLike = {
      debug: () => expect.unreachable(),
      info: () => expect.unreachable(),
      warn: (fields, message) => log.warn(fields, message),
      error: (fields, message) => log.error(fields, message),
      isLevelEnabled(level) {
        asked.push(level);
        return log.isLevelEnabled(level);
      },
    };
    const content = { input: { model: "chat", messages: [] }, output: undefined, length: 3 };
    await logged(
      logger(quiet, { content: (given) => shown.push(given) }),
      aSettledEvent({ content }),
      anAttemptEvent({ outcome: "hard" }),
      settled("failed", "upstream_error"),
    );
    expect(asked).toEqual(["info", "debug", "error"]);
    expect(shown).toEqual([]);
    expect(lines).toMatchObject([{ level: "error", msg: "request failed" }]);
  });

  it("F16: writes no content and no secrets, in whatever event they hide", async () => {
    const canary = "sk-canary-0123456789";
    const { lines, log } = aPino("debug");
    const said = {
      principal: { key: canary, user: "u1", secret: canary },
      metadata: { note: canary },
      prompt: canary,
      message: canary,
    };
    const error = routerError("upstream_error", { message: canary, cause: canary });
    await logged(
      logger(log, { level: "debug" }),
      { ...aSettledEvent(), ...said } as RouterEvent,
      { ...anAttemptEvent({ outcome: "hard" }), ...said } as RouterEvent,
      { ...base, ...said, type: "request-failed", outcome: "failed", error } as RouterEvent,
      {
        ...base,
        ...said,
        type: "fallback-taken",
        from: "a",
        to: "b",
        chain: "onError",
        code: "upstream_error",
      } as RouterEvent,
    );
    expect(lines).toHaveLength(3);
    expect(JSON.stringify(lines)).not.toContain(canary);
  });

  it("R25: a log that throws or rejects harms nothing", async () => {
    for (const fail of [
      () => {
        throw new Error("disk full");
      },
      () => Promise.reject(new Error("disk full")),
    ]) {
      const log: LoggerLike = { debug: fail, info: fail, warn: fail, error: fail };
      const { runner, warnings } = await logged(logger(log), settled("succeeded"), settled("failed", "upstream_error"));
      // Two requests, and the warning about it.
      expect(runner.view().failed).toBe(3);
      expect(warnings).toEqual(['Plugin "logger" failed in onSettled; requests are not affected.']);
    }
  });

  it("refuses something that is no logger, and options that it does not have", () => {
    const issuesOf = (make: () => unknown) => {
      try {
        make();
      } catch (error) {
        return (error as { code: string; issues: unknown }).issues;
      }
    };
    expect(issuesOf(() => logger({ info: () => {}, error: () => {}, debug: 7 } as never))).toEqual([
      { path: "logger.debug", message: "expected a function" },
      { path: "logger.warn", message: "expected a function" },
    ]);
    expect(issuesOf(() => logger({ ...console, isLevelEnabled: true } as never))).toEqual([
      { path: "logger.isLevelEnabled", message: "expected a function" },
    ]);
    expect(issuesOf(() => logger(undefined as never))).toEqual([{ path: "logger", message: "expected a logger" }]);
    expect(issuesOf(() => logger(aPino().log, { levl: "info" } as never))).toEqual([
      { path: "logger.levl", message: 'unknown option; did you mean "level"?' },
    ]);
    expect(issuesOf(() => logger(aPino().log, { level: "warn" } as never))).toEqual([
      { path: "logger.level", message: 'expected "debug" or "info"' },
    ]);
  });
});
