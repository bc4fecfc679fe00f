import type { IncomingMessage, ServerResponse } from "node:http";
import { directoryOf } from "../access/authenticating-directory.js";
import { InvalidOptionsError } from "../errors/router-error.js";
import { answerCall, type HandlerContext, handlerPort } from "../router/call.js";
import { answerRequest, type HandlerCore, type HandlerTarget } from "./answer-request.js";
import { checkContext } from "./host-context.js";
import type { HttpService } from "./http-request.js";
import { serveNode } from "./node.js";
import { type HandlerOptions, parseHandlerOptions } from "./options.js";
import { findRoute, type Route } from "./route.js";
import { serveWeb } from "./web.js";

/** A router, served as an OpenAI-compatible API. Both functions can be passed around on their own. */
export interface Handler {
  /**
   * Answers a web `Request`: Hono, Next.js, Bun, Deno, Workers. Rejects only where the host's `context` is wrong.
   *
   * @param context - `principal`: whoever the host says is calling; `authenticate` is not asked then. `options`: those of
   *   the call.
   * @throws {InvalidOptionsError} `context` has a field that would be ignored.
   */
  fetch(request: Request, context?: HandlerContext): Promise<Response>;
  /**
   * Answers over `node:http`: Express, Connect, Fastify, NestJS or a bare server.
   *
   * @param next - Gets requests that are not under the base path. Without it they are 404.
   * @param context - As with `fetch`.
   * @throws {InvalidOptionsError} at once, as with `fetch`.
   */
  node(
    request: IncomingMessage,
    response: ServerResponse,
    next?: (error?: unknown) => void,
    context?: HandlerContext,
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
      if (context) checkContext(context);
      const response = await serveWeb(service, request, context);
      // Nobody reads it, but servers want an answer rather than an exception for a client that has left.
      return response ?? new Response(null, { status: 499, headers: { "cache-control": "no-store" } });
    },
    // A default keeps the function's length at three: Express takes functions of four for error handlers.
    node(request, response, next, context = NO_CONTEXT) {
      if (context !== NO_CONTEXT) checkContext(context);
      serveNode(service, request, response, next, context);
    },
  };
}

const NO_CONTEXT: HandlerContext = {};

function serviceOf(router: HandlerTarget, options: HandlerOptions): HttpService<Route> {
  // What JavaScript may pass.
  if (typeof router?.[answerCall] !== "function") {
    throw new InvalidOptionsError([{ path: "router", message: "expected a `Router`" }]);
  }
  const settings = parseHandlerOptions(options);
  const keys = settings.authenticate ? directoryOf(settings.authenticate) : undefined;
  const directory = router[handlerPort]?.directory();
  if (keys && router[handlerPort] && directory !== keys) {
    const message = directory
      ? "goes by the keys of another directory than the router's: give both the same object"
      : "goes by the keys of a directory that the router does not have, so that no permission, limit or budget would hold: give it to `new Router({ directory })`, too";
    throw new InvalidOptionsError([{ path: "authenticate", message }]);
  }
  const tell = (message: string) => router[handlerPort]?.report("handler-authenticate", message);
  const core: HandlerCore = {
    router,
    settings,
    hasKeys: keys !== undefined,
    brokenAuthenticate: { name: "authenticate", tell },
    brokenAuthorizeMetrics: { name: "authorizeMetrics", tell },
  };
  return {
    settings,
    findRoute: (target, mountPath) => findRoute(target, settings.basePath, mountPath),
    answer: (route, request) => answerRequest(core, route, request),
  };
}

/** What `fetch` has, plus on whose behalf the call is made, and its options. */
export type InProcessFetch = (
  input: RequestInfo | URL,
  init?: RequestInit,
  context?: HandlerContext,
) => Promise<Response>;

/**
 * A `fetch` that ends in the router instead of a socket, for SDKs that take one. Like the platform's it rejects with
 * the signal's reason when it is aborted. Callers are in the same process: there is nobody to authenticate.
 */
export function inProcessFetch(router: HandlerTarget): InProcessFetch {
  const service = serviceOf(router, { authenticate: false });
  return async function fetch(input, init, context) {
    if (context) checkContext(context);
    const request = input instanceof Request && init === undefined ? input : new Request(input, init);
    request.signal.throwIfAborted();
    const response = await serveWeb(service, request, context);
    if (!response) throw request.signal.reason;
    return response;
  };
}
