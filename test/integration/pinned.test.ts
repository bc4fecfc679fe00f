import { afterEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../src/internal/random.js";
import { cache } from "../../src/plugins/cache/cache.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import type { TransportRequest } from "../../src/transport/transport.js";
import { type Answering, answeringTransport, CHAT_ANSWER } from "../support/answering-transport.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Of the account with this key. */
const at = (id: string, apiKey: string, more: object = {}) =>
  ({ id, provider: "openai", baseUrl: "http://api/v1", model: id, apiKey, ...more }) as const;

type Group = GroupOptions | GroupOptions["deployments"];

function aScene(
  models: Readonly<Record<string, Group>>,
  answer: (request: TransportRequest) => Answering = () => ({ text: CHAT_ANSWER }),
  more: Partial<RouterOptions> = {},
) {
  const clock = virtualClock();
  const transport = answeringTransport(answer);
  const router = watch.router(new Router<string>({ models, ...more, clock, transport, random: seededRandom(1) }));
  closing.push(() => clock.runUntil(router.close({ drainMs: 0 })));
  const send = (body: object, options: CallOptions = {}) =>
    clock.runUntil(
      router.chat.completions
        .create({ model: "chat", messages: [{ role: "user", content: "Hi" }], ...body } as never, options)
        .withRouting(),
    );
  const fail = (body: object, options: CallOptions = {}) => rejection(send(body, options));
  /** The keys that upstreams saw, in order. */
  const keys = () => transport.posts.map(({ headers }) => headers.authorization?.replace("Bearer ", ""));
  return { clock, router, transport, send, fail, keys };
}

const FILE = { messages: [{ role: "user", content: [{ type: "file", file: { file_id: "file-1" } }] }] };
const broken: Answering = { status: 500, text: "{}" };

describe("routing invariant 15: what exists at one account only", () => {
  it("goes to the only account that there is, whoever of it has room", async () => {
    const { send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k1")] });
    for (let turn = 0; turn < 6; turn++) await send(FILE);
    expect(new Set(keys())).toEqual(new Set(["k1"]));
  });

  it("is refused where two accounts could have it, with what to say", async () => {
    const { fail, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] });
    expect(await fail(FILE)).toMatchObject({
      code: "invalid_request",
      status: 400,
      param: "require.deployment",
      message:
        "What `messages[0].content[0].file.file_id` refers to exists at one account only, and deployments of 2 accounts could serve the request: say which has it with `require: { deployment }`, one of a, b.",
    });
    expect(keys()).toEqual([]);
  });

  it("goes where the caller says", async () => {
    const { send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] });
    for (let turn = 0; turn < 5; turn++) await send(FILE, { require: { deployment: "b" } });
    expect(keys()).toEqual(Array(5).fill("k2"));
  });

  it("needs no word where all others cannot serve the request, or would leave it out", async () => {
    const anthropic = { id: "c", provider: "anthropic", model: "claude-sonnet-4-5", apiKey: "k3" } as const;
    const { send, keys } = aScene({ chat: [at("a", "k1"), anthropic] });
    await send({ ...FILE, modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } });
    expect(keys()).toEqual(["k1"]);
  });

  it("is another account with another key, address, organization or provider", async () => {
    const others = [
      { apiKey: "k2" },
      { baseUrl: "http://other/v1" },
      { headers: { "openai-organization": "o" } },
      { provider: "openai-compatible" },
    ];
    for (const other of others) {
      const { fail } = aScene({ chat: [at("a", "k1"), { ...at("b", "k1"), ...other } as never] });
      expect(await fail(FILE)).toMatchObject({ code: "invalid_request", param: "require.deployment" });
    }
  });

  it("is tried again at the same deployment, and nowhere else", async () => {
    const { fail, transport } = aScene(
      { chat: { deployments: [at("a", "k1"), at("b", "k1")], retries: 2 } },
      () => broken,
    );
    expect(await fail(FILE)).toMatchObject({ code: "upstream_error", attempts: expect.any(Array) });
    const models = transport.posts.map(({ body }) => JSON.parse(String(body)).model);
    expect(models).toHaveLength(3);
    expect(new Set(models).size).toBe(1);
  });

  it("is not sent twice where the first time may have changed it", async () => {
    for (const body of [{ previous_response_id: "resp_1" }, { conversation: "conv_1" }, { container: "c_1" }]) {
      const { fail, transport } = aScene({ chat: [at("a", "k1"), at("b", "k1")] }, () => broken);
      expect(await fail(body)).toMatchObject({ code: "upstream_error" });
      expect(transport.posts).toHaveLength(1);
    }
  });

  it("is sent again after a refusal, which has changed nothing", async () => {
    let answers = 0;
    const { send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k1")] }, () =>
      answers++ === 0 ? { status: 429, text: "{}", headers: { "retry-after": "1" } } : { text: CHAT_ANSWER },
    );
    await send({ previous_response_id: "resp_1" });
    expect(keys()).toEqual(["k1", "k1"]);
  });

  it("falls back to a group of the same account only", async () => {
    const models = {
      chat: { deployments: [at("a", "k1")], fallbacks: ["mixed", "other", "same"], retries: 0 },
      mixed: [at("b", "k1"), at("c", "k2")],
      other: [at("d", "k2")],
      same: { deployments: [at("e", "k1")], retries: 0 },
    };
    const { fail, send, transport } = aScene(models, () => broken);
    const tried = () => transport.posts.map(({ body }) => JSON.parse(String(body)).model);
    await fail(FILE);
    expect(tried()).toEqual(["a", "e"]);
    await expect(send({})).rejects.toMatchObject({ code: "upstream_error" });
    expect(tried().slice(2)).toContain("d");
  });

  it("is neither hedged nor copied nor part of an experiment", async () => {
    const models = {
      chat: {
        deployments: [at("a", "k1"), at("b", "k1")],
        hedge: true,
        shadow: { group: "copy", share: 1 },
        experiment: { name: "x", variants: { variant: 0.999 } },
      },
      copy: [at("copy", "k2")],
      variant: [at("variant", "k2")],
    } as never;
    const { send, keys, clock } = aScene(models);
    for (let turn = 0; turn < 5; turn++) await send(FILE);
    await clock.advance(10_000);
    expect(keys()).toEqual(Array(5).fill("k1"));
  });

  it("fails with the first cause where its owner is cooling down", async () => {
    const { fail, send, keys } = aScene(
      { chat: { deployments: [at("a", "k1"), at("b", "k2")], retries: 0 } },
      ({ headers }) => (headers.authorization === "Bearer k1" ? broken : { text: CHAT_ANSWER }),
    );
    for (let failure = 0; failure < 5; failure++) await fail(FILE, { require: { deployment: "a" } });
    const error = await fail({ ...FILE }, { require: { deployment: "a" }, deadlineMs: 100 });
    expect(error).toMatchObject({ code: "no_deployment_available" });
    expect(keys()).not.toContain("k2");
    await send({});
    expect(keys()).toContain("k2");
  });

  it("is looked for again in what a guard makes of the body", async () => {
    const plugin = { name: "attach", beforeRequest: () => ({ body: { messages: FILE.messages } }) };
    const { fail, send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, undefined, {
      plugins: [plugin as never],
    });
    expect(await fail({})).toMatchObject({ code: "invalid_request", param: "require.deployment" });
    await send({}, { require: { deployment: "b" } });
    expect(keys()).toEqual(["k2"]);
  });
});

describe("audio of an earlier answer", () => {
  const AUDIO = { modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } };
  const turnAfter = (id: string) => ({
    messages: [
      { role: "user", content: "Say it" },
      { role: "assistant", audio: { id } },
      { role: "user", content: "Again" },
    ],
  });
  /** The id tells who said it. */
  const speaking = ({ headers, body }: TransportRequest): Answering => {
    const id = `audio_${headers.authorization?.replace("Bearer ", "")}`;
    const audio = { id, data: "AAAA", expires_at: 1, transcript: "It" };
    const common = { id: "x", created: 1, model: "m" };
    if (!String(body).includes('"stream":true')) {
      const choices = [{ index: 0, message: { role: "assistant", content: null, audio }, finish_reason: "stop" }];
      return { text: JSON.stringify({ ...common, object: "chat.completion", choices }) };
    }
    const event = (delta: object, finish_reason: string | null) =>
      `data: ${JSON.stringify({ ...common, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
    const text = [event({ role: "assistant", audio }, null), event({}, "stop"), "data: [DONE]\n\n"].join("");
    return { text, headers: { "content-type": "text/event-stream" } };
  };

  it.each([false, true])("goes back to who made it (stream: %s)", async (stream) => {
    const { send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, speaking);
    for (let turn = 0; turn < 8; turn++) {
      const { data } = await send({ ...AUDIO, stream });
      if (stream) for await (const _ of data as unknown as AsyncIterable<unknown>);
      const maker = keys().at(-1);
      await send(turnAfter(`audio_${maker}`));
      expect(keys().at(-1)).toBe(maker);
    }
    expect(new Set(keys()).size).toBe(2);
  });

  it("S40: of another tenant is as good as unknown", async () => {
    const { send, fail, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, speaking);
    const [mine, theirs] = [{ principal: { organization: "mine" } }, { principal: { organization: "theirs" } }];
    await send(AUDIO, mine);
    const id = `audio_${keys()[0]}`;
    expect(await fail(turnAfter(id), theirs)).toMatchObject({ code: "invalid_request", param: "require.deployment" });
    await send(turnAfter(id), mine);
  });

  it("of two accounts is nobody's", async () => {
    const { send, fail } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, speaking);
    await send(AUDIO, { require: { deployment: "a" } });
    await send(AUDIO, { require: { deployment: "b" } });
    const messages = [...turnAfter("audio_k1").messages, ...turnAfter("audio_k2").messages];
    expect(await fail({ messages })).toMatchObject({
      code: "invalid_request",
      param: "messages[4].audio.id",
      message:
        "What `messages[4].audio.id` refers to exists at another account than what `messages[1].audio.id` refers to.",
    });
  });

  it("of a group that has another account is refused there", async () => {
    const { send, fail } = aScene({ chat: [at("a", "k1")], other: [at("b", "k2")] }, speaking);
    await send(AUDIO);
    expect(await fail({ model: "other", ...turnAfter("audio_k1") })).toMatchObject({
      code: "invalid_request",
      param: "messages[1].audio.id",
    });
  });

  it("is forgotten after an hour", async () => {
    const { send, fail, keys, clock } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, speaking);
    await send(AUDIO);
    await clock.advance(3_600_001);
    expect(await fail(turnAfter(`audio_${keys()[0]}`))).toMatchObject({ param: "require.deployment" });
  });
});

describe("require.deployment", () => {
  it("restricts any request to one deployment of the group, retries included", async () => {
    const { fail, transport } = aScene({ chat: { deployments: [at("a", "k1"), at("b", "k2")] } }, () => broken);
    await fail({}, { require: { deployment: "b" } });
    const models = transport.posts.map(({ body }) => JSON.parse(String(body)).model);
    expect(models).toEqual(["b", "b", "b"]);
  });

  it("S39: has its own place in a cache", async () => {
    const { send, keys } = aScene({ chat: [at("a", "k1"), at("b", "k2")] }, undefined, { plugins: [cache()] });
    const asked = [{ deployment: "a" }, { deployment: "b" }, { deployment: "a" }, {}];
    const hits: unknown[] = [];
    for (const require of asked) hits.push((await send({}, { require })).routing.cache);
    expect(hits).toEqual(["miss", "miss", "hit", "miss"]);
    expect(keys().slice(0, 2)).toEqual(["k1", "k2"]);
  });

  it("is refused where the group has no such deployment, with those that it has", async () => {
    const { fail } = aScene({ chat: [at("a", "k1")], other: [at("b", "k2")] });
    expect(await fail({}, { require: { deployment: "b" } })).toMatchObject({
      code: "invalid_request",
      param: "require.deployment",
      message: 'Expected `require.deployment` to be a deployment of chat: a; received "b".',
    });
    expect(await fail({}, { require: { deployment: "" } })).toMatchObject({
      code: "invalid_request",
      param: "options",
    });
  });

  it("shows in explain why the others are none", async () => {
    const { router } = aScene({ chat: [at("a", "k1"), at("b", "k1"), at("c", "k2")] });
    const body = { model: "chat", ...FILE } as never;
    const exclusionsOf = async (options: CallOptions) =>
      (await router.explain(body, options)).deployments.map(({ exclusion }) => exclusion);
    expect(await exclusionsOf({ require: { deployment: "b" } })).toEqual([
      "deployment-mismatch",
      undefined,
      "deployment-mismatch",
    ]);
    await expect(router.explain(body)).rejects.toMatchObject({ param: "require.deployment" });
  });

  it("with a session is a hard one: every turn goes to the same place or fails", async () => {
    const { send, fail, keys } = aScene(
      { chat: { deployments: [at("a", "k1"), at("b", "k2")], retries: 0 } },
      ({ headers }) => (headers.authorization === "Bearer k2" ? broken : { text: CHAT_ANSWER }),
    );
    const hard = { sessionId: "s", require: { deployment: "b" } };
    for (let turn = 0; turn < 3; turn++) await fail({}, hard);
    expect(keys()).toEqual(["k2", "k2", "k2"]);
    await send({}, { sessionId: "s", require: { deployment: "a" } });
  });
});
