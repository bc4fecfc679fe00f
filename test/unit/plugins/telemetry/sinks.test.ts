import { createHmac } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../../../src/internal/random.js";
import type { Plugin } from "../../../../src/plugins/plugin.js";
import { BatchQueue } from "../../../../src/plugins/telemetry/batch-queue.js";
import { jsonLines } from "../../../../src/plugins/telemetry/json-lines.js";
import { records } from "../../../../src/plugins/telemetry/record-plugin.js";
import type { TelemetryRecord } from "../../../../src/plugins/telemetry/records.js";
import { RotatingFile } from "../../../../src/plugins/telemetry/rotating-file.js";
import { type WebhookOptions, webhook } from "../../../../src/plugins/telemetry/webhook.js";
import { virtualClock } from "../../../../src/testing/virtual-clock.js";
import type { Transport, TransportRequest } from "../../../../src/transport/transport.js";
import { anAttemptEvent, aSettledEvent } from "../../../support/plugin-fixtures.js";

type Answer = number | "hang" | "break";

/** A transport that answers as it is told, and keeps what was sent. */
function scriptedTransport(...answers: readonly Answer[]) {
  const sent: TransportRequest[] = [];
  let cancelled = 0;
  const transport: Transport = {
    send(request) {
      const answer = answers[Math.min(sent.length, answers.length - 1)] ?? 200;
      sent.push(request);
      const response =
        answer === "hang"
          ? new Promise<never>(() => {})
          : answer === "break"
            ? Promise.reject(new Error("reset"))
            : Promise.resolve({
                status: answer,
                headers: new Map(),
                body: { read: async () => undefined, text: async () => "" },
              });
      return { response, cancel: () => void cancelled++ };
    },
    bufferedBytes: 0,
    close: async () => {},
  };
  const bodies = () => sent.map(({ body }) => JSON.parse(String(body)) as { records: TelemetryRecord[] });
  return { transport, sent, bodies, cancelled: () => cancelled };
}

const settledOf = (plugin: Plugin, id: string) => plugin.onSettled?.(aSettledEvent({ requestId: id }));

function aWebhook(answers: readonly Answer[], options: Partial<WebhookOptions> = {}) {
  const clock = virtualClock();
  const scripted = scriptedTransport(...answers);
  const { transport } = scripted;
  const plugin = webhook({
    url: "https://hooks.example.com/in?x=1",
    transport,
    clock,
    random: seededRandom(1),
    ...options,
  });
  return { ...scripted, clock, plugin };
}

describe("records", () => {
  it("hands over a versioned record of each request and each upstream call, with listed fields only", () => {
    const seen: TelemetryRecord[] = [];
    const plugin = records((record) => seen.push(record), { metadata: ["page"] });
    const canary = "sk-canary-0123456789";
    const principal = { key: canary, user: "u1", extra: canary };
    plugin.onSettled?.({
      ...aSettledEvent({ principal, metadata: { page: "home", other: canary } }),
      prompt: canary,
    } as never);
    plugin.onAttempt?.({ ...anAttemptEvent({ principal, status: 200 }), message: canary } as never);
    plugin.onAttempt?.(anAttemptEvent({ type: "attempt-started" }));
    expect(seen).toMatchObject([
      {
        recordVersion: 1,
        kind: "request",
        requestId: "req_1",
        user: "u1",
        metadata: { page: "home" },
        costNanoUsd: 1_000_000,
      },
      { recordVersion: 1, kind: "attempt", deployment: "d", upstreamModel: "m", status: 200 },
    ]);
    expect(JSON.stringify(seen)).not.toContain(canary);
  });

  it("shows content only where that is switched on, and through the redactor", () => {
    const content = { input: { model: "chat", messages: [] }, output: undefined, length: 3 };
    const shownBy = (option: Parameters<typeof records>[1]) => {
      let seen: TelemetryRecord | undefined;
      records((record) => (seen = record), option).onSettled?.(aSettledEvent({ content }));
      return seen && "content" in seen ? seen.content : "none";
    };
    expect(shownBy({})).toBe("none");
    expect(shownBy({ content: true })).toEqual({ input: content.input, output: undefined });
    expect(shownBy({ content: ({ length }) => `${length} units` })).toBe("3 units");
    expect(shownBy({ content: () => undefined })).toBe("none");
    expect(records(() => {}).observesContent).toBe(false);
  });
});

describe("webhook", () => {
  it("posts batches, signed as Standard Webhooks says", async () => {
    const secret = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;
    const { plugin, clock, sent, bodies } = aWebhook([200], {
      secret,
      headers: { authorization: "Bearer t" },
      batchSize: 3,
    });
    for (const id of ["a", "b", "c", "d"]) settledOf(plugin, id);
    await clock.advance(0);
    // The platform signs on threads of its own, in real time.
    await expect.poll(() => plugin.view().delivered).toBe(4);
    expect(bodies().map(({ records: batch }) => batch.map(({ requestId }) => requestId))).toEqual([
      ["a", "b", "c"],
      ["d"],
    ]);
    const [{ headers, body, origin, path, method }] = sent as [TransportRequest];
    expect([method, origin, path, headers.authorization]).toEqual([
      "POST",
      "https://hooks.example.com",
      "/in?x=1",
      "Bearer t",
    ]);
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const expected = createHmac("sha256", "0123456789abcdef0123456789abcdef").update(signed).digest("base64");
    expect(headers["webhook-signature"]).toBe(`v1,${expected}`);
    expect(plugin.view()).toEqual({ queued: 0, delivered: 4, dropped: 0 });
    await plugin.close?.();
  });

  it("tries failed deliveries again, a bounded number of times and under the same id, then counts them as lost", async () => {
    const { plugin, clock, sent } = aWebhook([500, "break", 429, 200], { retries: 3 });
    settledOf(plugin, "a");
    await clock.advance(60_000);
    expect(sent).toHaveLength(4);
    expect(new Set(sent.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(plugin.view()).toMatchObject({ delivered: 1, dropped: 0 });
    const down = aWebhook([500], { retries: 2 });
    settledOf(down.plugin, "a");
    await down.clock.advance(60_000);
    expect(down.sent).toHaveLength(3);
    expect(down.plugin.view()).toEqual({ queued: 0, delivered: 0, dropped: 1 });
    const refused = aWebhook([404], { retries: 2 });
    settledOf(refused.plugin, "a");
    await refused.clock.advance(60_000);
    expect(refused.sent).toHaveLength(1);
    expect(refused.plugin.view().dropped).toBe(1);
  });

  it("R25: keeps a bounded queue while the receiver hangs, drops the oldest, and closes in time", async () => {
    const { plugin, clock, sent, cancelled } = aWebhook(["hang"], {
      maxQueued: 10,
      batchSize: 5,
      retries: 0,
      timeoutMs: 60_000,
    });
    let complaints = 0;
    for (let index = 0; index < 40; index++) {
      try {
        settledOf(plugin, `r${index}`);
      } catch {
        complaints++;
      }
      if (index === 4) await clock.advance(0);
    }
    expect(sent).toHaveLength(1);
    expect(plugin.view()).toEqual({ queued: 15, delivered: 0, dropped: 25 });
    expect(complaints).toBe(25);
    await clock.runUntil(Promise.resolve(plugin.close?.()));
    expect(clock.now()).toBeLessThanOrEqual(4_001);
    expect(cancelled()).toBe(1);
    expect(plugin.view()).toEqual({ queued: 0, delivered: 0, dropped: 40 });
  });

  it("refuses wrong options, and quotes no secret", () => {
    const wrong = (options: object) => () => webhook({ url: "https://h.example.com", ...options });
    expect(wrong({ url: "ftp://x" })).toThrow("webhook.url");
    expect(wrong({ url: "https://user:pass@x" })).toThrow("without credentials");
    expect(wrong({ secret: "tooshort" })).toThrow("at least 16 bytes");
    expect(wrong({ secret: "whsec_%%%" })).toThrow("base64");
    expect(wrong({ secret: "tooshort" })).not.toThrow("tooshort");
    expect(wrong({ headers: { authorization: "a\nb" } })).toThrow("control character");
    expect(wrong({ retires: 1 })).toThrow('did you mean "retries"');
  });
});

describe("BatchQueue", () => {
  it("loses nothing unaccounted: what was pushed is delivered, dropped or queued, whatever the sink does", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 30 })), { maxLength: 60 }),
        fc.array(fc.constantFrom("all", "half", "throw", "slow" as const), { minLength: 1, maxLength: 8 }),
        async (pushes, behaviours) => {
          const clock = virtualClock();
          let call = 0;
          const delivered: string[] = [];
          const queue = new BatchQueue({
            clock,
            batchSize: 4,
            batchLength: 600,
            flushIntervalMs: 50,
            maxQueued: 10,
            maxQueuedLength: 2_000,
            closeMs: 1_000,
            async deliver(texts, signal) {
              const behaviour = behaviours[call++ % behaviours.length];
              if (behaviour === "throw") throw new Error("down");
              if (behaviour === "slow") await clock.sleep(40, signal);
              const taken = behaviour === "half" ? texts.slice(0, Math.ceil(texts.length / 2)) : texts;
              delivered.push(...taken);
              return taken.length;
            },
          });
          let pushed = 0;
          for (const [length, waitMs] of pushes) {
            queue.push(String(pushed++).padStart(length, "x"));
            expect(queue.view().queued).toBeLessThanOrEqual(10 + 4);
            await clock.advance(waitMs);
          }
          const closing = queue.close();
          await clock.runUntil(closing);
          const view = queue.view();
          expect(view.queued).toBe(0);
          expect(view.delivered).toBe(delivered.length);
          expect(view.delivered + view.dropped).toBe(pushed);
          expect(queue.push("late")).toBe(1);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("jsonLines", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "switchyard-lines-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("appends a line per record, readable by its owner only, and what is left when it closes", async () => {
    const path = join(folder, "records.jsonl");
    const plugin = jsonLines({ path });
    settledOf(plugin, "a");
    plugin.onAttempt?.(anAttemptEvent());
    await plugin.close?.();
    const lines = readFileSync(path, "utf8").split("\n");
    expect(lines.slice(0, -1).map((line) => JSON.parse(line).kind)).toEqual(["request", "attempt"]);
    expect(lines.at(-1)).toBe("");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(plugin.view()).toEqual({ queued: 0, delivered: 2, dropped: 0 });
  });

  it("begins a new file where one is full, keeps so many, and cuts no line, whatever the lines are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 1, max: 70 }), { maxLength: 8 }), { maxLength: 12 }),
        async (batches) => {
          const own = mkdtempSync(join(folder, "case-"));
          const path = join(own, "f");
          let count = 0;
          const lines: string[] = [];
          for (const batch of batches) {
            // A new process each time: it finds what the one before left.
            const file = new RotatingFile({ path, maxBytes: 64, maxFiles: 3 });
            const texts = batch.map((length) => String(count++).padStart(length, "x"));
            const fitting = texts.filter((text) => text.length < 64);
            expect(await file.append(texts)).toBe(fitting.length);
            lines.push(...fitting);
          }
          const names = readdirSync(own).sort().reverse();
          expect(names.length).toBeLessThanOrEqual(3);
          const kept = names.flatMap((name) => {
            const text = readFileSync(join(own, name), "utf8");
            expect(text.length).toBeLessThanOrEqual(64);
            return text.split("\n").slice(0, -1);
          });
          // The newest, in order.
          expect(kept).toEqual(lines.slice(lines.length - kept.length));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("counts what a file system refuses", async () => {
    const plugin = jsonLines({ path: join(folder, "missing", "f.jsonl") });
    settledOf(plugin, "a");
    await plugin.close?.();
    expect(plugin.view()).toEqual({ queued: 0, delivered: 0, dropped: 1 });
  });
});
