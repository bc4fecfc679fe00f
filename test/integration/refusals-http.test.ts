import { afterEach, describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { type Allowance, LEVELS, type Level, type Permissions } from "../../src/access/entries.js";
import type { DirectoryOptions } from "../../src/access/options.js";
import { OPERATIONS } from "../../src/http/admin/operations.js";
import { createAdminHandler, createHandler, type HandlerOptions, virtualKeys } from "../../src/http/index.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { budget } from "../../src/plugins/limits/budget.js";
import { rateLimit } from "../../src/plugins/limits/rate-limit.js";
import { REQUEST_SCOPES } from "../../src/plugins/limits/scope.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import { reply, stream } from "../../src/testing/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO } from "../support/router-fixtures.js";

const open = openedForEachTest();
const SECRET = `sk-${"abcdefghij".repeat(4)}`;
/** The caller's cap; an answer costs a millionth of a USD per token, and the prompt nothing. */
const CAP = 10;
const usage = { prompt_tokens: 43, completion_tokens: 7, total_tokens: 50 };
const PRICE = { input: 0, output: 1 };
/** One request fits: 7 are spent then, and 10 more would be held. */
const ONE_REQUEST_USD = 15e-6;
/** One request fits: 50 are used then. */
const ONE_REQUEST_TPM = 60;

/** Something that has to keep a request out. */
interface Control {
  readonly fields?: Partial<Permissions>;
  readonly plugins?: readonly Plugin[];
  readonly deployment?: object;
  /** What is sent before, and served; or begun, and not ended. @default "nothing" */
  readonly before?: "nothing" | "a request" | "a stream";
  readonly status: number;
  readonly code: string;
}

const limited = (code: string) => ({ status: 429, code });
const unknownKey = { status: 401, code: "invalid_api_key" };
const unknownModel = { status: 404, code: "model_not_found" };
const once = { before: "a request", ...limited("rate_limit_exceeded") } as const;

const ALLOWANCES: Readonly<Record<Exclude<keyof Allowance, "softBudgetUsd" | "budgetPeriod">, Control>> = {
  rpm: { fields: { rpm: 1 }, ...once },
  tpm: { fields: { tpm: ONE_REQUEST_TPM }, ...once },
  maxParallel: { fields: { maxParallel: 1 }, ...once, before: "a stream" },
  budgetUsd: { fields: { budgetUsd: ONE_REQUEST_USD }, ...once, code: "insufficient_quota" },
};

/** Every field of an entry that can keep a request out, at whatever level. Whoever adds one, adds how it refuses. */
const PERMISSIONS: Readonly<
  Record<Exclude<keyof Permissions, "softBudgetUsd" | "budgetPeriod" | "metadata" | "tags">, readonly Control[]>
> = {
  ...{ rpm: [ALLOWANCES.rpm], tpm: [ALLOWANCES.tpm], maxParallel: [ALLOWANCES.maxParallel] },
  budgetUsd: [
    ALLOWANCES.budgetUsd,
    ...(["day", "month", "24h"] as const).map((budgetPeriod) => ({
      ...ALLOWANCES.budgetUsd,
      fields: { budgetUsd: ONE_REQUEST_USD, budgetPeriod },
    })),
  ],
  modelLimits: Object.values(ALLOWANCES).map((control) => ({
    ...control,
    fields: { modelLimits: { "c*": control.fields as Allowance } },
  })),
  models: [
    { fields: { models: ["other"] }, ...unknownModel },
    { fields: { models: [] }, ...unknownModel },
    { fields: { models: ["*", "!chat"] }, ...unknownModel },
  ],
  blocked: [{ fields: { blocked: true }, ...unknownKey }],
  expiresAt: [{ fields: { expiresAt: 1_000_000_000_000 }, ...unknownKey }],
};

const RATES = { rpm: { rpm: 1 }, tpm: { tpm: ONE_REQUEST_TPM }, parallel: { parallel: 1 } } as const;

/** Every plugin that limits, by every scope that it has. */
const PLUGINS: Readonly<Record<string, Control>> = {
  ...Object.fromEntries(
    REQUEST_SCOPES.flatMap((by) => [
      ...Object.entries(RATES).map(([kind, limit]) => [
        `rateLimit by ${by}: ${kind}`,
        { ...once, plugins: [rateLimit({ by, ...limit })], ...(kind === "parallel" && { before: "a stream" }) },
      ]),
      [`rateLimit by ${by}: strict`, { ...once, plugins: [rateLimit({ by, rpm: 1, strict: true })] }],
      [
        `budget by ${by}`,
        { ...once, code: "insufficient_quota", plugins: [budget({ by, limitUsd: ONE_REQUEST_USD })] },
      ],
    ]),
  ),
  "rateLimit by deployment: rpm": { ...once, plugins: [rateLimit({ by: "deployment", rpm: 1 })] },
  "rateLimit by deployment: tpm": { ...once, plugins: [rateLimit({ by: "deployment", tpm: ONE_REQUEST_TPM })] },
  "budget by deployment": {
    ...once,
    code: "insufficient_quota",
    plugins: [budget({ by: "deployment", limitUsd: ONE_REQUEST_USD })],
  },
  "budget by user, expected": {
    ...once,
    code: "insufficient_quota",
    plugins: [budget({ by: "user", limitUsd: ONE_REQUEST_USD, reserve: "expected" })],
  },
  "a deployment's rpm": { ...once, deployment: { rpm: 1 } },
  "a deployment's tpm": { ...once, deployment: { tpm: ONE_REQUEST_TPM } },
  "a deployment's maxParallel": {
    before: "a stream",
    deployment: { maxParallel: 1 },
    status: 503,
    code: "overloaded",
  },
};

const CHAIN: Required<Pick<DirectoryOptions, "organizations" | "teams" | "users" | "keys">> = {
  organizations: { acme: {} },
  teams: { red: { organization: "acme" } },
  users: { ann: { organization: "acme", teams: ["red"] } },
  keys: { laptop: { secret: SECRET, user: "ann", team: "red", tags: ["trial"] } },
};
const PLACES = { organization: "organizations", team: "teams", user: "users", key: "keys" } as const;

/** The directory with fields of one entry set. */
function chainWith(level: Level, fields: Partial<Permissions>): DirectoryOptions {
  const place = PLACES[level];
  const entries = Object.entries<object>({ ...CHAIN[place] }).map(([id, entry]) => [id, { ...entry, ...fields }]);
  return { ...CHAIN, [place]: Object.fromEntries(entries) };
}

let server: NodeServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

/** A gateway on a socket, and what its client reads. */
async function gateway(
  { plugins = [], deployment }: Control,
  directoryOptions: DirectoryOptions,
  more: HandlerOptions = {},
) {
  const upstream = await open.upstream();
  upstream.when(({ body }) =>
    body.stream === true
      ? stream({ chunks: ["Hel", "lo"], stallAfterEvents: 2, stallMs: 60_000 })
      : reply({ text: "Hello", usage }),
  );
  const directory = createDirectory(directoryOptions);
  const models = {
    chat: { deployments: [deploymentOf(upstream, "d", { price: PRICE, ...deployment })], retries: 0 },
    other: [deploymentOf(upstream, "o", { price: PRICE })],
  };
  const router = open.router({ models, directory, plugins: [...plugins] });
  server = await nodeServer(createHandler(router, { authenticate: virtualKeys(directory), ...more }).node);
  const { origin } = server;
  const leaving = new AbortController();
  const send = async (fields: object = {}, secret = SECRET) => {
    const response = await fetch(`${origin}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "chat", messages: HELLO, max_tokens: CAP, ...fields }),
      signal: leaving.signal,
    });
    return response;
  };
  return { send, upstream, origin, leave: () => leaving.abort(), router };
}

async function expectRefusal(control: Control, directoryOptions: DirectoryOptions): Promise<void> {
  const { send, upstream, leave } = await gateway(control, directoryOptions);
  if (control.before === "a request") expect((await send()).status).toBe(200);
  if (control.before === "a stream") expect((await send({ stream: true })).status).toBe(200);
  const served = upstream.requestCount;
  const refused = await send();
  const body = (await refused.json()) as { error?: { code?: string; message?: string } };
  leave();
  expect([refused.status, body.error?.code]).toEqual([control.status, control.code]);
  expect(upstream.requestCount).toBe(served);
  // 429 and 503 that may be retried say when; the others that they must not be.
  const isRetried = control.code === "rate_limit_exceeded" || control.code === "overloaded";
  expect(refused.headers.get("x-should-retry")).toBe(String(isRetried));
  expect(refused.headers.has("retry-after")).toBe(isRetried);
}

describe.each(LEVELS)("S11: each control of the directory, at the level of the %s", (level) => {
  const cases = Object.entries(PERMISSIONS).flatMap(([field, controls]) =>
    controls.map((control) => [`${field}: ${JSON.stringify(control.fields)}`, control] as const),
  );
  it.each(cases)("refuses over HTTP, by %s", async (_, control) => {
    await expectRefusal(control, chainWith(level, control.fields ?? {}));
  });
});

describe("S11: each control of plugins and deployments", () => {
  it.each(Object.entries(PLUGINS))("refuses over HTTP, by %s", async (_, control) => {
    await expectRefusal(control, CHAIN);
  });
});

describe("S11: each credential that is none", () => {
  it.each([
    ["unknown", `sk-${"zyxwvutsrq".repeat(4)}`],
    ["short", "sk-short"],
    ["blank", " "],
    ["the digest of the right one", "a".repeat(64)],
  ])("refuses over HTTP: %s", async (_, secret) => {
    const { send, upstream } = await gateway({ status: 401, code: "invalid_api_key" }, CHAIN);
    const refused = await send({}, secret);
    expect([refused.status, ((await refused.json()) as { error: { code: string } }).error.code]).toEqual([
      401,
      "invalid_api_key",
    ]);
    expect(upstream.requestCount).toBe(0);
  });

  it("refuses over HTTP: a right one beside another", async () => {
    const { origin } = await gateway({ status: 401, code: "invalid_api_key" }, CHAIN);
    const response = await fetch(`${origin}/v1/models`, {
      headers: { authorization: `Bearer ${SECRET}`, "x-api-key": `sk-${"zyxwvutsrq".repeat(4)}` },
    });
    expect(response.status).toBe(401);
  });

  it("refuses over HTTP: a right one where the metrics are asked for", async () => {
    const { origin } = await gateway({ status: 403, code: "permission_denied" }, CHAIN);
    const response = await fetch(`${origin}/v1/metrics`, { headers: { authorization: `Bearer ${SECRET}` } });
    expect(response.status).toBe(403);
  });
});

describe("S11: each management operation", () => {
  const grants = {
    "organization-admin": { role: "organization-admin", actor: "a", organization: "acme" },
    "team-admin": { role: "team-admin", actor: "t", team: "red" },
    viewer: { role: "viewer", actor: "v" },
  } as const;
  const refusals = OPERATIONS.flatMap((operation) =>
    Object.values(grants)
      .filter(({ role }) => !operation.roles.includes(role))
      .map((grant) => [grant.role, operation.name, operation, grant] as const),
  );

  it.each(refusals)("refuses a %s over HTTP: %s", async (_role, _name, { method, path }, grant) => {
    const directory = createDirectory(CHAIN);
    const ledger = createMemoryLedger();
    const router = open.router({ models: { chat: [{ provider: "simulated", model: "m" }] }, directory });
    server = await nodeServer(createAdminHandler({ directory, ledger, router, authorize: () => grant }).node);
    const response = await fetch(`${server.origin}/admin${path.replace("{id}", "acme")}`, {
      method,
      headers: { authorization: "Bearer x", ...(method !== "GET" && { "content-type": "application/json" }) },
      ...(method !== "GET" && method !== "DELETE" && { body: "{}" }),
    });
    const body = (await response.json()) as { error?: { code?: string } };
    expect([response.status, body.error?.code]).toEqual([403, "permission_denied"]);
  });

  it("there are some", () => {
    expect(refusals.length).toBeGreaterThan(20);
  });
});
