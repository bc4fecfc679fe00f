import { Registry } from "prom-client";
import { afterEach, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { records } from "../../src/plugins/telemetry/record-plugin.js";
import type { TelemetryRecord } from "../../src/plugins/telemetry/records.js";
import { Router } from "../../src/router/router.js";
import { prometheus } from "../../src/telemetry/prometheus.js";
import { virtualClock } from "../../src/testing/index.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { HELLO } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

it("experiments are counted by variant, and copies apart from callers' requests; records tie copy and original", async () => {
  const clock = virtualClock();
  const registry = new Registry();
  const kept: TelemetryRecord[] = [];
  const model = (id: string) => [{ id, provider: "simulated" as const, model: id, price: { input: 1, output: 1 } }];
  const router = new Router<string>({
    clock,
    random: seededRandom(2),
    plugins: [prometheus({ registry }), records((record) => kept.push(record), { attempts: "none" })],
    models: {
      chat: {
        deployments: model("own"),
        experiment: { name: "models", variants: { next: 0.5 } },
        shadow: { group: "copy", share: 1 },
      },
      next: { deployments: model("next"), shadow: { group: "copy", share: 1 } },
      copy: model("copy"),
    },
  });
  watch.router(router);
  closing.push(() => clock.runUntil(router.close()));
  for (let user = 0; user < 20; user++) {
    const options = { principal: { user: `user-${user}` } };
    await clock.runUntil(Promise.resolve(router.chat.completions.create({ model: "chat", messages: HELLO }, options)));
  }
  await clock.advance(10);
  const valuesOf = async (name: string) =>
    Object.fromEntries(
      ((await registry.getSingleMetric(`switchyard_${name}`)?.get())?.values ?? []).map(({ labels, value }) => [
        Object.values(labels).join(" "),
        value,
      ]),
    );
  const variants = await valuesOf("experiment_requests_total");
  expect(Object.keys(variants).toSorted()).toEqual(["models chat succeeded", "models next succeeded"]);
  expect(Object.values(variants).reduce((sum, count) => sum + count, 0)).toBe(20);
  expect(await valuesOf("shadow_requests_total")).toEqual({ "copy succeeded": 20 });
  const requests = await valuesOf("requests_total");
  expect(Object.keys(requests).some((labels) => labels.includes("copy"))).toBe(false);
  // Money is money, whoever asked for it.
  expect(Object.keys(await valuesOf("cost_usd_total"))).toContain("copy copy simulated");

  const originals = kept.filter(({ kind, shadowOf }) => kind === "request" && shadowOf === undefined);
  const copies = kept.filter(({ kind, shadowOf }) => kind === "request" && shadowOf !== undefined);
  expect(copies.map(({ shadowOf }) => shadowOf).toSorted()).toEqual(
    originals.map(({ requestId }) => requestId).toSorted(),
  );
  for (const { variant, group, experiment } of originals) expect([experiment, variant]).toEqual(["models", group]);
  for (const { tags, user, variant } of copies) {
    expect([user, variant]).toEqual([undefined, undefined]);
    expect(["shadow:chat", "shadow:next"]).toContain(tags?.[0]);
  }
});
