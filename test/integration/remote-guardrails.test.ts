import type { IncomingMessage, ServerResponse } from "node:http";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import {
  external,
  fetchTransport,
  type GuardrailMode,
  type GuardrailVerdict,
  InvalidOptionsError,
  openaiModeration,
  type Plugin,
  presidio,
  type RouterError,
} from "../../src/index.js";
import { type Behaviour, reply, stream } from "../../src/testing/index.js";
import { nodeServer } from "../support/node-server.js";
import { openedForEachTest } from "../support/opened.js";
import { deliver, deploymentOf, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (content: string) => ({ model: "chat", messages: [{ role: "user" as const, content }] });
const MAIL = "alice@example.com";

interface Received {
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  // biome-ignore lint/suspicious/noExplicitAny: what arrived is compared with literals
  readonly body: any;
}

/** A service on loopback; `answer` returns what it says, or writes the response itself. */
async function aService(answer: (body: Received["body"], url: string, response: ServerResponse) => unknown) {
  const received: Received[] = [];
  const server = await nodeServer(async (request, response) => {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    const { url = "", headers } = request;
    const body = JSON.parse(text);
    received.push({ url, headers, body });
    const answered = answer(body, url, response);
    if (answered !== undefined) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(answered));
    }
  });
  return { received, url: server.origin, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function routerWith(plugin: Plugin, behaviour: Behaviour = reply({ text: "Fine." })) {
  const upstream = await open.upstream();
  upstream.always(behaviour);
  const models = { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0 } };
  return { upstream, router: open.router({ models, plugins: [plugin] }) };
}

/** As the analyzer does: finds mail addresses, and counts code points. */
function analyzed(text: string) {
  return [...text.matchAll(/[\w.]+@[\w.]+\w/g)].map(({ 0: found, index }) => {
    const start = [...text.slice(0, index)].length;
    return {
      entity_type: "EMAIL_ADDRESS",
      start,
      end: start + [...found].length,
      score: 0.9,
      analysis_explanation: null,
    };
  });
}

/** As the anonymizer does with its default. */
function anonymized({ text, analyzer_results }: { text: string; analyzer_results: ReturnType<typeof analyzed> }) {
  const characters = [...text];
  for (const { start, end, entity_type } of [...analyzer_results].sort((a, b) => b.start - a.start)) {
    characters.splice(start, end - start, `<${entity_type}>`);
  }
  return { text: characters.join(""), items: [] };
}

const moderated = (input: readonly string[]) => ({
  id: "modr-1",
  model: "omni-moderation-latest",
  results: input.map((text) => ({
    flagged: /attack/.test(text),
    categories: { violence: /attack/.test(text), "hate/threatening": false, illicit: null },
    category_scores: { violence: /attack/.test(text) ? 0.9 : 0.2, "hate/threatening": 0.01 },
  })),
});

const CANARY = `attack ${MAIL}`;
/** One service that speaks all three. */
const speakAll = (body: Received["body"], url: string) => {
  if (url === "/analyze") return analyzed(body.text);
  if (url === "/v1/moderations") return moderated(body.input);
  const findings = body.texts.flatMap(({ text }: { text: string }, place: number) =>
    text.includes(MAIL) ? [{ text: place, category: "mail" }] : [],
  );
  return { findings };
};
const kinds: Record<string, (url: string, mode: GuardrailMode, more?: object) => Plugin> = {
  external: (url, mode, more) => external({ url, mode, ...more }),
  presidio: (url, mode, more) => presidio({ analyzerUrl: url, mode, ...more }),
  openaiModeration: (url, mode, more) => openaiModeration({ baseUrl: `${url}/v1`, apiKey: "sk-canary", mode, ...more }),
};

describe("S41: guardrails that ask a service, on each endpoint, in each mode", () => {
  const modes: GuardrailMode[] = ["input", "parallel", "output", "stream"];
  const endpoints = ["chat", "chat, streamed", "completions", "embeddings"] as const;
  const cases = Object.keys(kinds).flatMap((kind) =>
    modes.flatMap((mode) => endpoints.map((endpoint) => [kind, mode, endpoint] as const)),
  );
  it.each(cases)("%s, %s, %s: either inspects or refuses", async (kind, mode, endpoint) => {
    await using service = await aService(speakAll);
    const isInput = mode === "input" || mode === "parallel";
    const behaviour = isInput ? reply({ text: "Fine." }) : stream({ chunks: ["att", "ack al", "ice@examp", "le.com"] });
    const { router, upstream } = await routerWith(
      kinds[kind]?.(service.url, mode) as Plugin, // it is in the list of cases
      endpoint === "embeddings" ? reply({}) : behaviour,
    );
    const prompt = isInput ? CANARY : "Hello";
    let delivered = "";
    const call = async () => {
      if (endpoint === "chat") delivered = JSON.stringify(await router.chat.completions.create(ask(prompt)));
      else if (endpoint === "completions") await router.completions.create({ model: "chat", prompt });
      else if (endpoint === "embeddings") await router.embeddings.create({ model: "chat", input: prompt });
      else {
        const { text, error } = await deliver(
          (await router.chat.completions.create({ ...ask(prompt), stream: true })) as never,
        );
        delivered = text;
        if (error) throw error;
      }
    };
    const outcome = await call().then(
      () => "delivered",
      (error: RouterError) => error.code,
    );
    if (endpoint === "embeddings" && !isInput) expect(outcome).toBe("delivered");
    else if (mode === "stream" && endpoint !== "chat, streamed") expect(outcome).toBe("invalid_request");
    else expect(outcome).toBe("content_policy_violation");
    expect(delivered).not.toContain("alice");
    if (mode === "input") expect(upstream.requestCount).toBe(0);
  });
});

describe("a service that fails", () => {
  const faults: [string, (response: ServerResponse, url: string) => void][] = [
    ["answers 500", (response) => response.writeHead(500).end("{}")],
    ["answers 204", (response) => response.writeHead(204).end()],
    ["redirects", (response, url) => response.writeHead(307, { location: `${url}/elsewhere` }).end()],
    ["answers garbage", (response) => response.end("<html>")],
    ["answers other JSON", (response) => response.end('{"ok":true}')],
    ["answers a list of junk", (response) => response.end('[{"entity_type":"X","start":0,"end":99,"score":1}]')],
    ["answers findings that are none", (response) => response.end('{"findings":[{"text":7,"category":"x"}]}')],
    ["answers too few results", (response) => response.end('{"results":[]}')],
    ["nests deeply", (response) => response.end(`${"[".repeat(500)}${"]".repeat(500)}`)],
    ["says too much", (response) => response.end(`"${"x".repeat(5 * 1024 * 1024)}"`)],
    ["codes its answer", (response) => response.setHeader("content-encoding", "gzip").end("{}")],
    ["breaks off", (response) => response.writeHead(200, { "content-length": 100 }).end("{", () => response.destroy())],
    ["is silent", () => {}],
    ["is slow with its body", (response) => void response.write("{")],
  ];
  it.each(Object.keys(kinds).flatMap((kind) => faults.map(([fault, act]) => [kind, fault, act] as const)))(
    "%s: one that %s is a broken guardrail: closed, or open if asked",
    async (kind, _, act) => {
      await using service = await aService((__, ___, response) => void act(response, service.url));
      for (const failure of ["closed", "open"] as const) {
        const plugin = kinds[kind]?.(service.url, "input", { failure, timeoutMs: 100 }) as Plugin; // in the list
        const { router } = await routerWith(plugin);
        const outcome = await router.chat.completions.create(ask("Hi")).then(
          () => "served",
          (error: RouterError) => error.code,
        );
        expect(outcome).toBe(failure === "closed" ? "guardrail_error" : "served");
      }
      expect(service.received.every(({ url }) => !url.includes("elsewhere"))).toBe(true);
    },
  );

  it.each(Object.keys(kinds))("%s: one that is down refuses, in parallel mode, too", async (kind) => {
    for (const mode of ["input", "parallel", "output"] as const) {
      const { router } = await routerWith(kinds[kind]?.("http://127.0.0.1:1", mode) as Plugin); // in the list
      expect(await rejection(router.chat.completions.create(ask("Hi")))).toMatchObject({ code: "guardrail_error" });
    }
  });

  it.each(Object.keys(kinds))("%s: in log-only mode nobody waits for one that hangs", async (kind) => {
    await using service = await aService(() => undefined);
    const { router } = await routerWith(kinds[kind]?.(service.url, "log-only", { timeoutMs: 200 }) as Plugin);
    const before = performance.now();
    await router.chat.completions.create(ask("Hi"));
    expect(performance.now() - before).toBeLessThan(190);
  });

  it("R8: a router that closes ends the calls that are under way", async () => {
    await using service = await aService(() => undefined);
    const { router } = await routerWith(external({ url: service.url, mode: "parallel", timeoutMs: 60_000 }));
    const request = rejection(router.chat.completions.create(ask("Hi")));
    while (service.received.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await router.close({ drainMs: 0 });
    expect(await request).toMatchObject({ code: expect.stringMatching(/cancelled|guardrail_error|draining/) });
  });
});

describe("external", () => {
  it("posts the texts, and masks what comes back", async () => {
    await using service = await aService(({ texts }) => ({
      findings: texts.flatMap(({ text }: { text: string }, place: number) => {
        const start = [...text.slice(0, Math.max(0, text.indexOf(MAIL)))].length;
        return text.includes(MAIL) ? [{ text: place, category: "mail", start, end: start + MAIL.length }] : [];
      }),
    }));
    const { router, upstream } = await routerWith(
      external({ url: `${service.url}/check?v=1`, headers: { "X-Key": "k" }, action: "mask", offsets: "code-points" }),
    );
    const call = { id: "c", type: "function", function: { name: "f", arguments: '{"to":"alice\\u0040example.com"}' } };
    const body = {
      model: "chat",
      messages: [
        { role: "user", content: `😀 ${MAIL}!` },
        { role: "assistant", content: null, tool_calls: [call] },
        { role: "tool", tool_call_id: "c", content: "ok" },
      ],
    };
    await router.chat.completions.create(body as never); // a call of a tool, as callers write it
    expect(service.received[0]).toMatchObject({
      url: "/check?v=1",
      headers: { "x-key": "k", "content-type": "application/json" },
      body: {
        version: 1,
        guardrail: "external",
        side: "request",
        operation: "chat.completions",
        isStreaming: false,
        texts: expect.arrayContaining([
          { path: "messages[0].content", role: "user", format: "text", text: `😀 ${MAIL}!` },
          expect.objectContaining({ format: "json", text: `{"to":"${MAIL}"}` }),
        ]),
      },
    });
    const sent = upstream.requests[0]?.body as unknown as typeof body;
    expect(sent.messages[0]?.content).toBe("😀 [MAIL]!");
    expect(JSON.stringify(sent.messages[1])).toContain('{\\"to\\":\\"[MAIL]\\"}');
  });

  it("by window asks sentence by sentence", async () => {
    await using service = await aService(speakAll);
    const plugin = external({ url: service.url, mode: "output", stream: "window", action: "mask" });
    const { router } = await routerWith(plugin, stream({ chunks: ["One. Two ali", "ce@example.com. Three."] }));
    const { text } = await deliver((await router.chat.completions.create({ ...ask("Hi"), stream: true })) as never);
    expect(text).toBe("One. [MAIL]Three.");
    expect(service.received.map(({ body }) => body.texts[0].text)).toEqual(["One. ", `Two ${MAIL}. `, "Three."]);
  });

  it("refuses requests that are too long to be looked at", async () => {
    await using service = await aService(speakAll);
    for (const [failure, code] of [
      ["closed", "invalid_request"],
      ["open", undefined],
    ] as const) {
      const { router } = await routerWith(external({ url: service.url, maxCharacters: 10, failure }));
      const error = await Promise.resolve(router.chat.completions.create(ask("12345678901"))).then(
        () => undefined,
        (thrown: RouterError) => thrown.code,
      );
      expect(error).toBe(code);
    }
    expect(service.received).toEqual([]);
  });

  it("works over another transport", async () => {
    const transport = fetchTransport({ fetch: async () => new Response('{"findings":[{"text":0,"category":"x"}]}') });
    const { router } = await routerWith(external({ url: "https://guard.example", transport }));
    expect(await rejection(router.chat.completions.create(ask("Hi")))).toMatchObject({
      message: 'The request was blocked by the guardrail "external": x.',
    });
  });

  it.each([
    [{ url: "ftp://x" }, "external.url"],
    [{ url: "http://user:password@x" }, "external.url"],
    [{ url: "http://x", headers: { "content-length": "1" } }, "external.headers.content-length"],
    [{ url: "http://x", mode: "parallel", action: "mask" }, "external.mode"],
    [{ url: "http://x", stream: "all" }, "external.stream"],
  ])("refuses %j", (options, path) => {
    expect(() => external(options as never)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path })] }),
    );
  });
});

describe("presidio", () => {
  it("masks by the analyzer's spans, which count code points", async () => {
    await using service = await aService(speakAll);
    const { router, upstream } = await routerWith(
      presidio({ analyzerUrl: service.url, action: "mask", entities: ["EMAIL_ADDRESS"], scoreThreshold: 0.5 }),
    );
    await router.chat.completions.create(ask(`😀😀 write to ${MAIL} 😀 or bob@example.com`));
    expect(service.received[0]?.body).toEqual({
      text: `😀😀 write to ${MAIL} 😀 or bob@example.com`,
      language: "en",
      entities: ["EMAIL_ADDRESS"],
      score_threshold: 0.5,
    });
    expect(upstream.requests[0]?.body).toMatchObject({
      messages: [{ content: "😀😀 write to [EMAIL_ADDRESS] 😀 or [EMAIL_ADDRESS]" }],
    });
  });

  it("lets the anonymizer decide what stands there instead, in streams and tool arguments, too", async () => {
    await using service = await aService((body, url) =>
      url === "/an/anonymize" ? anonymized(body) : speakAll(body, url),
    );
    const verdicts: GuardrailVerdict[] = [];
    const plugin = presidio({
      analyzerUrl: service.url,
      anonymizerUrl: `${service.url}/an/`,
      anonymizers: { DEFAULT: { type: "replace" } },
      mode: ["input", "output"],
      action: "mask",
      onVerdict: (verdict) => verdicts.push(verdict),
    });
    const { router, upstream } = await routerWith(plugin, stream({ chunks: ["To ali", "ce@example", ".com 😀."] }));
    const call = { id: "c", type: "function", function: { name: "f", arguments: `{"to":"${MAIL}"}` } };
    const messages = [
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "c", content: `😀 ${MAIL} and ${MAIL}` },
    ];
    const { text } = await deliver(
      (await router.chat.completions.create({ model: "chat", messages, stream: true } as never)) as never,
    );
    expect(text).toBe("To <EMAIL_ADDRESS> 😀.");
    expect(upstream.requests[0]?.body).toMatchObject({
      messages: [
        { tool_calls: [{ function: { arguments: '{"to":"<EMAIL_ADDRESS>"}' } }] },
        { content: "😀 <EMAIL_ADDRESS> and <EMAIL_ADDRESS>" },
      ],
    });
    expect(verdicts.map(({ side, findings }) => [side, findings])).toEqual([
      ["request", [{ category: "EMAIL_ADDRESS", count: 3 }]],
      ["reply", [{ category: "EMAIL_ADDRESS", count: 1 }]],
    ]);
    const request = service.received.find(({ url }) => url === "/an/anonymize")?.body;
    expect(request).toMatchObject({
      anonymizers: { DEFAULT: { type: "replace" } },
      analyzer_results: [{ entity_type: "EMAIL_ADDRESS", score: 0.9 }],
    });
  });

  it.each([
    [{ anonymizerUrl: "http://x" }, "presidio.anonymizerUrl"],
    [{ anonymizers: { DEFAULT: {} } }, "presidio.anonymizers"],
    [{ language: "English" }, "presidio.language"],
    [{ scoreThreshold: 2 }, "presidio.scoreThreshold"],
    [{ concurrency: 0 }, "presidio.concurrency"],
  ])("refuses %j", (options, path) => {
    expect(() => presidio({ analyzerUrl: "http://x", ...options } as never)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path })] }),
    );
  });
});

describe("openaiModeration", () => {
  it("asks for many texts at once, and cuts long ones", async () => {
    await using service = await aService(speakAll);
    const { router } = await routerWith(openaiModeration({ apiKey: "sk-canary", baseUrl: `${service.url}/v1` }));
    const messages = [
      ...Array.from({ length: 40 }, (_, index) => ({ role: "user" as const, content: `text ${index}` })),
      { role: "user" as const, content: `${"x".repeat(30_000)} attack` },
    ];
    expect(await rejection(router.chat.completions.create({ model: "chat", messages }))).toMatchObject({
      message: 'The request was blocked by the guardrail "openaiModeration": violence.',
    });
    expect(service.received.map(({ body }) => body.input.length)).toEqual([32, 10]);
    expect(service.received[0]).toMatchObject({
      url: "/v1/moderations",
      headers: { authorization: "Bearer sk-canary" },
      body: { model: "omni-moderation-latest" },
    });
  });

  it.each([
    ["counts only the categories that it is told of", { categories: ["hate/threatening"] }, "served"],
    ["counts scores from a threshold on", { thresholds: { violence: 0.95 } }, "served"],
    ["counts scores below the model's own judgement", { thresholds: { violence: 0.1 } }, "content_policy_violation"],
    ["breaks where a score is missing", { thresholds: { spam: 0.1 } }, "guardrail_error"],
  ])("%s", async (_, more, expected) => {
    await using service = await aService(speakAll);
    const { router } = await routerWith(
      openaiModeration({ apiKey: "sk-canary", baseUrl: `${service.url}/v1`, ...more } as never),
    );
    const outcome = await router.chat.completions.create(ask("attack")).then(
      () => "served",
      (error: RouterError) => error.code,
    );
    expect(outcome).toBe(expected);
  });

  it("S18: shows its key nowhere", () => {
    const plugin = openaiModeration({ apiKey: "sk-canary" });
    expect(inspect(plugin, { depth: 10, showHidden: true }) + JSON.stringify(plugin)).not.toContain("sk-canary");
    expect(() => openaiModeration({ apiKey: "sk canary" })).toThrow(InvalidOptionsError);
    try {
      openaiModeration({ apiKey: "sk canary" });
    } catch (error) {
      expect(inspect(error)).not.toContain("sk canary");
    }
  });

  it("is named by what it goes by, and not by its key", () => {
    const version = (more: object) => openaiModeration({ apiKey: "a", ...more }).policyVersion;
    expect(version({})).toBe(version({ apiKey: "b" }));
    expect(version({})).not.toBe(version({ thresholds: { hate: 0.5 } }));
    expect(presidio({ analyzerUrl: "http://a" }).policyVersion).not.toBe(
      presidio({ analyzerUrl: "http://a", entities: ["PERSON"] }).policyVersion,
    );
  });
});
