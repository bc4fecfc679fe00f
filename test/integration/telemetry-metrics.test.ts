import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { AggregatorRegistry, Registry } from "prom-client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createHandler, type HandlerOptions } from "../../src/http/index.js";
import type { Plugin, Principal } from "../../src/plugins/plugin.js";
import { type PrometheusOptions, prometheus, webhook } from "../../src/telemetry/index.js";
import { error, reply, silence, stream } from "../../src/testing/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { openedForEachTest } from "../support/opened.js";
import { checkRules, describeWithPrometheus, promtool, startPrometheus } from "../support/prometheus-server.js";
import { deliver, deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const DOCS = resolve(import.meta.dirname, "../../docs/prometheus");
const RULES = join(DOCS, "alerts.yml");
const DASHBOARD = join(DOCS, "grafana-dashboard.json");

const open = openedForEachTest();
const ask = (model = "chat") => ({ model, messages: HELLO });
/** What was counted, once that many requests were: observers are told a turn later. */
async function metricsOf(registry: Registry, requests: number): Promise<string> {
  return vi.waitFor(async () => {
    const counted = await registry.getSingleMetric("switchyard_requests_total")?.get();
    expect(counted?.values.reduce((sum, { value }) => sum + value, 0)).toBe(requests);
    return registry.metrics();
  }, 10_000);
}

/** A router that has seen a bit of everything. */
async function busyRouter(options: Partial<PrometheusOptions> = {}, more: readonly Plugin[] = []) {
  const registry = new Registry();
  const broken = await open.upstream();
  broken.always(error(401));
  const good = await open.upstream();
  good.always(stream({ chunks: ["a", "b", "c"], includeUsage: true }));
  const router = open.router({
    models: {
      chat: { deployments: [deploymentOf(broken, "broken", { rpm: 100 })], fallbacks: ["backup"], retries: 0 },
      backup: [deploymentOf(good, "good", { price: { input: 1, output: 2 }, maxParallel: 7 })],
      "any/*": [{ ...deploymentOf(good, "wild"), model: "*" }],
    },
    plugins: [prometheus({ registry, ...options }), ...more],
  });
  await deliver((await router.chat.completions.create({ ...ask(), stream: true })) as never);
  good.always(reply({ text: "Hi" }));
  await router.chat.completions.create(ask("any/thing-1"));
  await router.chat.completions.create(ask("any/thing-2"));
  await rejection(router.chat.completions.create(ask("unknown-canary-model")));
  return { registry, router, text: await metricsOf(registry, 4) };
}

describe("prometheus", () => {
  it("tells who waits for a slot, and which sinks lose records", async () => {
    const slow = await open.upstream();
    slow.always(silence());
    const registry = new Registry();
    let sent = 0;
    const full = webhook({
      url: "https://hooks.example.com",
      transport: {
        send: () => {
          sent++;
          return { response: new Promise(() => {}), cancel() {} };
        },
        bufferedBytes: 0,
        close: async () => {},
      },
      maxQueued: 1,
      batchSize: 1,
      attempts: "none",
    });
    const router = open.router({
      models: { chat: [deploymentOf(slow, "slow", { maxParallel: 1 })] },
      plugins: [prometheus({ registry }), full],
    });
    await rejection(router.chat.completions.create(ask("unknown")));
    // Of the first record the delivery has begun: one more may wait.
    await metricsOf(registry, 1);
    await vi.waitFor(() => expect(sent).toBe(1), 10_000);
    for (let count = 0; count < 3; count++) await rejection(router.chat.completions.create(ask("unknown")));
    const leave = new AbortController();
    const requests = [1, 2, 3].map((count) =>
      rejection(
        router.chat.completions.create(ask(), {
          signal: leave.signal,
          priority: count === 3 ? "batch" : "interactive",
        }),
      ),
    );
    const text = await metricsOf(registry, 4);
    expect(text).toContain('switchyard_queue_length{group="chat",priority="interactive"} 1\n');
    expect(text).toContain('switchyard_queue_length{group="chat",priority="batch"} 1\n');
    expect(text).toContain('switchyard_sink_queued{sink="webhook"} 2\n');
    expect(text).toContain('switchyard_sink_dropped_total{sink="webhook"} 2\n');
    expect(text).toContain('switchyard_sink_delivered_total{sink="webhook"} 0\n');
    expect(router.status().sinks).toEqual([{ name: "webhook", queued: 2, delivered: 0, dropped: 2 }]);
    leave.abort();
    await Promise.all(requests);
  });

  it("counts requests, upstream calls, tokens, cost, fallbacks and cooldowns", async () => {
    const { text } = await busyRouter();
    for (const line of [
      'switchyard_requests_total{operation="chat.completions",group="chat",outcome="succeeded",code=""} 1',
      'switchyard_requests_total{operation="chat.completions",group="none",outcome="rejected",code="model_not_found"} 1',
      'switchyard_attempts_total{group="chat",deployment="broken",provider="openai-compatible",outcome="config",cause="authentication"} 1',
      'switchyard_attempts_total{group="backup",deployment="good",provider="openai-compatible",outcome="ok",cause=""} 1',
      'switchyard_fallbacks_total{from="chat",to="backup",chain="onError"} 1',
      'switchyard_cooldowns_total{deployment="broken",cause="config"} 1',
      'switchyard_request_first_token_seconds_count{group="chat"} 1',
      'switchyard_attempt_inter_token_seconds_count{group="backup",deployment="good",provider="openai-compatible"} 1',
      "switchyard_requests_in_flight 0",
      'switchyard_queue_length{group="chat",priority="interactive"} 0',
      'switchyard_deployment_available{group="chat",deployment="broken",provider="openai-compatible"} 0',
      'switchyard_deployment_available{group="backup",deployment="good",provider="openai-compatible"} 1',
      'switchyard_deployment_breaker{group="chat",deployment="broken",provider="openai-compatible",state="open"} 1',
      'switchyard_deployment_max_parallel{group="backup",deployment="good",provider="openai-compatible"} 7',
      'switchyard_control_info{kind="rateLimit",name="broken",on_store_failure="local-share"} 1',
      "switchyard_events_dropped_total 0",
    ]) {
      expect(text).toContain(`${line}\n`);
    }
    expect(text).toMatch(/switchyard_deployment_limit_headroom\{group="chat",deployment="broken",[^}]*\} 0\.9/);
    expect(text).toMatch(/switchyard_cost_usd_total\{group="backup",deployment="good",[^}]*\} [\d.e-]+/);
  });

  it("S20: names that callers choose are no labels, and principals only where asked for, up to a cap", async () => {
    const plain = await busyRouter();
    expect(plain.text).not.toContain("canary");
    expect(plain.text).not.toContain("thing-1");
    expect(plain.text).toContain('group="any/*"');
    const registry = new Registry();
    const router = open.router({
      models: { chat: [{ provider: "simulated", model: "any" }] },
      plugins: [prometheus({ registry, labels: ["team"], maxLabelValues: 2 })],
    });
    for (const team of ["t1", "t2", "t3", "t4"]) {
      await router.chat.completions.create(ask(), {
        principal: { team, user: `user-of-${team}`, key: "sk-key-canary" },
      });
    }
    const text = await metricsOf(registry, 4);
    const requests = text.split("\n").filter((line) => line.startsWith("switchyard_requests_total"));
    expect(requests.map((line) => /team="(.*?)"\} (\d+)/.exec(line)?.slice(1))).toEqual([
      ["t1", "1"],
      ["t2", "1"],
      ["other", "2"],
    ]);
    expect(text).not.toMatch(/user-of|canary/);
  });

  it("is a good citizen of the registry: JSON, OpenMetrics, sums over processes, reset, and leaving", async () => {
    const { registry, router } = await busyRouter();
    const json = await registry.getMetricsAsJSON();
    expect(json.find(({ name }) => name === "switchyard_requests_total")).toMatchObject({
      type: "counter",
      aggregator: "sum",
    });
    const both = AggregatorRegistry.aggregate([json, await registry.getMetricsAsJSON()]);
    expect(await both.metrics()).toContain('switchyard_fallbacks_total{from="chat",to="backup",chain="onError"} 2');
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    expect(await registry.metrics()).toContain("switchyard_fallbacks_total{");
    registry.resetMetrics();
    expect(await registry.metrics()).not.toContain("switchyard_fallbacks_total{");
    await router.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it("refuses wrong options, and a registry that has these names", () => {
    const registry = new Registry();
    const make = (options: object) => () => prometheus({ registry, ...options } as PrometheusOptions);
    expect(make({ registry: {} })).toThrow("expected a registry of prom-client");
    expect(make({ prefix: "9-" })).toThrow("prometheus.prefix");
    expect(make({ labels: ["key"] })).toThrow("prometheus.labels");
    expect(make({ lables: ["team"] })).toThrow('did you mean "labels"');
    make({})();
    const before = registry.getMetricsAsArray().length;
    expect(make({})).toThrow("already been registered");
    expect(registry.getMetricsAsArray()).toHaveLength(before);
  });
});

describe("GET /metrics", () => {
  let server: NodeServer | undefined;
  afterEach(async () => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
  });
  const authenticate = ({ apiKey }: { apiKey: string | undefined }) => {
    if (apiKey !== "scraper") throw new Error("unknown");
    return { user: "scraper" };
  };
  const authorizeMetrics = (request: { apiKey: string | undefined }) => authenticate(request).user === "scraper";

  it("answers with the registry's page, for those whom `authorizeMetrics` lets in", async () => {
    const { router } = await busyRouter();
    const { fetch: serve } = createHandler(router, { authenticate, authorizeMetrics });
    const get = (headers: Record<string, string>) => serve(new Request("http://host/v1/metrics", { headers }));
    expect((await get({})).status).toBe(401);
    const response = await get({ authorization: "Bearer scraper" });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.text()).toContain("switchyard_requests_total{");
    const posted = await serve(
      new Request("http://host/v1/metrics", { method: "POST", headers: { "x-api-key": "scraper" } }),
    );
    expect(posted.status).toBe(405);
  });

  it("S11: a key that may use models may not read the metrics of all tenants", async () => {
    const { router } = await busyRouter();
    const get = async (options: HandlerOptions, apiKey: string, principal?: Principal) => {
      const { fetch: serve } = createHandler(router, options);
      const request = new Request("http://host/v1/metrics", { headers: { "x-api-key": apiKey } });
      const response = await serve(request, { principal });
      const body = (await response.json().catch(() => ({}))) as { error?: { code?: string } };
      return [response.status, body.error?.code];
    };
    const denied = [403, "permission_denied"];
    expect(await get({ authenticate }, "scraper")).toEqual(denied);
    expect(await get({}, "any", { user: "ann" })).toEqual(denied);
    expect(await get({ authorizeMetrics: () => false }, "any")).toEqual(denied);
    expect(await get({ authorizeMetrics: async () => false }, "any")).toEqual(denied);
    // Forgetting to return is no grant.
    expect(await get({ authorizeMetrics: (() => {}) as never }, "any")).toEqual(denied);
    expect(await get({ authorizeMetrics: (() => "yes") as never }, "any")).toEqual(denied);
    expect(await get({ authorizeMetrics }, "other")).toEqual([401, "invalid_api_key"]);
    expect(await get({}, "any")).toEqual([200, undefined]);
  });

  it("is not there without the plugin", async () => {
    const router = open.router({ models: { chat: [{ provider: "simulated", model: "any" }] } });
    const response = await createHandler(router).fetch(new Request("http://host/v1/metrics"));
    expect(response.status).toBe(404);
  });

  describeWithPrometheus("read by Prometheus", () => {
    it("has metrics and alert rules that promtool accepts", async () => {
      const { text } = await busyRouter({ labels: ["team", "organization"] });
      expect(promtool(["check", "metrics"], text)).toBe("");
      expect(promtool(["check", "rules", RULES])).toContain("SUCCESS: 13 rules found");
    });

    it("is scraped, and every expression of alerts and dashboard is one", { timeout: 60_000 }, async () => {
      const { router, text } = await busyRouter();
      server = await nodeServer(createHandler(router, { authenticate, authorizeMetrics }).node);
      const scraper = await startPrometheus({
        target: new URL(server.origin).host,
        path: "/v1/metrics",
        bearerToken: "scraper",
        rulesFile: RULES,
      });
      try {
        const [series] = await scraper.query('switchyard_requests_total{group="chat"}');
        expect(series?.metric).toMatchObject({
          outcome: "succeeded",
          operation: "chat.completions",
          job: "switchyard",
        });
        expect(series?.value[1]).toBe("1");
        expect(await scraper.query("sum(up)")).toMatchObject([{ value: [expect.any(Number), "1"] }]);
        expect(
          await scraper.query("histogram_quantile(0.5, sum by (le) (switchyard_request_duration_seconds_bucket))"),
        ).toHaveLength(1);
        // Alerts that hold at once are pending or firing: the rules work on what we expose.
        expect(await scraper.query('ALERTS{alertname="SwitchyardNoDeploymentAvailable",group="chat"}')).toHaveLength(1);
      } finally {
        await scraper.close();
      }
      const dashboard = JSON.parse(readFileSync(DASHBOARD, "utf8")) as { panels: { targets: { expr: string }[] }[] };
      const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
      expect(expressions.length).toBeGreaterThan(20);
      const rules = expressions.map((expr, index) => ({
        record: `panel:${index}`,
        expr: expr.replaceAll("$__rate_interval", "5m").replaceAll("$__range", "1h").replaceAll("$group", ".*"),
      }));
      expect(checkRules({ groups: [{ name: "panels", rules }] })).toContain("SUCCESS");
      // A metric that is not there would make an empty panel, and an alert that never fires.
      const used = `${expressions.join("\n")}\n${readFileSync(RULES, "utf8")}`.match(/switchyard_[a-z_]+/g) ?? [];
      const exposed = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name));
      const missing = [...new Set(used)].filter(
        (name) => !exposed.has(name.replace(/_(bucket|sum|count)$/, "")) && !exposed.has(name),
      );
      expect(missing).toEqual([]);
    });
  });
});
