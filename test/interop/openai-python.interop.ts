import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { type Behaviour, error, type FakeUpstream, reply, startFakeUpstream, stream } from "../../src/testing/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { describeWith, engineFiles } from "./setup.js";

const run = promisify(execFile);

describeWith("OpenAI's Python client in front of the router", [engineFiles.python], () => {
  const upstreams: FakeUpstream[] = [];
  let router: Router;
  let server: NodeServer;
  /** What the client saw, by what it tried. */
  let seen: Record<string, Record<string, unknown>>;

  const upstream = async (...behaviours: Behaviour[]) => {
    const started = await startFakeUpstream();
    upstreams.push(started);
    started.next(...behaviours);
    return started;
  };
  const tried: Record<string, FakeUpstream> = {};

  beforeAll(async () => {
    tried.slow = await upstream(stream({ tokens: 10_000, msPerToken: 5 }));
    tried.broken = await upstream(stream({ text: "Hello world, and more", cutAfterEvents: 3 }));
    tried.silent = await upstream(reply({ until: new Promise(() => {}) }));
    tried.refusing = await upstream();
    tried.refusing.always(error(400, { message: "no such thing" }));
    tried.limited = await upstream();
    tried.limited.always(error(429, { message: "slow down", retryAfter: 1 }));
    tried.recovering = await upstream(error(429, { message: "slow down", retryAfter: 2 }));
    tried.failing = await upstream();
    tried.failing.always(error(500, { message: "boom" }));
    const models: RouterOptions["models"] = {
      chat: [{ provider: "simulated", model: "sim" }],
      ...Object.fromEntries(
        Object.entries(tried).map(([name, { url }]) => [
          name,
          { retries: 0, deployments: [{ provider: "openai-compatible" as const, baseUrl: url, model: "m" }] },
        ]),
      ),
    };
    router = new Router<string>({ models });
    server = await nodeServer(createHandler(router).node);
    const script = join(import.meta.dirname, "openai_client.py");
    const { stdout } = await run(engineFiles.python, [script, `${server.origin}/v1`], { timeout: 50_000 });
    seen = JSON.parse(stdout);
    console.info(`openai (Python) ${seen.version}`);
  });
  afterAll(async () => {
    await router?.close({ drainMs: 0 });
    await server?.[Symbol.asyncDispose]();
    for (const each of upstreams) await each.close();
  });

  it("reads a completion, its usage and its request id", () => {
    expect(seen.chat).toMatchObject({ finish_reason: "stop", request_id: expect.stringMatching(/^req_/) });
    expect(seen.chat?.text).toMatch(/\w/);
    expect(seen.chat?.total_tokens).toBeGreaterThan(0);
  });

  it("reads a stream to its end, by iterating and by its own helper", () => {
    const { text, total_tokens } = seen.chat ?? {};
    expect(seen.stream).toEqual({ text, finish_reason: "stop", total_tokens });
    expect(seen.stream_helper).toEqual({ text });
  });

  it("leaves a stream, and the upstream sees it", async () => {
    expect(seen.left_stream?.first).toMatch(/\w/);
    const [request] = tried.slow?.requests ?? [];
    await request?.ended;
    expect(request?.isAborted).toBe(true);
  });

  it("reads tool calls and legacy completions", () => {
    expect(seen.tools).toEqual({ name: "weather", arguments: expect.any(Object) });
    expect(seen.completions?.text).toMatch(/\w/);
  });

  it("reads embeddings, which it asks for as base64 unless told otherwise", () => {
    expect(seen.embeddings).toMatchObject({ indexes: [0, 1], length: 8, same: true });
    expect(seen.embeddings?.total_tokens).toBeGreaterThan(0);
  });

  it("lists the models", () => {
    expect(seen.models?.ids).toEqual(["chat", ...Object.keys(tried)].sort());
  });

  it("throws the exceptions of its own that fit", () => {
    expect(seen.unknown_model).toMatchObject({ class: "NotFoundError", status: 404, code: "model_not_found" });
    expect(seen.bad_request).toMatchObject({ class: "BadRequestError", status: 400, code: "invalid_request" });
    expect(seen.limited).toMatchObject({ class: "RateLimitError", status: 429, code: "rate_limit_exceeded" });
    expect(seen.failing).toMatchObject({ code: "upstream_error", type: "server_error" });
    expect(seen.timeout).toEqual({ class: "APITimeoutError" });
  });

  it("throws in the middle of a stream that breaks, after what had come", () => {
    expect(seen.broken_stream).toMatchObject({ class: "APIError", code: "upstream_unreachable" });
    expect(seen.broken_stream?.text).toMatch(/\w/);
  });

  it("does as the router says about retries, and waits as long as it says", () => {
    // A mistake in the request is never sent again.
    expect(tried.refusing?.requestCount).toBe(1);
    // The client's own first wait would be half a second.
    expect(seen.recovering).toEqual({ waited_s: expect.any(Number) });
    expect(seen.recovering?.waited_s).toBeGreaterThan(1.9);
    expect(tried.recovering?.requestCount).toBe(2);
  });
});
