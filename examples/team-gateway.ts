/**
 * A gateway for a team on Express: virtual keys, limits, budgets, a ledger and management routes, all kept by PGlite in
 * this process (give it a directory, and it lasts). You will see a key being made, answers, a refusal by RPM, a refusal by
 * budget, and what was spent.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import express from "express";
import { createDirectory, Router, rateLimit, routerError } from "llm-switchyard";
import { virtualKeys } from "llm-switchyard/auth";
import { createAdminHandler, createHandler } from "llm-switchyard/http";
import { postgres } from "llm-switchyard/postgres";
import { startFakeUpstream } from "llm-switchyard/testing";
import OpenAI from "openai";

const ADMIN_KEY = "admin-of-this-example-0123456789abcdef";
const upstream = await startFakeUpstream();
const database = new PGlite();
const tables = postgres(database);
await tables.migrate();

const directory = createDirectory({ store: tables.directoryStore, storeTimeoutMs: 1_000 });
const router = new Router({
  models: {
    chat: [
      {
        provider: "openai-compatible",
        baseUrl: upstream.url,
        model: "small",
        price: { input: 100, output: 400 }, // USD per million tokens
        defaults: { max_tokens: 200 },
      },
    ],
  },
  directory,
  store: tables.store,
  ledger: tables.ledger,
  // The whole database is in this process, and shares its time.
  storeTimeoutMs: 1_000,
  plugins: [rateLimit({ by: "key", rpm: 5 })],
});

const app = express();
app.use("/v1", createHandler(router, { authenticate: virtualKeys(directory) }).node);
app.use(
  "/admin",
  createAdminHandler({
    directory,
    router,
    ledger: tables.ledger,
    authorize({ apiKey }) {
      if (apiKey !== ADMIN_KEY) throw routerError("invalid_api_key");
      return { role: "admin", actor: "operator" };
    },
    onAudit: ({ actor, operation, id }) => console.log(`  audit: ${actor} ${operation} ${id}`),
  }).node,
);
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** Calls a management route. */
async function admin<T>(method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(`${origin}/admin${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as T; // as the OpenAPI document says
}

console.log("An organization with a budget, a team, and two keys:");
await admin("POST", "/organizations", { id: "acme", budgetUsd: 10, budgetPeriod: "month" });
await admin("POST", "/teams", { id: "search", organization: "acme", models: ["chat"] });
const busy = await admin<{ secret: string }>("POST", "/keys", { id: "busy", team: "search" });
const poor = await admin<{ secret: string }>("POST", "/keys", { id: "poor", team: "search", budgetUsd: 0.15 });

async function ask(secret: string): Promise<string> {
  const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: secret, maxRetries: 0 });
  try {
    const reply = await client.chat.completions.create({
      model: "chat",
      messages: [{ role: "user", content: "Which team answers fastest?" }],
    });
    return `${reply.usage?.total_tokens} tokens`;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return `${error.status} ${error.code}: ${error.message.replace(/^\d+ /, "")}`;
  }
}

console.log("\nSix requests with the key of a busy job, which may send five per minute:");
for (let count = 0; count < 6; count++) console.log(`  ${await ask(busy.secret)}`);

console.log("\nTwo with a key whose budget holds the most that one request can cost, but not what two can:");
for (let count = 0; count < 2; count++) console.log(`  ${await ask(poor.secret)}`);

/** What is settled and booked after the answers, which do not wait for it. */
const waiting = () => router.status().accounting.unsettled + router.status().accounting.unbooked;
while (waiting() > 0) await setTimeout(10);

interface Report {
  readonly rows: readonly {
    readonly by: { readonly key: string };
    readonly requests: number;
    readonly costUsd: number;
  }[];
}
console.log("\nWhat was spent:");
const { rows } = await admin<Report>("GET", "/spend?by=key");
for (const { by, requests, costUsd } of rows)
  console.log(`  ${by.key}: ${requests} requests, ${costUsd.toFixed(4)} USD`);
const budgets = await admin<{ data: readonly object[] }>("GET", "/organizations/acme/budgets");
console.log("  acme:", budgets.data[0]);

server.close();
server.closeAllConnections();
await router.close();
await tables.close();
await database.close();
await upstream.close();
