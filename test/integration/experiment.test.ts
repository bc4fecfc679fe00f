import { afterEach, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { createHandler } from "../../src/http/handler.js";
import { seededRandom } from "../../src/internal/random.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { cache } from "../../src/plugins/cache/cache.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import type { RouterEvent } from "../../src/plugins/plugin.js";
import { records } from "../../src/plugins/telemetry/record-plugin.js";
import type { TelemetryRecord } from "../../src/plugins/telemetry/records.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { variantOf } from "../../src/routing/experiment/assignment.js";
import type { ExperimentOptions } from "../../src/routing/experiment/options.js";
import { expectNothingLeaks } from "../support/no-leaks.js";
import { HELLO, rejection } from "../support/router-fixtures.js";

const watch = expectNothingLeaks();
const closing: Router[] = [];
afterEach(async () => {
  for (const router of closing.splice(0)) await router.close({ drainMs: 0 });
});

const model = (id: string, more: object = {}) => ({
  id,
  provider: "simulated" as const,
  model: id,
  reply: id,
  ...more,
});

function aRouter(experiment: ExperimentOptions, more: Partial<RouterOptions> = {}, chat: Partial<GroupOptions> = {}) {
  const { models, ...rest } = more;
  const router = new Router<string>({
    random: seededRandom(7),
    models: { chat: { deployments: [model("old")], experiment, ...chat }, new: [model("new")], ...models },
    ...rest,
  });
  closing.push(watch.router(router));
  return router;
}

async function served(router: Router, options: CallOptions = {}, name = "chat"): Promise<string> {
  const { data } = await router.chat.completions.create({ model: name, messages: HELLO }, options).withRouting();
  return (data as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

const half: ExperimentOptions = { name: "models", variants: { new: 0.5 }, stickyBy: "user" };
const users = Array.from({ length: 40 }, (_, index) => `user-${index}`);

describe("an experiment between two groups", () => {
  it("gives the same user the same variant, in every router and for every request", async () => {
    const routers = [aRouter(half), aRouter(half, { random: seededRandom(99) })];
    const variants = new Map<string, string>();
    for (const router of routers) {
      for (const user of [...users, ...users]) {
        const variant = await served(router, { principal: { user } });
        expect(variants.get(user) ?? variant).toBe(variant);
        variants.set(user, variant);
      }
    }
    const share = [...variants.values()].filter((variant) => variant === "new").length / users.length;
    expect(share).toBeGreaterThan(0.25);
    expect(share).toBeLessThan(0.75);
  });

  it("without somebody to stick to, the injected chance decides", async () => {
    const draw = async () => {
      const router = aRouter(half);
      return Promise.all(Array.from({ length: 60 }, () => served(router)));
    };
    const drawn = await draw();
    expect(drawn).toEqual(await draw());
    expect(new Set(drawn)).toEqual(new Set(["old", "new"]));
  });

  it.each<[ExperimentOptions["stickyBy"], CallOptions, CallOptions]>([
    ["session", { sessionId: "s1" }, { sessionId: "s1", principal: { key: "k", organization: undefined } }],
    ["session", { principal: { user: "ann" } }, { principal: { user: "ann", key: "k" } }],
    ["user", { principal: { key: "k" } }, { principal: { key: "k", team: "red" } }],
    ["team", { principal: { team: "red", user: "ann" } }, { principal: { team: "red", user: "bob" } }],
    [
      "tenant",
      { principal: { organization: "acme", user: "ann" } },
      { principal: { organization: "acme", team: "t" } },
    ],
  ])("by %s it is the same for %o and %o", async (stickyBy, one, other) => {
    for (let seed = 1; seed <= 8; seed++) {
      const name = `test-${seed}`;
      const router = aRouter({ name, variants: { new: 0.5 }, ...(stickyBy && { stickyBy }) });
      const same = { ...other, principal: stickyBy === "session" && one.sessionId ? undefined : other.principal };
      expect(await served(router, one)).toBe(await served(router, same));
    }
  });

  it("a session of another tenant is another one", async () => {
    const router = aRouter({ name: "x", variants: { new: 0.5 } });
    const variants = await Promise.all(
      users.map((organization) => served(router, { sessionId: "1", principal: { organization } })),
    );
    expect(new Set(variants)).toEqual(new Set(["old", "new"]));
  });

  it("`request` sticks to nobody", async () => {
    const router = aRouter({ variants: { new: 0.5 }, stickyBy: "request" });
    const variants = await Promise.all(users.map(() => served(router, { principal: { user: "ann" } })));
    expect(new Set(variants)).toEqual(new Set(["old", "new"]));
  });

  it("holds for those who name the group, by an alias too, and not for those who name the variant or fall back", async () => {
    const router = aRouter(
      { variants: { new: 1 } },
      {
        aliases: { "gpt-4": "chat" },
        models: { other: { deployments: [model("broken", { failureRate: 1 })], fallbacks: ["chat"], retries: 0 } },
      },
    );
    expect(await served(router)).toBe("new");
    expect(await served(router, {}, "gpt-4")).toBe("new");
    expect(await served(router, {}, "new")).toBe("new");
    expect(await served(router, {}, "other")).toBe("old");
  });

  it("the variant's own fallbacks and retries hold", async () => {
    const router = aRouter(
      { variants: { new: 1 } },
      {
        models: {
          new: { deployments: [model("new", { failureRate: 1 })], fallbacks: ["spare"], retries: 0 },
          spare: [model("spare")],
          other: [model("other")],
        },
      },
      { fallbacks: ["other"] },
    );
    expect(await served(router)).toBe("spare");
  });

  it("invariant 15: who requires one deployment stays in the group that has it", async () => {
    const router = aRouter({ variants: { new: 1 } });
    expect(await served(router, { require: { deployment: "old" } })).toBe("old");
  });

  it("a name that a wildcard group takes may be a variant", async () => {
    const router = aRouter({ variants: { "any/x": 1 } }, { models: { "any/*": [{ ...model("w"), model: "*" }] } });
    const { routing } = await router.chat.completions.create({ model: "chat", messages: HELLO }).withRouting();
    expect(routing).toMatchObject({ group: "any/*", experiment: { name: "chat", variant: "any/x" } });
  });
});

describe("what an experiment leaves behind", () => {
  it("the routing record, events, telemetry records, the ledger and a header name variant and experiment", async () => {
    const events: RouterEvent[] = [];
    const kept: TelemetryRecord[] = [];
    const ledger = createMemoryLedger();
    const observer = {
      name: "watch",
      onRequest: (event: RouterEvent) => events.push(event),
      onAttempt: (event: RouterEvent) => events.push(event),
      onSettled: (event: RouterEvent) => events.push(event),
    };
    const router = aRouter(
      { name: "models", variants: { new: 1 } },
      {
        ledger,
        plugins: [observer, records((record) => kept.push(record))],
      },
    );
    const { routing } = await router.chat.completions
      .create({ model: "chat", messages: HELLO }, { tags: ["mine"] })
      .withRouting();
    const experiment = { name: "models", variant: "new" };
    expect(routing).toMatchObject({ model: "chat", group: "new", experiment });
    const handler = createHandler(router);
    const response = await handler.fetch(
      new Request("http://x/v1/chat/completions", {
        method: "POST",
        body: JSON.stringify({ model: "chat", messages: HELLO }),
        headers: { "content-type": "application/json" },
      }),
    );
    await response.text();
    expect(response.headers.get("x-switchyard-experiment")).toBe("models=new");
    await router.close();
    expect(events.length).toBeGreaterThan(3);
    for (const event of events) expect(event).toMatchObject({ model: "chat", group: "new", experiment });
    for (const record of kept) expect(record).toMatchObject({ experiment: "models", variant: "new" });
    expect(kept.map(({ kind }) => kind)).toContain("request");
    const { rows } = await ledger.report({ by: ["tag", "group"] });
    expect(rows.map(({ by }) => by.tag)).toEqual(["experiment:models=new", "mine"].toSorted());
    // Events have the caller's tags, and no other: limits by tag count these.
    expect(events[0]).toMatchObject({ tags: ["mine"] });
  });

  it("S39: a cache gives nobody the answer of another variant", async () => {
    const router = aRouter(half, { plugins: [cache()] });
    const variants = new Map<string, string>();
    for (const user of [...users, ...users]) {
      const { experiment } = await router.explain(
        { model: "chat", messages: HELLO },
        { principal: { organization: "acme", user } },
      );
      const answer = await served(router, { principal: { organization: "acme", user } });
      expect(answer).toBe(experiment?.variant === "new" ? "new" : "old");
      variants.set(user, answer);
    }
    expect(new Set(variants.values())).toEqual(new Set(["old", "new"]));
  });

  it("no limit by tag counts the mark of the experiment", async () => {
    const router = aRouter({ variants: { new: 1 } }, { plugins: [rateLimit({ by: "tag", rpm: 1 })] });
    expect(await served(router)).toBe("new");
    expect(await served(router)).toBe("new");
  });

  it("S10: permission and limits by model go by the name that the caller used", async () => {
    const directory = createDirectory({ users: { ann: { models: ["chat"] }, bob: { models: ["new"] } } });
    const router = aRouter({ variants: { new: 1 } }, { directory });
    expect(await served(router, { principal: { user: "ann" } })).toBe("new");
    expect(await rejection(served(router, { principal: { user: "ann" } }, "new"))).toMatchObject({
      code: "model_not_found",
    });
    expect(await rejection(served(router, { principal: { user: "bob" } }))).toMatchObject({ code: "model_not_found" });
  });

  it("R11: a hard budget holds what the variant can cost, and not what the group itself can", async () => {
    const price = (output: number) => ({ price: { input: 0, output } });
    const directory = createDirectory({ users: { ann: { budgetUsd: 0.001 } } });
    const cheap = model("old", price(1));
    const dear = model("new", price(1_000));
    const ask = (share: number, group: { old: typeof cheap; new: typeof dear }) => {
      const router = aRouter(
        { variants: { new: share } },
        { directory, models: { new: [group.new] } },
        { deployments: [group.old] },
      );
      return router.chat.completions.create(
        { model: "chat", messages: HELLO, max_tokens: 100 },
        { principal: { user: "ann" } },
      );
    };
    expect(await rejection(ask(1, { old: cheap, new: dear }))).toMatchObject({ code: "insufficient_quota" });
    await ask(0, { old: cheap, new: dear });
    await ask(1, { old: { ...dear, id: "old" }, new: { ...cheap, id: "new" } });
  });
});

describe("explain of an experiment", () => {
  it("shows who would get what, and draws nothing for those whom chance would assign", async () => {
    const router = aRouter(half);
    for (const user of users) {
      const { experiment, group } = await router.explain({ model: "chat", messages: HELLO }, { principal: { user } });
      expect(group).toBe((await served(router, { principal: { user } })) === "new" ? "new" : "chat");
      expect(experiment).toEqual({ name: "models", variant: group });
    }
    expect(await router.explain({ model: "chat", messages: HELLO })).toMatchObject({
      group: "chat",
      experiment: undefined,
    });
  });
});

describe("the option `experiment`", () => {
  const problem = (experiment: unknown, models: object = {}) => {
    try {
      new Router<string>({
        models: {
          chat: { deployments: [model("old")], experiment: experiment as ExperimentOptions },
          new: [model("new")],
          ...models,
        },
        aliases: { newest: "new" },
      });
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  it.each<[string, unknown, string]>([
    [
      "an unknown group",
      { variants: { newe: 0.1 } },
      'models.chat.experiment.variants.newe: unknown group "newe"; did you mean "new"?',
    ],
    ["the group itself", { variants: { chat: 0.1 } }, "is the group itself"],
    ["a wildcard group", { variants: { "any/*": 0.1 } }, "a wildcard group stands for no single model"],
    ["a group with an experiment", { variants: { second: 0.1 } }, "has an experiment of its own"],
    ["a group twice", { variants: { new: 0.1, newest: 0.1 } }, "is given twice"],
    ["a negative share", { variants: { new: -0.1 } }, "models.chat.experiment.variants.new"],
    ["a share that is no number", { variants: { new: Number.NaN } }, "models.chat.experiment.variants.new"],
    [
      "shares of more than 1",
      { variants: { new: 0.7, third: 0.4 } },
      "shares that make at most 1 together, received 1.1",
    ],
    ["a share that is no share", { variants: { new: 1.5 } }, "variants.new: expected at most 1, received 1.5"],
    ["nobody to compare with", { variants: {} }, "expected 1 to 16 groups with their shares"],
    ["a name with blanks", { name: "a b", variants: { new: 0.1 } }, "models.chat.experiment.name"],
    ["another stickiness", { stickyBy: "ip", variants: { new: 0.1 } }, "models.chat.experiment.stickyBy"],
    ["a misspelt field", { variant: { new: 0.1 } }, 'did you mean "variants"?'],
  ])("refuses %s", (_, experiment, message) => {
    const more = {
      "any/*": [{ ...model("w"), model: "*" }],
      second: { deployments: [model("s")], experiment: { variants: { new: 0.1 } } },
      third: [model("t")],
    };
    expect(problem(experiment, more)).toContain(message);
  });

  it("refuses it on wildcard groups, and among the defaults", () => {
    const wildcard = {
      "any/*": { deployments: [{ ...model("w"), model: "*" }], experiment: { variants: { new: 0.1 } } },
    };
    expect(problem(undefined, wildcard)).toContain("a wildcard group has no experiment");
    expect(() => new Router<string>({ models: { chat: [model("a")] }, defaults: { experiment: {} } as never })).toThrow(
      /defaults.experiment: unknown option/,
    );
  });

  it("takes shares whose sum is 1 but for rounding, and the name is that of the group unless it is given", () => {
    expect(
      problem({ variants: { new: 0.1, third: 0.2, fourth: 0.7 } }, { third: [model("t")], fourth: [model("f")] }),
    ).toBe("");
    const arms = [
      { variant: "chat", share: 0.5 },
      { variant: "new", share: 0.5 },
    ];
    expect(["chat", "new"]).toContain(variantOf({ name: "chat", stickyBy: "user", arms }, "x"));
  });
});
