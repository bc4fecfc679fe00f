import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { createDirectory } from "../../src/access/create-directory.js";
import type { Directory } from "../../src/access/directory.js";
import { routerError } from "../../src/errors/router-error.js";
import { openApiDocument, replySchemaOf } from "../../src/http/admin/openapi.js";
import { findAdminRoute, OPERATIONS } from "../../src/http/admin/operations.js";
import { errorReplySchema } from "../../src/http/admin/schemas.js";
import {
  type AdminAudit,
  type AdminGrant,
  type AdminHandlerOptions,
  createAdminHandler,
} from "../../src/http/index.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { Router } from "../../src/router/router.js";
import { virtualClock } from "../../src/testing/index.js";
import { type NodeServer, nodeServer } from "../support/node-server.js";
import { HELLO } from "../support/router-fixtures.js";

type Adapter = "web" | "node";
const GRANTS: Readonly<Record<string, AdminGrant>> = {
  root: { role: "admin", actor: "root" },
  acme: { role: "organization-admin", actor: "amy", organization: "acme" },
  search: { role: "team-admin", actor: "tom", team: "search" },
  viewer: { role: "viewer", actor: "vic" },
  "acme-viewer": { role: "viewer", actor: "vera", organization: "acme" },
  "search-viewer": { role: "viewer", actor: "val", team: "search" },
  nowhere: { role: "organization-admin", actor: "ned", organization: "unknown" },
  blocked: { role: "organization-admin", actor: "ben", organization: "shut" },
  nonsense: { role: "owner", actor: "nat" } as never,
};

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function aDirectory(): Promise<Directory> {
  const directory = createDirectory();
  await directory.organizations.create({
    id: "acme",
    models: ["chat", "openai/*", "!openai/o3"],
    rpm: 100,
    budgetUsd: 50,
    budgetPeriod: "month",
  });
  await directory.organizations.create({ id: "globex" });
  await directory.organizations.create({ id: "shut", blocked: true });
  await directory.teams.create({ id: "search", organization: "acme", rpm: 60 });
  await directory.teams.create({ id: "ads", organization: "acme" });
  await directory.teams.create({ id: "lab", organization: "globex" });
  await directory.users.create({ id: "ada", organization: "acme", teams: ["search", "ads"] });
  await directory.users.create({ id: "bob", organization: "globex", teams: ["lab"] });
  await directory.keys.create({ id: "k-search", team: "search" });
  await directory.keys.create({ id: "k-ads", team: "ads" });
  await directory.keys.create({ id: "k-lab", team: "lab" });
  return directory;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect.
  readonly body: any;
}
type Send = (as: string, method: string, path: string, body?: unknown) => Promise<Answer>;

async function setup(adapter: Adapter = "web", options: Partial<AdminHandlerOptions> = {}) {
  const directory = options.directory ?? (await aDirectory());
  const ledger = createMemoryLedger();
  const router = new Router({
    directory,
    ledger,
    models: { chat: [{ provider: "simulated", model: "m", price: { input: 1_000, output: 1_000 } }] },
  });
  opened.push(() => router.close());
  const audits: AdminAudit[] = [];
  const handler = createAdminHandler({
    directory,
    ledger,
    router,
    authorize({ apiKey }) {
      const grant = GRANTS[apiKey ?? ""];
      if (!grant) throw new Error("unknown");
      return grant;
    },
    onAudit: (audit) => audits.push(audit),
    ...options,
  });
  let server: NodeServer | undefined;
  if (adapter === "node") {
    const started = (server = await nodeServer(handler.node));
    opened.push(async () => started[Symbol.asyncDispose]());
  }
  const send: Send = async (as, method, path, body) => {
    const init = {
      method,
      headers: { authorization: `Bearer ${as}`, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    };
    const response = server
      ? await fetch(`${server.origin}${path}`, init)
      : await handler.fetch(new Request(`http://admin${path}`, init));
    const text = await response.text();
    const isJson = response.headers.get("content-type") === "application/json";
    const answer = { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
    expect(response.headers.get("cache-control")).toBe("no-store");
    if (isJson) checkReply(method, path, answer);
    return answer;
  };
  return { directory, router, ledger, handler, send, audits, server };
}

/** Every reply is what the OpenAPI document says, whose schemas these are. */
function checkReply(method: string, path: string, { status, body }: Answer): void {
  if (status >= 400) {
    z.parse(errorReplySchema, body);
    return;
  }
  const [pathname = "", query = ""] = path.slice("/admin".length).split("?");
  const route = findAdminRoute(pathname, query);
  const operation = route.kind === "route" ? route.operations.get(method) : undefined;
  if (!operation) throw new Error(`${method} ${path} is no operation`);
  const schema = replySchemaOf(operation);
  if (schema) z.parse(schema, body);
}

describe.each(["web", "node"] as const)("the management routes over %s", (adapter) => {
  it("create, show, change, list and delete entries, with versions and pages", async () => {
    const { send } = await setup(adapter);
    const created = await send("root", "POST", "/admin/organizations", {
      id: "new",
      rpm: 5,
      metadata: { tier: "gold" },
    });
    expect(created).toMatchObject({ status: 201, body: { id: "new", rpm: 5, version: 1 } });
    expect(await send("root", "POST", "/admin/organizations", { id: "new" })).toMatchObject({
      status: 409,
      body: { error: { code: "conflict" } },
    });
    const changed = await send("root", "PATCH", "/admin/organizations/new", { version: 1, rpm: null, tpm: 9 });
    expect(changed.body).toMatchObject({ id: "new", tpm: 9, version: 2 });
    expect(changed.body).not.toHaveProperty("rpm");
    expect(await send("root", "PATCH", "/admin/organizations/new", { version: 1, tpm: 10 })).toMatchObject({
      status: 409,
      body: { error: { message: "The organization was changed: it has version 2, not 1." } },
    });
    const first = await send("root", "GET", "/admin/organizations?limit=2");
    expect(first.body).toMatchObject({ data: [{ id: "acme" }, { id: "globex" }], next: "globex" });
    const second = await send("root", "GET", "/admin/organizations?limit=2&after=globex");
    expect(second.body).toMatchObject({ data: [{ id: "new" }, { id: "shut" }], next: null });
    expect(await send("root", "POST", "/admin/organizations/new/block")).toMatchObject({ body: { blocked: true } });
    expect((await send("root", "POST", "/admin/organizations/new/unblock", {})).body).not.toHaveProperty("blocked");
    expect(await send("root", "DELETE", "/admin/organizations/acme")).toMatchObject({ status: 409 });
    expect(await send("root", "DELETE", "/admin/organizations/new")).toMatchObject({
      body: { id: "new", deleted: true },
    });
    expect(await send("root", "GET", "/admin/organizations/new")).toMatchObject({ status: 404 });
    expect((await send("root", "GET", "/admin/keys?team=search")).body.data).toMatchObject([{ id: "k-search" }]);
  });

  it("S6: tell a key's secret once, and its digest never", async () => {
    const { send, directory, audits } = await setup(adapter);
    const created = await send("root", "POST", "/admin/keys", { id: "k", user: "ada", team: "ads" });
    expect(created).toMatchObject({
      status: 201,
      body: { secret: expect.stringMatching(/^sk-sy-/), entry: { id: "k" } },
    });
    expect(await directory.authenticateKey(created.body.secret)).toMatchObject({ key: "k", user: "ada" });
    const rotated = await send("root", "POST", "/admin/keys/k/rotate", { overlapMs: 60_000 });
    expect(rotated.body.secret).not.toBe(created.body.secret);
    expect(await directory.authenticateKey(created.body.secret)).toMatchObject({ key: "k" });
    const shown = await send("root", "GET", "/admin/keys/k");
    expect(shown.body).toMatchObject({ previousExpiresAt: expect.any(Number) });
    expect(await send("root", "POST", "/admin/keys/k/revoke")).toMatchObject({
      body: { revokedAt: expect.any(Number) },
    });
    expect(() => directory.authenticateKey(rotated.body.secret)).toThrow();
    const { digest } = (await directory.keys.get("k")) ?? { digest: "" };
    const list = await send("root", "GET", "/admin/keys");
    for (const text of [shown, list, audits, rotated.body.entry].map((each) => JSON.stringify(each))) {
      expect(text).not.toContain(digest);
      expect(text).not.toContain(rotated.body.secret);
      expect(text).not.toMatch(/digest/i);
    }
  });

  it("refuse unknown fields, queries and bodies with what was probably meant", async () => {
    const { send } = await setup(adapter, { maxBodyBytes: 200 });
    const refusal = async (...request: Parameters<Send>) => {
      const { status, body } = await send(...request);
      return [status, body.error.message];
    };
    expect(await refusal("root", "POST", "/admin/teams", { rmp: 5, tpm: 0 })).toEqual([
      400,
      'tpm: expected at least 1, received 0; rmp: unknown option; did you mean "rpm"?',
    ]);
    expect(await refusal("root", "PATCH", "/admin/teams/search", { organisation: "acme" })).toEqual([
      400,
      'organisation: unknown option; did you mean "organization"?',
    ]);
    expect(await refusal("root", "GET", "/admin/teams?limt=3")).toEqual([
      400,
      'limt: unknown option; did you mean "limit"?',
    ]);
    expect(await refusal("root", "GET", "/admin/teams?limit=3&limit=4")).toEqual([400, "limit: is given twice"]);
    expect(await refusal("root", "GET", "/admin/teams?limit=-1")).toEqual([
      400,
      'limit: expected a finite number, received "-1"',
    ]);
    expect((await refusal("root", "GET", "/admin/teams/search?expand=1"))[0]).toBe(400);
    expect((await refusal("root", "POST", "/admin/keys/k-ads/rotate", { overlapMs: -1 }))[0]).toBe(400);
    expect((await refusal("root", "POST", "/admin/teams", "{"))[0]).toBe(400);
    expect((await refusal("root", "POST", "/admin/teams", { name: "x".repeat(300) }))[0]).toBe(413);
    expect((await refusal("root", "PUT", "/admin/teams/search", {}))[0]).toBe(405);
    for (const path of [
      "/admin",
      "/admin/teams/a/b/c",
      "/admin/{id}",
      "/admin/teams/%zz",
      "/admin/constructor",
      "/other",
    ]) {
      expect([path, (await refusal("root", "GET", path))[0]]).toEqual([path, 404]);
    }
    expect((await send("root", "DELETE", "/admin/teams")).headers.get("allow")).toBe("GET, POST");
  });

  it("S15, S9: refuse callers that `authorize` does not know, or that show two credentials", async () => {
    const { send, handler } = await setup(adapter);
    expect(await send("stranger", "GET", "/admin/teams")).toMatchObject({
      status: 401,
      body: { error: { code: "invalid_api_key" } },
    });
    const two = new Request("http://admin/admin/teams", {
      headers: { authorization: "Bearer root", "x-api-key": "acme" },
    });
    expect((await handler.fetch(two)).status).toBe(401);
    expect(await send("nonsense", "GET", "/admin/teams")).toMatchObject({
      status: 500,
      body: { error: { code: "internal_error" } },
    });
    for (const grant of ["nowhere", "blocked"]) {
      expect(await send(grant, "GET", "/admin/teams")).toMatchObject({
        status: 403,
        body: { error: { code: "permission_denied" } },
      });
    }
  });

  it("report and export what was spent, within the scope of the grant", async () => {
    const { send, router, ledger } = await setup(adapter);
    for (const team of ["search", "search", "lab"]) {
      await router.chat.completions.create({ model: "chat", messages: HELLO }, { principal: { team } });
    }
    await expect.poll(() => ledger.view().entries).toBe(3);
    const all = (await send("root", "GET", "/admin/spend?by=organization,model")).body;
    expect(all.rows).toMatchObject([
      { by: { organization: "acme", model: "chat" }, requests: 2 },
      { by: { organization: "globex", model: "chat" }, requests: 1 },
    ]);
    expect(all.totals).toMatchObject({ requests: 3, costUsd: Number(all.totals.costNanoUsd) / 1e9 });
    expect((await send("acme", "GET", "/admin/spend")).body.totals).toMatchObject({ requests: 2 });
    expect((await send("search-viewer", "GET", "/admin/spend?organization=globex")).body.totals).toMatchObject({
      requests: 0,
    });
    for (const other of ["globex", "unknown"]) {
      expect(await send("acme", "GET", `/admin/spend?organization=${other}`)).toMatchObject({ status: 403 });
    }
    const csv = await send("acme", "GET", "/admin/spend/entries?format=csv");
    expect(csv.headers.get("content-type")).toMatch(/^text\/csv/);
    expect(csv.body.split("\r\n")).toHaveLength(4);
    expect(csv.body).not.toContain("globex");
    const lines = (await send("root", "GET", "/admin/spend/entries")).body.trim().split("\n");
    expect(lines.map((line: string) => JSON.parse(line).team).sort()).toEqual(["lab", "search", "search"]);
    const budgets = await send("acme", "GET", "/admin/organizations/acme/budgets");
    expect(budgets.body.data).toMatchObject([
      {
        models: null,
        isHard: true,
        limitUsd: 50,
        spentUsd: (await send("acme", "GET", "/admin/spend")).body.totals.costUsd,
      },
    ]);
    await send("root", "POST", "/admin/organizations/acme/block");
    expect((await send("root", "GET", "/admin/organizations/acme/budgets")).body.data).toHaveLength(1);
  });

  it("serve the OpenAPI document", async () => {
    const { send } = await setup(adapter, { basePath: "/admin" });
    expect((await send("viewer", "GET", "/admin/openapi.json")).body).toEqual(
      JSON.parse(JSON.stringify(openApiDocument("/admin"))),
    );
  });
});

describe("S10, S11: a role", () => {
  const reads = (section: string) => [`${section}.list`, `${section}.get`, `${section}.budgets`];
  const changes = (section: string) =>
    ["create", "update", "delete", "block", "unblock"].map((verb) => `${section}.${verb}`);
  const keyChanges = [...changes("keys"), "keys.rotate", "keys.revoke"];
  const common = [...reads("teams"), ...reads("users"), ...reads("keys"), "spend.report", "spend.entries", "openapi"];
  /** Written out here, apart from the table of the code. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    root: OPERATIONS.map(({ name }) => name),
    acme: [...reads("organizations"), ...common, ...changes("teams"), ...changes("users"), ...keyChanges],
    search: [...common, ...keyChanges],
    viewer: [...reads("organizations"), ...common],
    "acme-viewer": [...reads("organizations"), ...common],
    "search-viewer": [...reads("organizations"), ...common],
  };
  const own: Readonly<Record<string, string>> = {
    organizations: "acme",
    teams: "search",
    users: "ada",
    keys: "k-search",
  };
  const foreign: Readonly<Record<string, string>> = {
    organizations: "globex",
    teams: "lab",
    users: "bob",
    keys: "k-lab",
  };
  const pathOf = (path: string, ids: Readonly<Record<string, string>>) =>
    `/admin${path.replace("{id}", ids[path.split("/")[1] ?? ""] ?? "")}`;
  const bodyOf = (method: string) => (method === "POST" || method === "PATCH" ? {} : undefined);

  it.each(Object.keys(allowed))("%s may do what is declared for it, and is refused everything else", async (role) => {
    for (const { name, method, path } of OPERATIONS) {
      const { send } = await setup();
      // A viewer of a team sees no organization: there it is as if there were none.
      const isUnseen = role === "search-viewer" && name.startsWith("organizations.") && path.includes("{id}");
      const { status, body } = await send(role, method, pathOf(path, own), bodyOf(method));
      if (!allowed[role]?.includes(name))
        expect([name, status, body.error?.code]).toEqual([name, 403, "permission_denied"]);
      else if (isUnseen) expect([name, status]).toEqual([name, 404]);
      // Whoever has others is not deleted: it was not the role that refused.
      else expect([name, [200, 201, 409].includes(status)]).toEqual([name, true]);
    }
  });

  it.each(["acme", "search", "acme-viewer", "search-viewer"])(
    "S40: to %s a foreign id is an unknown one",
    async (role) => {
      const { send, directory } = await setup();
      const before = JSON.stringify(
        await Promise.all([directory.teams.list(), directory.users.list(), directory.keys.list()]),
      );
      const unknown = { organizations: "none", teams: "none", users: "none", keys: "none" };
      for (const { method, path } of OPERATIONS.filter((each) => each.path.includes("{id}"))) {
        const refused = await send(role, method, pathOf(path, foreign), bodyOf(method));
        expect([path, refused.status]).toEqual([path, refused.body.error.code === "permission_denied" ? 403 : 404]);
        expect(refused.body).toEqual((await send(role, method, pathOf(path, unknown), bodyOf(method))).body);
      }
      for (const section of ["teams", "users", "keys"]) {
        const { data } = (await send(role, "GET", `/admin/${section}`)).body;
        expect(data.length).toBeGreaterThan(0);
        expect(JSON.stringify(data)).not.toMatch(/globex|lab|bob/);
      }
      expect(
        JSON.stringify(await Promise.all([directory.teams.list(), directory.users.list(), directory.keys.list()])),
      ).toBe(before);
    },
  );

  it("cannot give more than its organization or team has", async () => {
    const { send } = await setup();
    const refusal = async (...request: Parameters<Send>) => {
      const { status, body } = await send(...request);
      return status === 403 ? body.error.param : status;
    };
    expect(await refusal("acme", "POST", "/admin/teams", { rpm: 101 })).toBe("rpm");
    expect(await refusal("acme", "POST", "/admin/teams", { rpm: 100, tpm: 1_000_000 })).toBe(201);
    expect(await refusal("acme", "PATCH", "/admin/teams/search", { budgetUsd: 51 })).toBe("budgetUsd");
    expect(await refusal("acme", "PATCH", "/admin/users/ada", { modelLimits: { chat: { rpm: 101 } } })).toBe(
      'modelLimits["chat"].rpm',
    );
    expect(await refusal("acme", "POST", "/admin/keys", { models: ["*"] })).toBe("models");
    expect(await refusal("acme", "POST", "/admin/keys", { models: ["openai/*"] })).toBe("models");
    expect(await refusal("acme", "POST", "/admin/keys", { models: ["openai/o3"] })).toBe("models");
    expect(await refusal("acme", "POST", "/admin/keys", { models: ["openai/*", "!openai/o*"] })).toBe(201);
    expect(await refusal("acme", "POST", "/admin/keys", { models: ["openai/gpt-*", "chat"] })).toBe(201);
    expect(await refusal("search", "POST", "/admin/keys", { rpm: 61 })).toBe("rpm");
    expect(await refusal("search", "POST", "/admin/keys", { budgetUsd: 51 })).toBe("budgetUsd");
    expect(await refusal("root", "POST", "/admin/keys", { team: "search", rpm: 1_000 })).toBe(201);
  });

  it("writes only the fields that are its own to write", async () => {
    const { send } = await setup();
    for (const field of ["id", "metadata", "tags", "organization"]) {
      const values: Record<string, unknown> = {
        id: "x",
        metadata: { role: "admin" },
        tags: ["vip"],
        organization: "globex",
      };
      const { status, body } = await send("acme", "POST", "/admin/users", { [field]: values[field] });
      expect([status, body.error.param]).toEqual([403, field]);
    }
    expect((await send("search", "PATCH", "/admin/keys/k-search", { team: "ads" })).status).toBe(403);
  });

  it("S40: cannot tell a foreign user or team from one that does not exist, nor name it", async () => {
    const { send } = await setup();
    const messageOf = async (body: object) => (await send("acme", "POST", "/admin/keys", body)).body.error.message;
    expect(await messageOf({ user: "bob" })).toBe((await messageOf({ user: "nobody" })).replace("nobody", "bob"));
    expect(await messageOf({ team: "lab" })).toBe("team: there is no team of this id");
    expect((await send("acme", "PATCH", "/admin/users/ada", { teams: ["lab"] })).body.error.message).toBe(
      "teams[0]: there is no team of this id",
    );
    expect((await send("search", "POST", "/admin/keys", { user: "bob" })).status).toBe(400);
  });

  it("cannot take what it manages out of its organization or team", async () => {
    const { send, directory } = await setup();
    const made = (await send("acme", "POST", "/admin/keys", { team: "search", user: "ada" })).body.entry;
    expect(made.organization).toBe("acme");
    await send("acme", "PATCH", `/admin/keys/${made.id}`, { team: null, user: null });
    expect(await directory.keys.get(made.id)).toMatchObject({ organization: "acme" });
    const own = (await send("search", "POST", "/admin/keys", { user: "ada" })).body.entry;
    await send("search", "PATCH", `/admin/keys/${own.id}`, { user: null });
    expect(await directory.keys.get(own.id)).toMatchObject({ organization: "acme", team: "search" });
    expect((await send("acme", "POST", "/admin/teams", {})).body.organization).toBe("acme");
  });
});

describe("the audit of the management routes", () => {
  it("gets every change, made or refused, with who and what, and no reading", async () => {
    const { send, audits } = await setup("web", { clock: virtualClock({ wallStartMs: 1_800_000_000_000 }) });
    await send("acme", "GET", "/admin/teams");
    const { body } = await send("acme", "POST", "/admin/teams", { name: "new" });
    await send("acme", "PATCH", "/admin/teams/search", { rpm: 1_000 });
    await send("viewer", "DELETE", "/admin/teams/search");
    await send("stranger", "DELETE", "/admin/teams/search");
    expect(audits).toEqual([
      {
        at: 1_800_000_000_000,
        actor: "amy",
        role: "organization-admin",
        operation: "teams.create",
        id: body.id,
        fields: { name: "new" },
        outcome: "done",
        code: undefined,
      },
      expect.objectContaining({ id: "search", fields: { rpm: 1_000 }, outcome: "refused", code: "permission_denied" }),
      expect.objectContaining({ actor: "vic", operation: "teams.delete", outcome: "refused", fields: {} }),
    ]);
  });

  it("does not undo or fail a change when it breaks", async () => {
    for (const onAudit of [
      () => {
        throw new Error("disk full");
      },
      () => Promise.reject(new Error("disk full")),
    ]) {
      const { send } = await setup("web", { onAudit });
      expect(await send("root", "POST", "/admin/teams/search/block")).toMatchObject({ status: 200 });
    }
  });
});

describe("an export whose ledger fails", () => {
  const failing = (after: number): AdminHandlerOptions["ledger"] => ({
    ...createMemoryLedger(),
    report: () => Promise.reject(new Error("down")),
    async *entries() {
      // More than one piece.
      for (let count = 0; count < after; count++) yield { requestId: "r".repeat(70_000), tags: [], flags: [] } as never;
      throw routerError("accounting_unavailable");
    },
  });

  it("is an error reply before the first piece, and a cut connection after it", async () => {
    for (const adapter of ["web", "node"] as const) {
      const { send } = await setup(adapter, { ledger: failing(0) });
      expect(await send("root", "GET", "/admin/spend/entries")).toMatchObject({ status: 503 });
      const { send: late } = await setup(adapter, { ledger: failing(3) });
      await expect(late("root", "GET", "/admin/spend/entries")).rejects.toThrow();
    }
  });
});

describe("an export whose client leaves", () => {
  it("stops reading the ledger", async () => {
    let isReading = true;
    const ledger: AdminHandlerOptions["ledger"] = {
      ...createMemoryLedger(),
      report: () => Promise.reject(new Error("is not asked")),
      async *entries() {
        try {
          for (;;) yield { requestId: "r".repeat(70_000), tags: [], flags: [] } as never; // what an export reads of it
        } finally {
          isReading = false;
        }
      },
    };
    for (const adapter of ["web", "node"] as const) {
      isReading = true;
      const { handler, server } = await setup(adapter, { ledger });
      const init = { headers: { authorization: "Bearer root" }, signal: AbortSignal.timeout(10_000) };
      const response = server
        ? await fetch(`${server.origin}/admin/spend/entries`, init)
        : await handler.fetch(new Request("http://admin/admin/spend/entries", init));
      const reader = response.body?.getReader();
      expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
      await reader?.cancel();
      await expect.poll(() => isReading).toBe(false);
    }
  });
});

describe("createAdminHandler", () => {
  it("names every problem of its options", () => {
    const make = () => createAdminHandler({ directory: {}, authorise: () => {}, basePath: "admin" } as never);
    expect(make).toThrow(/directory: expected a directory/);
    expect(make).toThrow(/authorize: expected a function/);
    expect(make).toThrow(/authorise: unknown option; did you mean "authorize"\?/);
    expect(make).toThrow(/basePath/);
  });

  it("has no routes for what the host has not given", async () => {
    const { send } = await setup("web", { ledger: undefined, router: undefined });
    expect((await send("root", "GET", "/admin/spend")).status).toBe(404);
    expect((await send("root", "GET", "/admin/teams/search/budgets")).status).toBe(404);
  });
});

describe("docs/admin-openapi.json", () => {
  const path = resolve(import.meta.dirname, "../../docs/admin-openapi.json");
  const current = JSON.parse(JSON.stringify(openApiDocument("/admin")));

  it("is current; SWITCHYARD_WRITE_DOCS=1 writes it anew", () => {
    if (process.env.SWITCHYARD_WRITE_DOCS) writeFileSync(path, `${JSON.stringify(current, null, 2)}\n`);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(current);
  });

  it("names each operation once, and only schemas that it has", () => {
    const text = JSON.stringify(current);
    const names = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name ?? "");
    expect(names.filter((name) => !Object.hasOwn(current.components.schemas, name))).toEqual([]);
    const operations = Object.values(current.paths as Record<string, Record<string, { operationId: string }>>);
    const ids = operations.flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
    expect(new Set(ids)).toEqual(new Set(OPERATIONS.map(({ name }) => name)));
    expect(ids).toHaveLength(OPERATIONS.length);
  });
});
