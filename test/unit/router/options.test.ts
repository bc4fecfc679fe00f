import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";
import { seededRandom } from "../../../src/internal/random.js";
import { type Provider, ProviderOptionError, type ProviderSettings } from "../../../src/providers/provider.js";
import { parseOptions } from "../../../src/router/options.js";
import type { Settings } from "../../../src/router/settings.js";

const neverCalled = () => {
  throw new Error("is never called here");
};

/** A provider that notes what it was connected with. */
function aProvider(over: Partial<Provider> = {}): Provider & { readonly connected: ProviderSettings[] } {
  const connected: ProviderSettings[] = [];
  return {
    name: "fake",
    apiKey: "optional",
    ownOptions: ["flavour", "credentials"],
    connect(settings) {
      if (settings.own.flavour === "bad") throw new ProviderOptionError("flavour", "expected a good flavour");
      connected.push(settings);
      return {
        kind: "wire",
        host: settings.baseUrl ? new URL(settings.baseUrl).host : "fake-host",
        origin: settings.baseUrl ? new URL(settings.baseUrl).origin : "http://fake-host",
        operations: { "chat.completions": { drops: 0, rejects: 0 } },
        contentTypes: { whole: [], stream: [] },
        encode: neverCalled,
        authorize: neverCalled,
        decodeReply: neverCalled,
        openStream: neverCalled,
        decodeError: neverCalled,
      };
    },
    ...over,
    connected,
  };
}
const fake = aProvider();
const aDeployment = (over: object = {}) => ({ provider: fake, model: "llama", ...over });

/** Options with one group `chat` that has these fields. */
const withGroup = (fields: object) => ({ models: { chat: { deployments: [aDeployment()], ...fields } } });
/** Options with one deployment that has these fields, at `models.chat[0]`. */
const withDeployment = (fields: object) => ({ models: { chat: [aDeployment(fields)] } });

/** `path: message` of every problem. */
function problems(options: unknown): string[] {
  try {
    parseOptions(options);
  } catch (error) {
    if (!(error instanceof InvalidOptionsError)) throw error;
    expect(error.code).toBe("invalid_options");
    return error.issues.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}
function problem(options: unknown): string {
  const [only, ...others] = problems(options);
  expect(others).toEqual([]);
  return only ?? "none";
}
function group(settings: Settings, name = "chat") {
  const found = settings.groups.get(name);
  if (!found) throw new Error(`there is no group ${name}`);
  return found;
}
function only(settings: Settings, name = "chat") {
  const { deployments } = group(settings, name);
  const [first] = deployments;
  if (!first || deployments.length > 1) throw new Error("expected one deployment");
  return first;
}

describe("the upkeep of a deployment", () => {
  const engine = (over: object = {}) => ({ provider: "vllm", baseUrl: "http://gpu:8000/v1", model: "*", ...over });
  const upkeepOf = (over: object) => only(parseOptions({ models: { "gpu/*": [engine(over)] } }), "gpu/*").upkeep;
  const problemOf = (over: object) => problem({ models: { "gpu/*": [engine(over)] } });

  it("is nothing unless it is asked for", () => {
    const nothing = { discover: undefined, loadSignals: undefined, healthProbe: undefined };
    expect(upkeepOf({})).toEqual(nothing);
    expect(upkeepOf({ discover: false, loadSignals: false, healthProbe: false })).toEqual(nothing);
  });

  it("has intervals of its own, and the addresses of the engine", () => {
    expect(upkeepOf({ discover: true, loadSignals: true, healthProbe: true })).toMatchObject({
      discover: { intervalMs: 60_000 },
      loadSignals: { intervalMs: 2_000, request: { method: "GET", path: "/metrics" } },
      healthProbe: { method: "GET", path: "/health" },
    });
    const own = { discover: { intervalMs: 5_000 }, loadSignals: { intervalMs: 500, url: "https://m:9/x?y=1" } };
    expect(upkeepOf(own)).toMatchObject({
      discover: { intervalMs: 5_000 },
      loadSignals: { intervalMs: 500, request: { origin: "https://m:9", path: "/x?y=1" } },
    });
    expect(upkeepOf({ discover: {}, loadSignals: {} })).toMatchObject({
      discover: { intervalMs: 60_000 },
      loadSignals: { intervalMs: 2_000 },
    });
  });

  it.each([
    [{ discover: 1 }, "discover: expected true, false, or { intervalMs }"],
    [{ discover: { intervalMs: 999 } }, "discover.intervalMs: expected at least 1000"],
    [{ discover: { every: 5_000 } }, "discover.every: unknown option"],
    [{ discover: true, model: "llama" }, "discover: looks for the models that `*` stands for"],
    [{ discover: true, provider: "simulated", baseUrl: undefined }, 'discover: the provider "simulated" has no list'],
    [{ loadSignals: 1 }, "loadSignals: expected true, false, or { intervalMs, url }"],
    [{ loadSignals: { intervalMs: 249 } }, "loadSignals.intervalMs: expected at least 250"],
    [{ loadSignals: true, provider: "localai" }, 'loadSignals: the provider "localai" has no metrics'],
    [{ loadSignals: true, provider: "gpustack" }, "loadSignals: needs `url`"],
    [{ loadSignals: { url: "worker:10151" } }, "loadSignals.url: expected an http or https URL"],
    [{ loadSignals: { url: "http://u:p@worker/" } }, "loadSignals.url: expected an http or https URL"],
    [{ loadSignals: { url: "http://worker/#x" } }, "loadSignals.url: expected an http or https URL"],
    [{ healthProbe: { intervalMs: 1 } }, "healthProbe: expected a boolean"],
    [
      { healthProbe: true, provider: "simulated", baseUrl: undefined },
      'healthProbe: the provider "simulated" has no way',
    ],
  ])("refuses %j", (over, expected) => {
    expect(problemOf(over)).toContain(`models["gpu/*"][0].${expected}`);
  });

  it("of a fixed model is possible, too", () => {
    const options = { models: { chat: [engine({ model: "llama", loadSignals: true, healthProbe: true })] } };
    expect(only(parseOptions(options)).upkeep).toMatchObject({ loadSignals: { intervalMs: 2_000 } });
  });
});

describe("parseOptions", () => {
  it("completes a bare list of deployments", () => {
    const settings = parseOptions({ models: { chat: [aDeployment()] } });
    expect(group(settings)).toMatchObject({
      name: "chat",
      isWildcard: false,
      strategy: { name: "latency", usesWeights: false },
      fallbacks: { onError: [], onContextWindow: [], onContentPolicy: [] },
      retries: 2,
      timeouts: { connectMs: 5_000, firstTokenMs: undefined, idleMs: undefined, stallMs: 60_000, totalMs: 600_000 },
      cooldown: { isEnabled: true, failures: 5, panic: false },
    });
    expect(only(settings)).toMatchObject({
      id: "fake/llama@fake-host",
      model: "llama",
      weight: 1,
      tier: 0,
      maxParallel: Number.POSITIVE_INFINITY,
      timeouts: {},
      region: undefined,
      contextWindow: undefined,
      price: undefined,
      defaults: {},
      unsupported: "drop",
      isolation: "shared",
    });
    expect(settings).toMatchObject({ plugins: [], transport: undefined, warnings: [] });
    expect(settings.inputLimits).toMatchObject({ bodyBytes: 10_485_760, jsonDepth: 64 });
  });

  it("takes every option that there is", () => {
    const clock = { now: () => 0, wallNow: () => 0, schedule: () => ({ cancel() {} }), sleep: async () => {} };
    const transport = { send: () => Promise.reject(new Error()), close: async () => {}, bufferedBytes: 0 };
    const plugin = { name: "watch", onSettled() {} };
    const strategy = { name: "first", usesWeights: true, pick: (candidates: unknown[]) => candidates[0] };
    const settings = parseOptions({
      models: {
        chat: {
          deployments: [
            aDeployment({
              baseUrl: "http://gpu-a:8000/v1/",
              apiKey: () => "key",
              headers: { "X-Team": "blue" },
              id: "gpu-a",
              weight: 2,
              tier: 1,
              maxParallel: 8,
              timeouts: { connectMs: 100 },
              tags: ["own", "own"],
              region: "eu",
              contextWindow: 8_192,
              price: { input: 1, output: 2, cachedInput: 0.1 },
              defaults: { temperature: 0.5 },
              unsupported: "error",
              unknownFields: "drop",
              isolation: "strict",
              flavour: "sweet",
            }),
          ],
          strategy,
          fallbacks: { onError: ["backup"], onContentPolicy: ["backup"], onBudget: ["backup"] },
          retries: 0,
          timeouts: { totalMs: 1_000 },
          cooldown: { failures: 1 },
        },
        backup: [aDeployment({ model: "small" })],
      },
      aliases: { "gpt-4": "chat" },
      defaults: { retries: 1, timeouts: { connectMs: 2_000 } },
      plugins: [plugin],
      inputLimits: { messages: 5 },
      allowFields: ["provider"],
      transport,
      clock,
      random: seededRandom(1),
    });
    const chat = group(settings);
    expect(chat.timeouts).toMatchObject({ connectMs: 2_000, totalMs: 1_000 });
    expect([chat.retries, group(settings, "backup").retries]).toEqual([0, 1]);
    expect(chat.fallbacks).toEqual({
      onError: ["backup"],
      onContextWindow: [],
      onContentPolicy: ["backup"],
      onBudget: ["backup"],
    });
    expect(chat.strategy.create()).toBe(strategy);
    expect(settings.plugins[0]).toBe(plugin);
    expect(settings.transport).toBe(transport);
    expect(settings.clock).toBe(clock);
    expect(settings.allowFields.has("provider")).toBe(true);
    expect(settings.inputLimits.messages).toBe(5);
    const deployment = only(settings);
    expect(deployment).toMatchObject({
      id: "gpu-a",
      weight: 2,
      tier: 1,
      maxParallel: 8,
      region: "eu",
      isolation: "strict",
    });
    expect([...deployment.tags]).toEqual(["own"]);
    expect({ ...deployment.headers }).toEqual({ "x-team": "blue" });
    expect(fake.connected.find(({ baseUrl }) => baseUrl === "http://gpu-a:8000/v1")).toMatchObject({
      model: "llama",
      unknownFields: "drop",
      own: { flavour: "sweet" },
    });
  });

  it("knows the providers by name", () => {
    const settings = parseOptions({ models: { chat: [{ provider: "openai", model: "gpt-4o", apiKey: "sk-x" }] } });
    expect(only(settings).id).toBe("openai/gpt-4o@api.openai.com");
  });

  it("sorts the deployments of a group by tier and keeps their order within one", () => {
    const tiers = [1, 0, 1, 0].map((tier, index) => aDeployment({ tier, id: `d${index}` }));
    const { deployments } = group(parseOptions({ models: { chat: tiers } }));
    expect(deployments.map(({ id }) => id)).toEqual(["d1", "d3", "d0", "d2"]);
  });

  describe("reports", () => {
    it("every problem at once, each with its path", () => {
      const options = {
        models: {
          chat: { deployments: [aDeployment({ modle: "x", weight: -1 }), { provider: fake }], retrys: 1, retries: 11 },
          "gpt-4": [aDeployment({ price: { input: Number.NaN, output: 1 } })],
        },
        aliase: {},
        inputLimits: { messages: 0 },
      };
      expect(problems(options)).toEqual([
        'aliase: unknown option; did you mean "aliases"?',
        "inputLimits.messages: expected at least 1, received 0",
        'models.chat.retrys: unknown option; did you mean "retries"?',
        "models.chat.retries: expected at most 10, received 11",
        'models.chat.deployments[0].modle: unknown option; did you mean "model"?',
        "models.chat.deployments[0].weight: expected at least 0.001, received -1",
        "models.chat.deployments[1].model: is required",
        'models["gpt-4"][0].price.input: expected a finite number, received NaN',
      ]);
    });

    it.each([
      ["no options at all", undefined, ": expected an object with `models`"],
      ["a list", [], ": expected an object with `models`"],
      ["no models", {}, "models: expected an object of at least one model group"],
      ["no group", { models: {} }, "models: expected an object of at least one model group, received an object"],
      [
        "an empty group",
        { models: { chat: [] } },
        "models.chat: expected an array of at least one deployment, received an empty array",
      ],
      [
        "a group without deployments",
        { models: { chat: { retries: 1 } } },
        "models.chat.deployments: expected an array of at least one deployment",
      ],
      [
        "a group that is text",
        { models: { chat: "gpt" } },
        'models.chat: expected an array of deployments, or a group with `deployments`, received "gpt"',
      ],
      [
        "a deployment that is text",
        { models: { chat: ["gpt"] } },
        'models.chat[0]: expected a deployment with `provider` and `model`, received "gpt"',
      ],
      ["no provider", { models: { chat: [{ model: "x" }] } }, "models.chat[0].provider: is required"],
      [
        "a misspelt provider",
        withDeployment({ provider: "opneai" }),
        'models.chat[0].provider: unknown provider "opneai"; did you mean "openai"?',
      ],
      [
        "a provider without connect",
        withDeployment({ provider: { name: "x", apiKey: "none" } }),
        "models.chat[0].provider: expected the name of a provider, or an object with `name`, `apiKey` and `connect`, received an object",
      ],
      [
        "a misspelt strategy",
        withGroup({ strategy: "latncy" }),
        'models.chat.strategy: unknown strategy "latncy"; did you mean "latency"?',
      ],
      [
        "a strategy that there is not",
        withGroup({ strategy: "fastest" }),
        'models.chat.strategy: unknown strategy "fastest"; expected one of "latency", "least-busy", "weighted", "round-robin", "cost", "chwbl"',
      ],
      [
        "a strategy without pick",
        withGroup({ strategy: { name: "x" } }),
        "models.chat.strategy.pick: Expected `pick` of a strategy to be a function",
      ],
      [
        "a misspelt choice",
        withDeployment({ unsupported: "dorp" }),
        'models.chat[0].unsupported: expected one of "drop", "error", received "dorp"; did you mean "drop"?',
      ],
      [
        "a misspelt timeout",
        withGroup({ timeouts: { connectMS: 1 } }),
        'models.chat.timeouts.connectMS: unknown option; did you mean "connectMs"?',
      ],
      [
        "a misspelt cooldown option",
        withGroup({ cooldown: { failure: 1 } }),
        'models.chat.cooldown.failure: unknown option; did you mean "failures"?',
      ],
      [
        "a wrong cooldown option",
        withGroup({ cooldown: { failures: 0 } }),
        "models.chat.cooldown.failures: expected at least 1, received 0",
      ],
      [
        "a misspelt chain",
        withGroup({ fallbacks: { onErorr: [] } }),
        'models.chat.fallbacks.onErorr: unknown option; did you mean "onError"?',
      ],
      [
        "fallbacks that are text",
        withGroup({ fallbacks: "backup" }),
        'models.chat.fallbacks: expected an object, received "backup"',
      ],
      [
        "a text for a number",
        withGroup({ retries: "2" }),
        'models.chat.retries: expected a finite number, received "2"',
      ],
      [
        "a fraction for an integer",
        withGroup({ retries: 1.5 }),
        "models.chat.retries: expected an integer, received 1.5",
      ],
      [
        "infinity",
        withGroup({ timeouts: { totalMs: Number.POSITIVE_INFINITY } }),
        "models.chat.timeouts.totalMs: expected a finite number, received Infinity",
      ],
      ["NaN", withDeployment({ weight: Number.NaN }), "models.chat[0].weight: expected a finite number, received NaN"],
      [
        "a negative price",
        withDeployment({ price: { input: -1, output: 1 } }),
        "models.chat[0].price.input: expected at least 0, received -1",
      ],
      ["half a price", withDeployment({ price: { input: 1 } }), "models.chat[0].price.output: is required"],
      [
        "a function for data",
        withDeployment({ tags: () => [] }),
        "models.chat[0].tags: expected an array, received a function",
      ],
      [
        "a class instance for data",
        withDeployment({ timeouts: new Map() }),
        "models.chat[0].timeouts: expected a plain object, received an instance of a class",
      ],
      [
        "a provider's own problem",
        withDeployment({ flavour: "bad" }),
        "models.chat[0].flavour: expected a good flavour",
      ],
      [
        "a default for the messages",
        withDeployment({ defaults: { messages: [] } }),
        "models.chat[0].defaults.messages: is the caller's to give: it cannot have a default",
      ],
      [
        "a default that is no JSON",
        withDeployment({ defaults: { a: [() => 1] } }),
        "models.chat[0].defaults.a[0]: expected a value that JSON can carry, received a function",
      ],
      ["a plugin that is none", { ...withGroup({}), plugins: [1] }, "plugins[0]: expected a plugin object, received 1"],
      [
        "a clock that is none",
        { ...withGroup({}), clock: {} },
        "clock: expected a clock: an object with the functions now, wallNow, schedule, sleep, received an object",
      ],
      [
        "a star outside a wildcard group",
        withDeployment({ model: "*" }),
        'models.chat[0].model: `*` takes the model\'s name from the caller, which only a wildcard group such as "chat/*" does',
      ],
      [
        "two stars",
        { models: { "a/*": [aDeployment({ model: "*/*" })] } },
        'models["a/*"][0].model: expected at most one `*`',
      ],
      [
        "two stars in a name",
        { models: { "*/*": [aDeployment({ model: "*" })] } },
        'models["*/*"]: the name of a wildcard group has one `*`',
      ],
      [
        "the name of nothing",
        { models: { "": [aDeployment()] } },
        'models[""]: expected the name of a group to have 1 to 256 characters, no control characters and no surrounding blanks',
      ],
    ])("%s", (_what, options, expected) => {
      expect(problem(options)).toBe(expected);
    });

    it.each(["mirror", "overflowMs"])("`%s`, which does not exist, as unknown, wherever it stands", (name) => {
      expect(problem(withDeployment({ [name]: 1 }))).toMatch(
        new RegExp(`^models\\.chat\\[0\\]\\.${name}: unknown option`),
      );
      expect(problem(withGroup({ [name]: 1 }))).toMatch(new RegExp(`^models\\.chat\\.${name}: unknown option`));
      expect(problem({ ...withGroup({}), [name]: 1 })).toMatch(new RegExp(`^${name}: unknown option`));
    });

    it.each([
      [{ queue: { maxLength: 0 } }, /^models\.chat\.queue\.maxLength: /],
      [{ queue: { maxWaitMs: 700_000 } }, /^models\.chat\.queue\.maxWaitMs: /],
      [{ queue: { maxLenght: 5 } }, /^models\.chat\.queue\.maxLenght: unknown option; did you mean "maxLength"\?/],
      [{ queue: "on" }, /^models\.chat\.queue: expected true, false or an object of options, received "on"$/],
      [{ queue: { line: 5 } }, /^models\.chat\.queue\.line: unknown option; expected one of "maxLength", "maxWaitMs"$/],
      [{ affinity: "on" }, /^models\.chat\.affinity: expected true, false or an object of options, received "on"$/],
      [{ cooldown: true }, /^models\.chat\.cooldown: expected false or an object of options, received true$/],
      [
        { midStream: "retry" },
        /^models\.chat\.midStream: expected "error", "continue" or \{ continue: true, prompt\? \}/,
      ],
      [{ midStream: true }, /^models\.chat\.midStream: expected "error", "continue"/],
      [{ midStream: {} }, /^models\.chat\.midStream\.continue: /],
      [{ midStream: { continue: false } }, /^models\.chat\.midStream\.continue: /],
      [
        { midStream: { continue: true, prompt: " \n" } },
        /^models\.chat\.midStream\.prompt: expected a text that is not blank/,
      ],
      [{ midStream: { continue: true, promt: "x" } }, /midStream\.promt: unknown option; did you mean "prompt"\?/],
    ])("a queue such as %j", (group, expected) => {
      expect(problem(withGroup(group))).toMatch(expected);
    });

    it.each([
      [{ hedge: "on" }, /^models\.chat\.hedge: expected true, false or an object of options, received "on"$/],
      [{ hedge: { minDelayMs: -1 } }, /^models\.chat\.hedge\.minDelayMs: /],
      [{ hedge: { percentile: 0.97 } }, /^models\.chat\.hedge\.percentile: /],
      [{ hedge: { minDelay: 5 } }, /^models\.chat\.hedge\.minDelay: unknown option; did you mean "minDelayMs"\?/],
      [
        { hedge: { windowSize: 20 } },
        /^models\.chat\.hedge\.minSamples: Expected `minSamples` to be at most `windowSize` \(20\), received 50/,
      ],
      [
        { hedge: { lowWinRate: 0.5 } },
        /^models\.chat\.hedge\.highWinRate: Expected `highWinRate` to be above `lowWinRate` \(0\.5\), received 0\.3/,
      ],
    ])("hedging such as %j", (group, expected) => {
      expect(problem(withGroup(group))).toMatch(expected);
    });

    it.each([{}, { shared: true }, { shared: true, ttftTargetMs: 100 }, { max: 0 }, { max: 4, ttftTargetMs: 0 }])(
      "a `maxParallel` such as %j",
      (maxParallel) => {
        expect(problem(withDeployment({ maxParallel }))).toMatch(/^models\.chat\[0\]\.maxParallel/);
      },
    );

    it("a problem of the defaults once, however many groups they reach", () => {
      const options = { models: { a: [aDeployment()], b: [aDeployment()] }, defaults: { retries: -1, retires: 1 } };
      expect(problems(options)).toEqual([
        'defaults.retires: unknown option; did you mean "retries"?',
        "defaults.retries: expected at least 0, received -1",
      ]);
    });

    it("weights where the strategy ignores them", () => {
      const weighted = (strategy: string) => withGroup({ strategy, deployments: [aDeployment({ weight: 2 })] });
      expect(problem(weighted("weighted"))).toBe("none");
      expect(problem(weighted("least-busy"))).toBe("none");
      for (const strategy of ["latency", "round-robin"]) {
        expect(problem(weighted(strategy))).toBe(
          `models.chat.deployments[0].weight: the strategy "${strategy}" ignores weights, so that only 1 is allowed, received 2`,
        );
      }
    });

    it("objects that contain themselves", () => {
      const cyclic: { models: Record<string, unknown> } = withGroup({});
      cyclic.models.loop = cyclic;
      expect(problems(cyclic).length).toBeGreaterThan(0);
    });

    it("getters that throw, without what they throw", () => {
      const options = {
        models: { chat: [aDeployment()] },
        get aliases(): never {
          throw new Error("sk-secret");
        },
      };
      expect(problems(options).join()).toMatch(/cannot be read/);
      expect(problems(options).join()).not.toContain("sk-secret");
    });
  });

  describe("S12: keys that are none", () => {
    const needsKey = aProvider({ name: "strict", apiKey: "required" });
    it.each([
      ["missing", undefined, "is required by the provider"],
      ["empty", "", "is empty"],
      ["blank", "  \n", "is empty"],
      ["an unset variable in a template", "undefined", 'is the text "undefined"'],
    ])("%s: refused, with a hint at the environment variable", (_what, apiKey, expected) => {
      const message = problem(withDeployment({ provider: needsKey, apiKey }));
      expect(message).toMatch(/^models\.chat\[0\]\.apiKey: /);
      expect(message).toContain(expected);
      expect(message).toContain("environment variable");
    });
    it("may be missing where the provider needs none", () => {
      expect(problem(withDeployment({ apiKey: undefined }))).toBe("none");
      expect(problem(withDeployment({ apiKey: "" }))).toContain("is empty");
    });
    it("are refused where the provider takes none", () => {
      expect(problem(withDeployment({ provider: aProvider({ apiKey: "none" }), apiKey: "x" }))).toContain(
        "takes no API key",
      );
    });
  });

  describe("S18: secrets", () => {
    const secret = "sk-1234567890abcdef";
    it("stay out of every message, wherever else they were put by mistake", () => {
      const options = {
        models: {
          chat: {
            deployments: [
              aDeployment({ apiKey: `${secret} `, headers: { authorization: `Bearer ${secret}\n`, host: secret } }),
              aDeployment({ apikey: secret, region: `${secret}\n`, unsupported: secret }),
              aDeployment({ baseUrl: `https://user:${secret}@host/v1`, apiKey: secret }),
              aDeployment({ provider: secret, apiKey: { key: secret } }),
            ],
            strategy: secret,
            fallbacks: [secret],
          },
        },
        aliases: { a: secret },
      };
      const found = problems(options);
      expect(found.length).toBeGreaterThanOrEqual(9);
      expect(found.join("\n")).not.toContain(secret);
    });

    it("do not show in the settings, printed or serialised", () => {
      const settings = parseOptions(withDeployment({ apiKey: secret, headers: { "x-token": secret } }));
      const deployment = only(settings);
      for (const text of [inspect(settings, { depth: 10 }), JSON.stringify(deployment), `${deployment.partition}`]) {
        expect(text).not.toContain(secret);
      }
      expect({ ...deployment.headers }).toEqual({ "x-token": secret });
      expect(deployment.credential.resolve()).toBe(secret);
    });
  });

  describe("S28: inert data", () => {
    it("the caller's object is not changed, and later changes of it have no effect", () => {
      const defaults = { nested: { a: 1 } };
      const options = {
        models: { chat: { deployments: [{ provider: "simulated", model: "a", defaults, tags: ["x"] }], retries: 1 } },
        aliases: { alias: "chat" },
      };
      const before = inspect(options, { depth: 10 });
      const settings = parseOptions(options);
      expect(inspect(options, { depth: 10 })).toBe(before);
      options.models.chat.retries = 9;
      defaults.nested.a = 2;
      options.models.chat.deployments.pop();
      options.aliases.alias = "nobody";
      expect(group(settings).retries).toBe(1);
      expect(only(settings).defaults).toEqual({ nested: { a: 1 } });
      expect(settings.aliases.get("alias")).toBe("chat");
    });
    it("takes frozen options", () => {
      const deployments = Object.freeze([Object.freeze(aDeployment())]);
      expect(problem(Object.freeze({ models: Object.freeze({ chat: deployments }) }))).toBe("none");
    });
    it("fields that are undefined count as missing", () => {
      const options = {
        ...withGroup({ retries: undefined, fallbacks: undefined }),
        aliases: undefined,
        defaults: { retries: 4 },
      };
      expect(group(parseOptions(options)).retries).toBe(4);
    });
    it("evaluates no template", () => {
      expect(only(parseOptions(withDeployment({ region: "$(process.exit())", tags: ["{{x}}"] }))).region).toBe(
        "$(process.exit())",
      );
    });
  });

  it("S29: names of the prototype are groups and aliases like any other", () => {
    const models = JSON.parse('{"__proto__":[{"model":"a"}],"constructor":[{"model":"b"}]}');
    for (const name of Object.keys(models)) Object.assign(models[name][0], { provider: fake });
    const settings = parseOptions({ models, aliases: { toString: "constructor" } });
    expect([...settings.groups.keys()]).toEqual(["__proto__", "constructor"]);
    expect(settings.registry.resolve("toString")?.group.name).toBe("constructor");
    expect(settings.registry.resolve("valueOf")).toBeUndefined();
    expect(problem({ ...withGroup({}), aliases: { a: "valueOf" } })).toBe(
      'aliases.a: unknown group "valueOf"; expected "chat"',
    );
  });

  it("S29: own `__proto__` fields are refused where data is expected, and change no prototype", () => {
    const deployment = JSON.parse('{"model":"a","__proto__":{"weight":5},"defaults":{"__proto__":{"polluted":1}}}');
    deployment.provider = fake;
    expect(problems({ models: { chat: [deployment] } })).toEqual([
      "models.chat[0].__proto__: unknown option",
      "models.chat[0].defaults.__proto__: cannot be the name of a field",
    ]);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  describe("S5: base URLs", () => {
    it.each([
      ["not a URL", "expected a URL"],
      ["ftp://host/v1", "expected http or https, received ftp"],
      ["file:///etc/passwd", "expected http or https, received file"],
      ["http://host/v1?x=1", "query"],
      ["http://host/v1#x", "fragment"],
      ["http://host/a/../b", "dot segments"],
      ["http://host/a/%2e%2e/b", "dot segments"],
      ["http://user@host/v1", "user name"],
      ["http://host/\tv1", "expected a URL"],
      ["http://host\\v1", "expected a URL"],
      [" http://host/v1", "expected a URL"],
      ["", "is empty"],
    ])("%j is refused", (baseUrl, expected) => {
      expect(problem(withDeployment({ baseUrl }))).toMatch(/^models\.chat\[0\]\.baseUrl: /);
      expect(problem(withDeployment({ baseUrl }))).toContain(expected);
    });
  });

  describe("S42: headers", () => {
    it.each([
      [{ "bad name": "x" }, "bad name"],
      [{ "x-a": "a\r\nx-b: c" }, "x-a"],
      [{ "x-a": "" }, "x-a"],
      [{ "x-a": 1 }, "x-a"],
      [{ "x-a": undefined }, "x-a"],
      [{ host: "x" }, "host"],
      [{ "Content-Length": "1" }, "Content-Length"],
      [{ cookie: "a=b" }, "cookie"],
      [{ "transfer-encoding": "chunked" }, "transfer-encoding"],
      [{ "accept-encoding": "gzip" }, "accept-encoding"],
      [{ "x-a": "1", "X-A": "2" }, "X-A"],
    ])("%j are refused", (headers, name) => {
      const path = /^[a-z]+$/.test(name) ? `headers.${name}` : `headers["${name}"]`;
      expect(problem(withDeployment({ headers }))).toContain(`models.chat[0].${path}: `);
    });
    it("without a value say what is most likely the cause", () => {
      expect(problem(withDeployment({ headers: { "x-token": process.env.SWITCHYARD_TESTS_NEVER_SET } }))).toContain(
        'models.chat[0].headers["x-token"]: is undefined; if it comes from an environment variable',
      );
    });
    it("are sent in lower case", () => {
      const settings = parseOptions(withDeployment({ headers: { "X-Team": "blue" } }));
      expect(Object.entries(only(settings).headers)).toEqual([["x-team", "blue"]]);
    });
  });

  describe("names", () => {
    const models = { chat: [aDeployment()], "openai/*": [aDeployment({ model: "*" })] };
    it.each([
      [{ aliases: { a: "chta" } }, 'aliases.a: unknown group "chta"; did you mean "chat"?'],
      [{ aliases: { a: "b", b: "chat" } }, 'aliases.a: "b" is an alias itself; name its group'],
      [{ aliases: { chat: "chat" } }, "aliases.chat: is also the name of a group"],
      [{ aliases: { a: 1 } }, "aliases.a: expected the name of a group, received 1"],
      [
        { aliases: { "a*": "chat" } },
        'aliases["a*"]: an alias stands for one name; name a group with `*` to take many',
      ],
      [
        { aliases: { a: "openai/*" } },
        "aliases.a: a wildcard group stands for no single model; give a name that it takes",
      ],
      [{ aliases: { a: "openai/bad name" } }, 'aliases.a: unknown group "openai/bad name"; expected "chat"'],
    ])("%j: %s", (fields, expected) => {
      expect(problem({ models, ...fields })).toBe(expected);
    });

    it("an alias may stand for a name that a wildcard group takes", () => {
      const { registry } = parseOptions({ models, aliases: { mini: "openai/gpt-4o-mini" } });
      expect(registry.resolve("mini")).toMatchObject({ captured: "gpt-4o-mini", group: { name: "openai/*" } });
    });

    it("wildcard groups come with the longest prefix first", () => {
      const settings = parseOptions({
        models: { "*": [aDeployment({ model: "*" })], "a/*": [aDeployment({ model: "x/*" })], "a/b*": [aDeployment()] },
      });
      expect(settings.wildcards.map(({ name }) => name)).toEqual(["a/b*", "a/*", "*"]);
      expect(settings.wildcards.every(({ isWildcard }) => isWildcard)).toBe(true);
    });
  });

  describe("fallbacks", () => {
    const backup = [aDeployment({ model: "small" })];
    const withFallbacks = (fallbacks: unknown, more: object = {}) => ({
      models: { chat: { deployments: [aDeployment()], fallbacks }, backup, "openai/*": [aDeployment({ model: "*" })] },
      ...more,
    });

    it("a list stands for errors and context windows", () => {
      expect(group(parseOptions(withFallbacks(["backup"]))).fallbacks).toEqual({
        onError: ["backup"],
        onContextWindow: ["backup"],
        onContentPolicy: [],
        onBudget: [],
      });
    });
    it("aliases are replaced by what they stand for", () => {
      const settings = parseOptions(withFallbacks(["b", "o"], { aliases: { b: "backup", o: "openai/o3" } }));
      expect(group(settings).fallbacks.onError).toEqual(["backup", "openai/o3"]);
    });
    it.each([
      [["bakcup"], 'models.chat.fallbacks[0]: unknown group "bakcup"; did you mean "backup"?'],
      [
        { onError: ["nobody"] },
        'models.chat.fallbacks.onError[0]: unknown group "nobody"; expected one of "chat", "backup"',
      ],
      [["chat"], "models.chat.fallbacks[0]: is the group itself"],
      [["backup", "backup"], "models.chat.fallbacks[1]: is given twice"],
      [
        ["openai/*"],
        "models.chat.fallbacks[0]: a wildcard group stands for no single model; give a name that it takes",
      ],
    ])("%j: %s", (fallbacks, expected) => {
      expect(problem(withFallbacks(fallbacks))).toBe(expected);
    });
    it("of the defaults leave out the group itself, and are checked once", () => {
      const models = { chat: [aDeployment()], backup };
      const settings = parseOptions({ models, defaults: { fallbacks: ["backup"] } });
      expect(group(settings).fallbacks.onError).toEqual(["backup"]);
      expect(group(settings, "backup").fallbacks.onError).toEqual([]);
      expect(problem({ models, defaults: { fallbacks: ["backpu"] } })).toBe(
        'defaults.fallbacks[0]: unknown group "backpu"; did you mean "backup"?',
      );
    });
    it("of a wildcard group may be another wildcard group", () => {
      const models = {
        "openai/*": { deployments: [aDeployment({ model: "*" })], fallbacks: ["azure/*"] },
        "azure/*": [aDeployment({ model: "*", id: "azure" })],
      };
      expect(group(parseOptions({ models }), "openai/*").fallbacks.onError).toEqual(["azure/*"]);
    });
    it("that form a cycle are allowed, with a warning", () => {
      const { warnings } = parseOptions({
        models: {
          chat: { deployments: [aDeployment()], fallbacks: ["backup"] },
          backup: { deployments: backup, fallbacks: ["main"] },
        },
        aliases: { main: "chat" },
      });
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain("chat → backup → chat");
    });
  });

  describe("ids", () => {
    const ids = (models: object) => [...parseOptions({ models }).deployments.keys()];

    it("are provider, model and host, and numbered where they repeat in a group", () => {
      expect(ids({ chat: [aDeployment(), aDeployment(), aDeployment({ baseUrl: "http://gpu:8000" })] })).toEqual([
        "fake/llama@fake-host",
        "fake/llama@fake-host#2",
        "fake/llama@gpu:8000",
      ]);
    });
    it("are shared by groups that list the same deployment", () => {
      const settings = parseOptions({ models: { chat: [aDeployment()], fast: [aDeployment({ tier: 2 })] } });
      expect([...settings.deployments.keys()]).toEqual(["fake/llama@fake-host"]);
      const [chat, fast] = [only(settings), only(settings, "fast")];
      expect([chat.tier, fast.tier]).toEqual([0, 2]);
      expect(fast.credential).toBe(chat.credential);
      expect(fast.upstream).toBe(chat.upstream);
    });
    it("differ where the configuration does", () => {
      expect(ids({ chat: [aDeployment({ apiKey: "a" })], fast: [aDeployment({ apiKey: "b" })] })).toEqual([
        "fake/llama@fake-host",
        "fake/llama@fake-host#2",
      ]);
    });
    it("that are explicit come before defaults, wherever they stand", () => {
      const explicit = aDeployment({ id: "fake/llama@fake-host", apiKey: "b" });
      expect(ids({ chat: [aDeployment()], fast: [explicit] }).sort()).toEqual([
        "fake/llama@fake-host",
        "fake/llama@fake-host#2",
      ]);
    });
    it("given to two different deployments are refused", () => {
      const models = { chat: [aDeployment({ id: "a" })], fast: [aDeployment({ id: "a", maxParallel: 1 })] };
      expect(problem({ models })).toBe(
        "models.fast[0].id: is also the id of models.chat[0], which is configured differently",
      );
    });
    it("given twice in a group are refused", () => {
      const models = { chat: [aDeployment({ id: "a" }), aDeployment({ id: "a" })] };
      expect(problem({ models })).toBe("models.chat[1].id: is given twice in the group");
    });
  });

  describe("S3: the fingerprint", () => {
    const fingerprint = (over: object) => only(parseOptions(withDeployment(over))).fingerprint;
    const plain = { baseUrl: "https://host:1/v1", apiKey: "a" };

    it("is the same for the same configuration, whatever the order of its fields", () => {
      expect(fingerprint({ apiKey: "a", baseUrl: "https://host:1/v1" })).toBe(fingerprint(plain));
    });
    it.each([
      ["the scheme", { baseUrl: "http://host:1/v1" }],
      ["the host", { baseUrl: "https://other:1/v1" }],
      ["the port", { baseUrl: "https://host:2/v1" }],
      ["the base path", { baseUrl: "https://host:1/v2" }],
      ["the key", { apiKey: "b" }],
      ["a header", { headers: { "x-a": "1" } }],
      ["a provider's own option", { flavour: "sour" }],
      ["the model", { model: "other" }],
      ["the provider", { provider: aProvider() }],
    ])("changes with %s", (_what, change) => {
      expect(fingerprint({ ...plain, ...change })).not.toBe(fingerprint(plain));
    });
    it("takes a key function for itself: another function is another credential", () => {
      const key = () => "a";
      expect(fingerprint({ apiKey: key })).toBe(fingerprint({ apiKey: key }));
      expect(fingerprint({ apiKey: key })).not.toBe(fingerprint({ apiKey: () => "a" }));
    });
    it("does not depend on the place in a group", () => {
      expect(fingerprint({ ...plain, tier: 3, id: "named" })).toBe(fingerprint(plain));
    });
  });

  it("S38: connections are shared only by deployments with the same credential", () => {
    const partition = (over: object) => only(parseOptions(withDeployment(over))).partition;
    expect(partition({ apiKey: "a", model: "x" })).toBe(partition({ apiKey: "a", model: "y" }));
    for (const other of [
      { apiKey: "b" },
      {},
      { apiKey: "a", headers: { authorization: "b" } },
      { apiKey: () => "a" },
    ]) {
      expect(partition(other)).not.toBe(partition({ apiKey: "a" }));
    }
  });

  describe("R17: whatever the options are, they are taken whole or refused", () => {
    const valid = () => ({
      models: {
        chat: {
          deployments: [
            aDeployment({ apiKey: "key-a", tier: 0, price: { input: 1, output: 2 }, headers: { "x-a": "b" } }),
            aDeployment({
              baseUrl: "http://gpu:1/v1",
              id: "b",
              tags: ["own"],
              timeouts: { connectMs: 5 },
              defaults: { a: [1] },
            }),
          ],
          strategy: "least-busy",
          fallbacks: { onError: ["backup"], onContextWindow: ["mini"] },
          timeouts: { totalMs: 10_000 },
          cooldown: { failures: 3 },
        },
        backup: [aDeployment({ model: "small" })],
        "openai/*": [aDeployment({ model: "*" })],
      },
      aliases: { mini: "openai/gpt-4o-mini" },
      defaults: { retries: 1 },
      plugins: [{ name: "watch" }],
      inputLimits: { messages: 100 },
      allowFields: ["provider"],
    });
    type Node = Record<PropertyKey, unknown>;

    /** Every place of the options, the provider objects left alone. */
    function placesOf(value: unknown, path: PropertyKey[] = []): PropertyKey[][] {
      if (typeof value !== "object" || value === null || value === fake) return [path];
      const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
      return [path, ...[...keys].flatMap((key) => placesOf((value as Node)[key], [...path, key]))];
    }
    function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
      return path.reduce<unknown>((value, key) => Object(value)[key as string], root);
    }
    /** `models["a/*"][0].id` as the keys it is made of. */
    function keysOf(path: string): string[] {
      return [...path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([\w$]+)/g)].map(
        ([, quoted, index, name]) => (quoted === undefined ? (index ?? name) : JSON.parse(`"${quoted}"`)) as string,
      );
    }

    const places = placesOf(valid());
    const junk = fc.oneof(
      fc.constantFrom<unknown>(
        undefined,
        null,
        true,
        0,
        -1,
        1.5,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        "",
        " ",
        "chat",
        "x\n",
        1n,
      ),
      fc.constantFrom<unknown>(
        [],
        {},
        [null],
        [[]],
        () => 1,
        Symbol("s"),
        new Map(),
        new Date(0),
        /x/,
        "*",
        "a/*/*",
        "__proto__",
      ),
      fc.string(),
      fc.integer(),
      fc.double(),
      fc.object({ maxDepth: 2 }),
    );
    const mutation = fc.record({
      place: fc.nat(places.length - 1),
      kind: fc.constantFrom("replace", "delete", "add", "rename"),
      name: fc.oneof(fc.constantFrom("__proto__", "constructor", "modle", "toString", "retries", "id"), fc.string()),
      value: junk,
    });

    function mutate(
      options: unknown,
      { place, kind, name, value }: { place: number; kind: string; name: string; value: unknown },
    ): unknown {
      const path = places[place] ?? [];
      const key = path.at(-1);
      if (key === undefined) return kind === "replace" ? value : options;
      const parent = valueAt(options, path.slice(0, -1)) as Node | undefined;
      // An earlier mutation may have taken the place away.
      if (typeof parent !== "object" || parent === null) return options;
      const set = (where: Node, at: PropertyKey, what: unknown) => {
        // Nobody can make the `length` of an array a field like the others.
        if (Array.isArray(where) && at === "length") return;
        Object.defineProperty(where, at, { value: what, enumerable: true, configurable: true, writable: true });
      };
      const current = parent[key];
      if (kind === "replace") set(parent, key, value);
      else if (kind === "delete") delete parent[key];
      else if (kind === "rename") {
        delete parent[key];
        set(parent, name, current);
      } else if (typeof current === "object" && current !== null && current !== fake) set(current as Node, name, value);
      return options;
    }

    it("throws nothing but InvalidOptionsError, and names only places that exist or are missing from one that does", () => {
      fc.assert(
        fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
          const options = mutations.reduce(mutate, valid() as unknown);
          try {
            parseOptions(options);
          } catch (error) {
            if (!(error instanceof InvalidOptionsError)) throw error;
            expect(error.issues.length).toBeGreaterThan(0);
            for (const { path } of error.issues) {
              const parent = path === "" ? {} : valueAt(options, keysOf(path).slice(0, -1));
              if (typeof parent !== "object" || parent === null) throw new Error(`there is no ${path}`);
            }
          }
        }),
        { numRuns: 1_000 },
      );
    });

    it("takes what it should: the options before the mutations have no problem", () => {
      expect(problems(valid())).toEqual([]);
    });
  });
});
