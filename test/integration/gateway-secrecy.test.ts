import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { OPERATIONS } from "../../src/http/admin/operations.js";
import {
  type AdminAudit,
  type AdminGrant,
  createAdminHandler,
  createHandler,
  virtualKeys,
} from "../../src/http/index.js";
import { ledgerToCsv, ledgerToJsonLines } from "../../src/ledger/export.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { budget } from "../../src/plugins/limits/budget.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import type { RouterEvent } from "../../src/plugins/plugin.js";
import { error, type ReceivedRequest, reply, stream } from "../../src/testing/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** What no sink at all may show. */
const SECRETS = {
  providerKey: "sk-provider-canary-0123456789abcdef0123456789",
  providerHeader: "header-canary-abcdef",
  keyOfA: `sk-virtual-canary-a-${"0123456789".repeat(3)}`,
  keyOfB: `sk-virtual-canary-b-${"9876543210".repeat(3)}`,
  wrongKey: `sk-wrong-canary-${"abcdefghij".repeat(3)}`,
  promptOfA: "prompt-canary-of-a",
  promptOfB: "prompt-canary-of-b",
  upstreamWords: "upstream-words-canary",
};
/** What only the other tenant and the operator may see. */
const TENANT_B = ["globex-canary", "team-of-b-canary", "bob-canary", "laptop-of-b-canary", "tag-of-b-canary"];
const [ORGANIZATION_B, TEAM_B, USER_B, KEY_B, TAG_B] = TENANT_B as [string, string, string, string, string];

let server: NodeServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

/** Every spelling in which a text may turn up. */
const spellings = (secret: string) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString("base64").replace(/=+$/, ""),
  Buffer.from(secret).toString("hex"),
];
const sightings = (text: string, canaries: readonly string[]) =>
  canaries.filter((canary) => spellings(canary).some((spelled) => text.includes(spelled)));

/** Two tenants, every kind of ending, and everything that leaves the gateway meanwhile. */
async function traffic() {
  const upstream = await open.upstream();
  const answerOf = (request: ReceivedRequest) => {
    const text = JSON.stringify(request.body);
    if (text.includes("fail-401"))
      return error(401, { message: `bad key ${SECRETS.providerKey} ${SECRETS.upstreamWords}` });
    if (text.includes("fail-500")) return error(500, { message: SECRETS.upstreamWords });
    return request.body.stream === true ? stream({ chunks: ["a", "b"] }) : reply({ text: "fine" });
  };
  upstream.when((request) => answerOf(request));
  const limits = { budgetUsd: 0.001, rpm: 100 };
  const directory = createDirectory({
    organizations: { acme: limits, [ORGANIZATION_B]: limits },
    teams: { red: { organization: "acme" }, [TEAM_B]: { organization: ORGANIZATION_B } },
    users: {
      ann: { organization: "acme", teams: ["red"] },
      [USER_B]: { organization: ORGANIZATION_B, teams: [TEAM_B] },
    },
    keys: {
      laptop: { secret: SECRETS.keyOfA, user: "ann", team: "red" },
      [KEY_B]: { secret: SECRETS.keyOfB, user: USER_B, team: TEAM_B, tags: [TAG_B] },
    },
  });
  const ledger = createMemoryLedger();
  const events: RouterEvent[] = [];
  const see = (event: RouterEvent) => void events.push(event);
  const router = open.router({
    models: {
      chat: {
        deployments: [
          deploymentOf(upstream, "d", {
            price: { input: 1, output: 1 },
            apiKey: SECRETS.providerKey,
            headers: { "x-extra": SECRETS.providerHeader },
          }),
        ],
        retries: 0,
        cooldown: false,
      },
    },
    directory,
    ledger,
    plugins: [
      rateLimit({ by: "tag", rpm: 100 }),
      budget({ by: "user", limitUsd: 0.0001, soft: true }),
      { name: "watcher", onRequest: see, onAttempt: see, onReply: see, onFailure: see, onSettled: see, onWarning: see },
    ],
  });
  const audits: AdminAudit[] = [];
  const grants: Record<string, AdminGrant> = {
    root: { role: "admin", actor: "root" },
    a: { role: "organization-admin", actor: "amy", organization: "acme" },
    "team-a": { role: "team-admin", actor: "tim", team: "red" },
    "viewer-a": { role: "viewer", actor: "vic", organization: "acme" },
  };
  const handler = createHandler(router, { authenticate: virtualKeys(directory) });
  const admin = createAdminHandler({
    ...{ directory, ledger, router },
    authorize: ({ apiKey }) => grants[apiKey ?? ""] ?? Promise.reject(new Error("unknown")),
    onAudit: (audit) => audits.push(audit),
  });
  server = await nodeServer((request, response) =>
    request.url?.startsWith("/admin") ? admin.node(request, response) : handler.node(request, response),
  );
  const { origin } = server;
  const call = async (path: string, key: string, init: RequestInit = {}) => {
    const headers = {
      authorization: `Bearer ${key}`,
      ...(init.body != null && { "content-type": "application/json" }),
    };
    const response = await fetch(origin + path, { ...init, headers });
    return `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`;
  };
  const chat = (key: string, content: string, more: object = {}) => {
    const body = JSON.stringify({ model: "chat", messages: [{ role: "user", content }], max_tokens: 20, ...more });
    return call("/v1/chat/completions", key, { method: "POST", body });
  };
  const replies: string[] = [];
  for (const [key, prompt] of [
    [SECRETS.keyOfA, SECRETS.promptOfA],
    [SECRETS.keyOfB, SECRETS.promptOfB],
  ] as const) {
    replies.push(await chat(key, prompt), await chat(key, prompt, { stream: true }));
    replies.push(await chat(key, `${prompt} fail-401`), await chat(key, `${prompt} fail-500`));
    replies.push(await chat(key, prompt, { max_tokens: 100_000 }), await chat(key, prompt, { model: "nothing" }));
    replies.push(await chat(key, prompt, { temperature: "hot" }), await call("/v1/models", key));
    replies.push(await call("/v1/metrics", key), await call("/v1/nowhere", key));
  }
  replies.push(await chat(SECRETS.wrongKey, SECRETS.promptOfA));
  return { router, ledger, directory, events, audits, call, replies };
}

/** What each management operation that reads says to somebody, for every entry that there is. */
async function readEverything(call: (path: string, key: string) => Promise<string>, as: string): Promise<string> {
  const ids = ["acme", "red", "ann", "laptop", ...TENANT_B];
  const paths = OPERATIONS.filter(({ method }) => method === "GET").flatMap(({ path }) =>
    path.includes("{id}") ? ids.map((id) => path.replace("{id}", id)) : [path],
  );
  const queries = [
    "/spend?by=organization,team",
    "/spend?by=user,key",
    "/spend?by=tag,day",
    "/spend/entries?format=csv",
  ];
  const answers = [];
  for (const path of [...paths, ...queries]) answers.push(await call(`/admin${path}`, as));
  return answers.join("\n");
}

describe("secrets and tenants in what leaves a gateway", () => {
  it("S6, S18, F16: no secret is in a reply, an error, the ledger, the management routes, the status or an event", async () => {
    const { router, ledger, directory, events, audits, call, replies } = await traffic();
    const texts = async (pieces: AsyncIterable<string>) => {
      let text = "";
      for await (const piece of pieces) text += piece;
      return text;
    };
    const sinks: Record<string, string> = {
      replies: replies.join("\n"),
      admin: await readEverything(call, "root"),
      csv: await texts(ledgerToCsv(ledger)),
      jsonLines: await texts(ledgerToJsonLines(ledger)),
      report: inspect(await ledger.report({ by: ["key", "user", "tag"] }), { depth: 10 }),
      status: JSON.stringify(router.status()) + inspect(router.status(), { depth: 20 }),
      router: inspect(router, { depth: 20, showHidden: true }),
      directory: inspect(directory, { depth: 20, showHidden: true }),
      events: inspect(events, { depth: 20 }) + JSON.stringify(events),
      stacks: events.map((event) => ("error" in event ? event.error.stack : "")).join("\n"),
      audits: JSON.stringify(audits),
      models: JSON.stringify(await router.models.list()),
      budgets: JSON.stringify(await router.budgets({ user: "ann", team: "red" })),
    };
    // There is something to look through.
    expect(sinks.csv).toContain(KEY_B);
    expect(sinks.admin).toContain(ORGANIZATION_B);
    expect(replies.filter((text) => text.startsWith("200")).length).toBeGreaterThan(5);
    expect(replies.filter((text) => /^(?:401|403|404|429|400|502|500)/.test(text)).length).toBeGreaterThan(10);
    for (const [sink, text] of Object.entries(sinks)) {
      // What a 500 says is for its own caller: reduced, and shown to nobody else (S21).
      const { upstreamWords, ...others } = SECRETS;
      expect([sink, sightings(text, Object.values(others))]).toEqual([sink, []]);
      if (sink !== "replies" && sink !== "events" && sink !== "stacks") {
        expect([sink, sightings(text, [upstreamWords])]).toEqual([sink, []]);
      }
    }
    // S21: of a refused credential not even the upstream's words are told.
    for (const text of replies.filter((each) => each.includes("upstream_auth_error"))) {
      expect(sightings(text, [SECRETS.upstreamWords])).toEqual([]);
    }
    expect(replies.some((text) => text.includes("upstream_auth_error"))).toBe(true);
  });

  it("S40, F16: nothing of another tenant is in a reply, an error or what its administrators read", async () => {
    const { call, replies } = await traffic();
    // The first half are A's.
    const ofA = replies.slice(0, (replies.length - 1) / 2).join("\n");
    expect(sightings(ofA, TENANT_B)).toEqual([]);
    for (const as of ["a", "team-a", "viewer-a"]) {
      const seen = await readEverything(call, as);
      expect(seen).toContain("ann");
      // Paths and queries of ours are not repeated; nothing else could bring a name of B's in.
      expect([as, sightings(seen, TENANT_B)]).toEqual([as, []]);
    }
    for (const as of ["a", "team-a", "viewer-a"]) {
      const asked = `/admin/spend?organization=${ORGANIZATION_B}`;
      const { rows, totals } = JSON.parse(/\{.*$/s.exec(await call(asked, as))?.[0] ?? "{}") as {
        rows?: unknown[];
        totals?: { attempts: number };
      };
      expect([as, rows?.length ?? 0, totals?.attempts ?? 0]).toEqual([as, 0, 0]);
    }
  });
});
