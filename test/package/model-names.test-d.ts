import { describe, expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type { DeploymentOptions, deploymentSchema } from "../../src/deployments/options.js";
import { type GroupOptions, type ModelName, Router, type RouterOptions, type ServedName } from "../../src/index.js";
import type { inputLimitsSchema } from "../../src/router/input-limits.js";
import type { groupDefaultsSchema, routerSchema } from "../../src/router/options.js";
import type { GroupDefaults, InputLimitOptions } from "../../src/router/router-options.js";
import type { priceSchema } from "../../src/tokens/options.js";
import type { Price } from "../../src/tokens/pricing.js";
import type { ownTimeoutsSchema, TimeoutOptions, timeoutsSchema } from "../../src/transport/options.js";

const messages = [{ role: "user" as const, content: "hi" }];

describe("names of models", () => {
  const router = new Router({
    models: {
      chat: {
        deployments: [{ provider: "simulated", model: "a", ttftMs: 5 }],
        strategy: "least-busy",
        fallbacks: ["embed"],
      },
      embed: [{ provider: "ollama", model: "nomic-embed-text" }],
      "openai/*": [{ provider: "openai", model: "*", apiKey: process.env.OPENAI_API_KEY }],
      "*-turbo": [
        {
          provider: "azure",
          model: "*",
          resource: "r",
          apiKey: () => process.env.AZURE_API_KEY,
          headers: { "x-team": process.env.TEAM },
        },
      ],
    },
    aliases: { "gpt-4": "chat" },
  });

  it("are those of a literal configuration: groups, aliases, and what wildcard groups take", () => {
    type Name = typeof router extends Router<infer Group, infer Alias> ? ServedName<Group, Alias> : never;
    expectTypeOf<Name>().toEqualTypeOf<"chat" | "embed" | `openai/${string}` | `${string}-turbo` | "gpt-4">();
    for (const model of ["chat", "gpt-4", "openai/o3", "qwen-turbo"] as const) {
      void router.chat.completions.create({ model, messages });
    }
    void router.embeddings.create({ model: "embed", input: "x" });
    void router.completions.create({ model: "chat", prompt: "x" });
  });

  it("explain takes the body of the operation that it is told, a chat's without one", () => {
    void router.explain({ model: "chat", messages }, { sessionId: "1" });
    void router.explain({ model: "embed", input: "x" }, { operation: "embeddings" });
    void router.explain({ model: "chat", prompt: "x" }, { operation: "completions" });
    // @ts-expect-error a chat has messages
    void router.explain({ model: "embed", input: "x" });
    // @ts-expect-error embeddings have an input
    void router.explain({ model: "embed", messages }, { operation: "embeddings" });
    // @ts-expect-error the group is called `chat`
    void router.explain({ model: "chatt", messages });
  });

  it("that are not configured are errors of the compiler", () => {
    // @ts-expect-error the group is called `chat`
    void router.chat.completions.create({ model: "chta", messages });
    // @ts-expect-error the wildcard group is called `openai/*`
    void router.chat.completions.create({ model: "opneai/o3", messages, stream: true });
    // @ts-expect-error no such group
    void router.embeddings.create({ model: "embedding", input: "x" });
    // @ts-expect-error no such group
    void router.completions.create({ model: "x", prompt: "x" });
  });

  it("are any text where the configuration is not a literal", () => {
    const options = {} as RouterOptions;
    expectTypeOf<ModelName<RouterOptions>>().toEqualTypeOf<string>();
    void new Router(options).chat.completions.create({ model: "whatever", messages });
    const models: Record<string, { provider: "openai"; model: string }[]> = {};
    void new Router({ models }).chat.completions.create({ model: "whatever", messages });
    void new Router({ models: { "*": [{ provider: "openai", model: "*" }] } }).embeddings.create({
      model: "whatever",
      input: "x",
    });
  });

  it("include aliases that are not a literal", () => {
    const aliases: Record<string, string> = {};
    void new Router({ models: { chat: [{ provider: "openai", model: "a" }] }, aliases }).chat.completions.create({
      model: "whatever",
      messages,
    });
  });
});

describe("types of options", () => {
  it("take constants and mutable values alike", () => {
    const options = {
      models: {
        chat: { deployments: [{ provider: "openai", model: "a", tags: ["x"], apiKey: undefined }], retries: undefined },
      },
      aliases: undefined,
    } as const;
    void new Router(options);
    const tags: string[] = [];
    void new Router({
      models: { chat: [{ provider: "openai", model: "a", tags, headers: { "x-a": "b" } }] },
      plugins: [],
    });
  });

  it("refuse what is plainly wrong", () => {
    // @ts-expect-error no such provider
    void new Router({ models: { chat: [{ provider: "opneai", model: "a" }] } });
    // @ts-expect-error no such strategy
    void new Router({ models: { chat: { deployments: [{ provider: "openai", model: "a" }], strategy: "fastest" } } });
    // @ts-expect-error a number
    void new Router({ models: { chat: [{ provider: "openai", model: "a", weight: "2" }] } });
    // @ts-expect-error there must be groups
    void new Router({});
    // @ts-expect-error a misspelt option, where the type is stated
    void ({ models: {}, alias: {} } satisfies RouterOptions);
  });

  it("refuse what is misspelt, where it stands", () => {
    const deployment = { provider: "openai", model: "a" } as const;
    const models = { chat: [deployment] };
    // @ts-expect-error `plugins`
    void new Router({ models, plugns: [] });
    // @ts-expect-error `models`
    void new Router({ modles: { chat: [deployment] } });
    // @ts-expect-error `model`
    void new Router({ models: { chat: [{ provider: "openai", modle: "a" }] } });
    void new Router({
      models: {
        chat: {
          deployments: [
            {
              provider: "openai",
              model: "a",
              // @ts-expect-error `rpm`
              rpmm: 1,
            },
            {
              provider: "openai",
              model: "b",
              // @ts-expect-error an option of `azure`, not of `openai`
              resource: "r",
            },
            { provider: "azure", model: "c", resource: "r" },
          ],
        },
        other: [
          {
            provider: "vllm",
            model: "a",
            // @ts-expect-error `timeouts`
            timeout: { totalMs: 1 },
          },
        ],
      },
    });
    void new Router({
      models: {
        chat: {
          deployments: [deployment],
          // @ts-expect-error `fallbacks`
          fallback: ["other"],
        },
        other: [deployment],
      },
    });
    // @ts-expect-error `totalMs`
    void new Router({ models, defaults: { timeouts: { total: 5 } } });
    // @ts-expect-error `plugins`
    new Router({ models }).reload({ models, plugns: [] });
  });

  it("refuse names that nothing has, where they are literals", () => {
    const chat = [{ provider: "openai", model: "a" }] as const;
    const rest = { chat, "openai/*": [{ provider: "openai", model: "*" }] } as const;
    void new Router({
      models: {
        ...rest,
        a: { deployments: chat, fallbacks: ["chat", "openai/o3", "quick"], shadow: { group: "chat", share: 1 } },
        b: { deployments: chat, fallbacks: { onError: ["a"], onBudget: ["quick"] } },
      },
      aliases: { quick: "chat", o3: "openai/o3" },
      defaults: { fallbacks: ["chat"] },
    });
    // @ts-expect-error no such group
    void new Router({ models: { ...rest, a: { deployments: chat, fallbacks: ["nope"] } } });
    // @ts-expect-error no such group
    void new Router({ models: { ...rest, a: { deployments: chat, fallbacks: ["chat", "nope"] } } });
    // @ts-expect-error no such group
    void new Router({ models: { ...rest, a: { deployments: chat, fallbacks: { onError: ["opneai/o3"] } } } });
    // @ts-expect-error no such group
    void new Router({ models: { ...rest, a: { deployments: chat, shadow: { group: "nope", share: 1 } } } });
    // @ts-expect-error no such group
    void new Router({ models: rest, defaults: { fallbacks: ["nope"] } });
    // @ts-expect-error no such group
    void new Router({ models: rest, aliases: { quick: "chta" } });
    // @ts-expect-error an alias of an alias
    void new Router({ models: rest, aliases: { quick: "chat", quicker: "quick" } });
    // @ts-expect-error no such group
    new Router({ models: rest }).reload({ models: rest, aliases: { quick: "chta" } });
    // Nobody knows what these hold.
    const names: string[] = [];
    const group: GroupOptions = { deployments: [] };
    const router = new Router({ models: { chat, a: { deployments: chat, fallbacks: names }, b: group } });
    // @ts-expect-error no such group
    void router.chat.completions.create({ model: "c", messages });
  });

  it("know the names of a constant, and of one that is checked against the type", () => {
    const options = { models: { chat: [{ provider: "openai", model: "a" }] } } satisfies RouterOptions;
    const router = new Router(options);
    void router.chat.completions.create({ model: "chat", messages });
    // @ts-expect-error the group is called `chat`
    void router.chat.completions.create({ model: "chta", messages });
  });

  it("say which names a router has, or that any will do", () => {
    const anyNames: Router = new Router({ models: { chat: [{ provider: "openai", model: "a" }] } });
    void anyNames.chat.completions.create({ model: "whatever", messages });
    const stated = new Router<string>({
      models: { chat: [{ provider: "openai", model: "a" }] },
      aliases: { quick: "chat" },
    });
    expectTypeOf(stated).toEqualTypeOf<Router>();
  });

  /** A type without `readonly`, `?` and `undefined`, at every depth. */
  type Bare<T> = T extends (...parameters: never[]) => unknown
    ? T
    : T extends readonly (infer Item)[]
      ? Bare<Item>[]
      : T extends object
        ? { -readonly [Name in keyof T]-?: Bare<Exclude<T[Name], undefined>> }
        : T;

  it("are those of the schemas", () => {
    expectTypeOf<Bare<InputLimitOptions>>().toEqualTypeOf<Bare<z.input<typeof inputLimitsSchema>>>();
    expectTypeOf<Bare<TimeoutOptions>>().toEqualTypeOf<Bare<z.input<typeof timeoutsSchema>>>();
    expectTypeOf<Bare<TimeoutOptions>>().toEqualTypeOf<Bare<z.input<typeof ownTimeoutsSchema>>>();
    expectTypeOf<Bare<Price>>().toEqualTypeOf<Bare<z.input<typeof priceSchema>>>();
    expectTypeOf<Bare<GroupDefaults>>().toEqualTypeOf<Bare<z.input<typeof groupDefaultsSchema>>>();
    type Rest<T> = Omit<T, "provider">;
    expectTypeOf<Bare<Rest<DeploymentOptions>>>().toEqualTypeOf<Bare<Rest<z.input<typeof deploymentSchema>>>>();
    expectTypeOf<keyof RouterOptions>().toEqualTypeOf<keyof z.input<typeof routerSchema>>();
  });
});
