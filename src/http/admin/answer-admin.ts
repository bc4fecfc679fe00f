import type { z } from "zod";
import type { ListFilter } from "../../access/directory-store.js";
import { RouterError, routerError } from "../../errors/router-error.js";
import { processWarnings } from "../../internal/process-warnings.js";
import { authenticateRequest, type BrokenReport } from "../authenticate.js";
import type { HttpRequest } from "../http-request.js";
import { commonHeaders, errorReply, type HttpReply } from "../reply.js";
import { EntryOperations } from "./entry-operations.js";
import { type AdminGrant, type AdminScope, checkGrant, scopeOf } from "./grant.js";
import { parseInput, parseQuery, readBodyOf } from "./input.js";
import { openApiDocument } from "./openapi.js";
import type { AdminOperation, AdminRoute } from "./operations.js";
import type { AdminSettings } from "./options.js";
import {
  createBodies,
  emptyBody,
  entriesQuery,
  listQueries,
  noQuery,
  reportQuery,
  rotateBody,
  updateBodies,
  versionBody,
} from "./schemas.js";
import { spendExport, spendReport, withinScope } from "./spend.js";

type EntryOperation = Extract<AdminOperation, { kind: "entry" }>;
type Fields = Readonly<Record<string, unknown>>;

/** The management routes have no router to warn through. */
const BROKEN_AUTHORIZE: BrokenReport = { name: "authorize", tell: (message) => processWarnings.tell(message) };

/** One call that was let in. */
interface AdminCall {
  readonly settings: AdminSettings;
  readonly operation: AdminOperation;
  readonly id: string;
  readonly query: URLSearchParams;
  readonly request: HttpRequest;
  readonly grant: AdminGrant;
}

/** One request of the management routes, from its route to its reply. Whatever fails becomes an error reply. */
export async function answerAdmin(
  settings: AdminSettings,
  route: AdminRoute,
  request: HttpRequest,
): Promise<HttpReply | undefined> {
  try {
    if (route.kind !== "route") throw noRoute();
    const { operations, id, query } = route;
    const offered = [...operations.values()].filter((operation) => isOffered(settings, operation));
    if (offered.length === 0) throw noRoute();
    const operation = offered.find(({ method }) => method === request.method);
    if (!operation) {
      return errorReply(routerError("method_not_allowed"), offered.map(({ method }) => method).join(", "));
    }
    const { authorize, authorizeTimeoutMs, clock } = settings;
    const granted = authenticateRequest(
      authorize,
      request,
      operation.name,
      clock,
      authorizeTimeoutMs,
      BROKEN_AUTHORIZE,
    );
    const grant = checkGrant(await granted);
    const call: AdminCall = { settings, operation, id, query, request, grant };
    return operation.method === "GET" ? await perform(call, {}) : await change(call);
  } catch (error) {
    return request.isGone ? undefined : errorReply(error);
  }
}

function noRoute(): RouterError {
  return routerError("not_found", { message: "There is no such route." });
}

/** Routes whose ledger or router the host has not given do not exist. */
function isOffered({ ledger, router }: AdminSettings, operation: AdminOperation): boolean {
  if (operation.kind === "report" || operation.kind === "entries") return ledger !== undefined;
  return operation.kind !== "entry" || operation.verb !== "budgets" || router !== undefined;
}

/** A change is told to the audit, whether it was made or refused. */
async function change(call: AdminCall): Promise<HttpReply> {
  const made: Made = { id: call.id === "" ? undefined : call.id, fields: {} };
  try {
    const reply = await perform(call, made);
    audit(call, made, undefined);
    return reply;
  } catch (error) {
    audit(call, made, RouterError.isRouterError(error) ? error.code : "internal_error");
    throw error;
  }
}

/** What is known of a change so far. */
interface Made {
  id?: string | undefined;
  fields?: Fields;
}

function audit({ settings, operation, grant }: AdminCall, { id, fields = {} }: Made, code: string | undefined): void {
  const { actor, role } = grant;
  const at = settings.clock.wallNow();
  const outcome = code === undefined ? "done" : "refused";
  try {
    const told: unknown = settings.onAudit?.({ at, actor, role, operation: operation.name, id, fields, outcome, code });
    // The change has been made: nothing that goes wrong here undoes it.
    Promise.resolve(told).catch(() => {});
  } catch {
    // As above.
  }
}

async function perform(call: AdminCall, made: Made): Promise<HttpReply> {
  const { operation, settings, grant, query } = call;
  const { role } = grant;
  if (!operation.roles.includes(role)) {
    throw routerError("permission_denied", { message: `The role ${role} may not do ${operation.name}.` });
  }
  const scope = await scopeOf(grant, settings.directory, settings.clock.wallNow());
  switch (operation.kind) {
    case "entry":
      return performOnEntry(call, operation, scope, made);
    case "report": {
      const { by, limit, ...filter } = parseQuery(reportQuery, query);
      return reply(await spendReport(ledgerOf(settings), { ...withinScope(filter, scope), by, limit }));
    }
    case "entries": {
      const { format = "jsonl", ...filter } = parseQuery(entriesQuery, query);
      return spendExport(ledgerOf(settings), withinScope(filter, scope), format);
    }
    case "openapi":
      parseQuery(noQuery, query);
      return reply(openApiDocument(settings.basePath));
  }
}

function ledgerOf({ ledger }: AdminSettings): NonNullable<AdminSettings["ledger"]> {
  // The route exists only with a ledger.
  return ledger!;
}

async function performOnEntry(
  call: AdminCall,
  { level, verb }: EntryOperation,
  scope: AdminScope,
  made: Made,
): Promise<HttpReply> {
  const { settings, grant, id, query, request } = call;
  const entries = new EntryOperations(settings.directory, level, grant.role, scope);
  const body = async <T extends Fields>(schema: z.ZodType<T>): Promise<T> => {
    const read = await readBodyOf(request, settings.maxBodyBytes);
    const parsed = parseInput(schema, read);
    made.fields = parsed;
    return parsed;
  };
  if (verb === "list") {
    const filter: ListFilter = parseQuery(listQueries[level], query);
    return reply(await entries.list(filter));
  }
  parseQuery(noQuery, query);
  switch (verb) {
    case "get":
      return reply(await entries.get(id));
    case "budgets": {
      // The route exists only with a router.
      const budgets = await entries.budgets(id, settings.router!);
      const data = budgets.map(({ level: _, id: __, models, resetsAt, ...rest }) => ({
        models: models ?? null,
        ...rest,
        resetsAt: resetsAt ?? null,
      }));
      return reply({ data });
    }
    case "create": {
      const created = await entries.create(await body(createBodies[level]));
      made.id = created.id;
      return reply(created.reply, 201);
    }
    case "update": {
      const { version, ...fields } = await body(updateBodies[level]);
      return reply(await entries.update(id, withoutNull(fields), version));
    }
    case "block":
    case "unblock": {
      const { version } = await body(versionBody);
      return reply(await entries.block(id, verb === "block", version));
    }
    case "delete":
      await entries.delete(id);
      return reply({ id, deleted: true });
    case "rotate": {
      const { overlapMs } = await body(rotateBody);
      return reply(await entries.rotate(id, overlapMs));
    }
    case "revoke":
      await body(emptyBody);
      return reply(await entries.revoke(id));
  }
}

/** JSON has no `undefined`, which is how a field is removed. */
function withoutNull(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value ?? undefined]));
}

function reply(value: unknown, status = 200): HttpReply {
  return { kind: "whole", status, headers: commonHeaders("application/json"), text: JSON.stringify(value) };
}
