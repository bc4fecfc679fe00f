import type { IncomingMessage, ServerResponse } from "node:http";
import type { Principal } from "../plugins/plugin.js";
import { answerRequest, type HandlerTarget } from "./answer-request.js";
import type { HttpService } from "./http-request.js";
import { serveNode } from "./node.js";
import { type HandlerOptions, parseHandlerOptions } from "./options.js";
import { findRoute, type Route } from "./route.js";
import { serveWeb } from "./web.js";

/** A router, served as an OpenAI-compatible API. Both functions can be passed around on their own. */
export interface Handler {
  /**
   * Answers a web `Request`: Hono, Next.js, Bun, Deno, Workers. Never rejects.
   *
   * @param context - `principal`: whoever the host says is calling; `authenticate` is not asked then.
   */
  fetch(request: Request, context?: { readonly principal?: Principal | undefined }): Promise<Response>;
  /**
   * Answers over `node:http`: Express, Connect, Fastify, NestJS or a bare server.
   *
   * @param next - Gets requests that are not under the base path. Without it they are 404.
   * @param context - As with `fetch`.
   */
  node(
    request: IncomingMessage,
    response: ServerResponse,
    next?: (error?: unknown) => void,
    context?: { readonly principal?: Principal | undefined },
  ): void;
}

/**
 * Serves a router over HTTP. Nothing is opened or started: the functions answer what the host hands them.
 *
 * @throws {InvalidOptionsError} with every problem at once.
 * @see docs/http.md
 */
export function createHandler(router: HandlerTarget, options: HandlerOptions = {}): Handler {
  const service = serviceOf(router, options);
  return {
    async fetch(request, context) {
      const response = await serveWeb(service, request, context?.principal);
      // Nobody reads it, but servers want an answer rather than an exception for a client that has left.
      return response ?? new Response(null, { status: 499, headers: { "cache-control": "no-store" } });
    },
    // A default keeps the function's length at three: Express takes functions of four for error handlers.
    node(request, response, next, context = {}) {
      serveNode(service, request, response, next, context.principal);
    },
  };
}

function serviceOf(router: HandlerTarget, options: HandlerOptions): HttpService<Route> {
  const core = { router, settings: parseHandlerOptions(options) };
  const { settings } = core;
  return {
    settings,
    findRoute: (target, mountPath) => findRoute(target, settings.basePath, mountPath),
    answer: (route, request) => answerRequest(core, route, request),
  };
}

/** What `fetch` has, plus on whose behalf the call is made. */
export type InProcessFetch = (
  input: RequestInfo | URL,
  init?: RequestInit,
  options?: { readonly principal?: Principal | undefined },
) => Promise<Response>;

/**
 * A `fetch` that ends in the router instead of a socket, for SDKs that take one. Like the platform's it rejects with
 * the signal's reason when it is aborted. Callers are in the same process: there is nobody to authenticate.
 */
export function inProcessFetch(router: HandlerTarget): InProcessFetch {
  const service = serviceOf(router, {});
  return async function fetch(input, init, options) {
    const request = input instanceof Request && init === undefined ? input : new Request(input, init);
    request.signal.throwIfAborted();
    const response = await serveWeb(service, request, options?.principal);
    if (!response) throw request.signal.reason;
    return response;
  };
}
