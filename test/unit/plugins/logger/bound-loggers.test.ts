import { Writable } from "node:stream";
import fc from "fast-check";
import { type LoggerOptions as PinoOptions, pino } from "pino";
import { describe, expect, it } from "vitest";
import { type LoggerOptions, logger } from "../../../../src/plugins/logger/logger.js";
import type { RequestContent, SettledEvent } from "../../../../src/plugins/plugin.js";
import { aSettledEvent, someUsage } from "../../../support/plugin-fixtures.js";

/** What is written of events, line by line; the loggers that were made for it; and the log itself. */
function written(options: LoggerOptions, pinoOptions: PinoOptions = {}) {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(text, _encoding, done) {
      lines.push(JSON.parse(String(text)));
      done();
    },
  });
  let made = 0;
  const log = pino({ base: null, timestamp: false, onChild: () => void made++, ...pinoOptions }, destination);
  const plugin = logger(log, options);
  const write = (...events: readonly SettledEvent[]) => {
    for (const event of events) plugin.onSettled?.(event);
    return lines;
  };
  return { write, log, made: () => made };
}

const or = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const names = fc.constantFrom("a", "b", 'c"\n');
const events = fc
  .record({
    requestId: fc.string(),
    model: names,
    group: fc.constantFrom("chat", ""),
    principal: or(fc.record({ user: or(names), team: or(names), organization: or(names), key: fc.constant("sk-key") })),
    tags: fc.array(names, { maxLength: 2 }),
    metadata: fc.dictionary(fc.constantFrom("page", "other"), names),
    experiment: or(fc.record({ name: names, variant: names })),
    shadowOf: or(names),
    isStreaming: or(fc.boolean()),
    outcome: fc.constantFrom("succeeded" as const, "failed" as const, "blocked" as const),
    code: or(fc.constantFrom("upstream_error" as const, "guardrail_error" as const)),
    finishReason: or(names),
    deployment: or(names),
    provider: or(names),
    answeredBy: or(names),
    cache: or(fc.constantFrom("hit" as const, "miss" as const)),
    groups: fc.constantFrom([], ["chat"], ["chat", "backup"], ["backup"]),
    excluded: fc.constantFrom([], [{ group: "chat", deployment: "d", reason: "open" }]),
    dropped: fc.array(names, { maxLength: 1 }),
    attempts: fc.nat(3),
    durationMs: fc.integer({ min: 0, max: 99_999 }).map((tens) => tens / 100),
    ttftMs: or(fc.nat(100)),
    usage: or(
      fc
        .record({ promptTokens: fc.nat(100), isEstimated: fc.boolean(), costUsd: fc.option(fc.constant(0.5)) })
        .map(someUsage),
    ),
    content: or(fc.constant<RequestContent>({ input: { model: "chat", messages: [] }, output: undefined, length: 3 })),
  })
  .map(aSettledEvent);

describe("bindsRepeated", () => {
  it("changes nothing of what a line says, whatever has happened", () => {
    const options: LoggerOptions = { content: ({ length }) => `${length} units`, metadata: ["page"] };
    fc.assert(
      fc.property(fc.array(events, { maxLength: 30, size: "max" }), (some) => {
        const lines = written({ ...options, bindsRepeated: true }).write(...some);
        expect(lines).toHaveLength(some.length);
        expect(lines).toEqual(written(options).write(...some));
      }),
      { numRuns: 60 },
    );
  });

  it("makes one logger for requests that are alike, and none for those that went on to another group", () => {
    const { write, made } = written({ bindsRepeated: true });
    for (let number = 0; number < 5; number++) write(aSettledEvent({ requestId: `req_${number}`, durationMs: number }));
    expect(made()).toBe(1);
    write(aSettledEvent({ principal: { team: "t1" } }), aSettledEvent({ groups: ["chat", "backup"] }));
    expect(made()).toBe(2);
  });

  it("keeps at most 1,000 loggers, and writes the others' fields out", () => {
    const { write, made } = written({ bindsRepeated: true });
    const users = Array.from({ length: 1_500 }, (_, number) => `user-${number}`);
    for (const user of users) write(aSettledEvent({ principal: { user } }));
    const lines = write(aSettledEvent({ principal: { user: "user-0" } }));
    expect(made()).toBe(1_000);
    expect(lines.map(({ user }) => user)).toEqual([...users, "user-0"]);
  });

  it("S18: leaves redaction and the level to the log", () => {
    const { write, log } = written({ bindsRepeated: true }, { redact: ["user", "requestId"] });
    const event = aSettledEvent({ principal: { user: "ann", team: "t1" } });
    expect(write(event)).toMatchObject([{ user: "[Redacted]", requestId: "[Redacted]", team: "t1" }]);
    log.level = "warn";
    expect(write(event)).toHaveLength(1);
    log.level = "info";
    expect(write(event)).toHaveLength(2);
  });

  it("is refused for a log without `child`", () => {
    expect(() => logger(console, { bindsRepeated: true })).toThrow("logger.child");
  });
});
