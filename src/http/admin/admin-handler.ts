import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpService } from "../http-request.js";
import { serveNode } from "../node.js";
import { relativePath } from "../route.js";
import { serveWeb } from "../web.js";
import { answerAdmin } from "./answer-admin.js";
import { type AdminRoute, findAdminRoute } from "./operations.js";
import { type AdminHandlerOptions, parseAdminOptions } from "./options.js";

/** The management routes. Both functions can be passed around on their own. */
export interface AdminHandler {
  /** Answers a web `Request`. Never rejects. */
  fetch(request: Request): Promise<Response>;
  /**
   * Answers over `node:http`.
   *
   * @param next - Gets requests that are not under the base path. Without it they are 404.
   */
  node(request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): void;
}

/**
 * Serves a directory as HTTP routes: organizations, teams, users, virtual keys, their budgets, and what was spent.
 *
 * @throws {InvalidOptionsError} with every problem at once.
 * @see docs/admin.md
 */
export function createAdminHandler(options: AdminHandlerOptions): AdminHandler {
  const settings = parseAdminOptions(options);
  const service: HttpService<AdminRoute> = {
    settings,
    findRoute(target, mountPath) {
      const relative = relativePath(target, settings.basePath, mountPath);
      return relative === undefined ? { kind: "outside" } : findAdminRoute(relative, queryOf(target));
    },
    answer: (route, request) => answerAdmin(settings, route, request),
  };
  return {
    async fetch(request) {
      const response = await serveWeb(service, request, undefined);
      // Nobody reads it, but servers want an answer rather than an exception for a client that has left.
      return response ?? new Response(null, { status: 499, headers: { "cache-control": "no-store" } });
    },
    node(request, response, next) {
      serveNode(service, request, response, next, undefined);
    },
  };
}

function queryOf(target: string): string {
  const [, query = ""] = /^[^?#]*\?([^#]*)/.exec(target) ?? [];
  return query;
}
