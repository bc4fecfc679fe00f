import { isPrincipal } from "../access/principal.js";
import { routerError } from "../errors/router-error.js";
import { type MetricsPage, metricsText, type Principal } from "../plugins/plugin.js";
import type { ModelList } from "../protocol/models.js";
import type { RelayPiece } from "../providers/provider.js";
import {
  type AnswerStream,
  answerCall,
  type CallOptions,
  type CallTarget,
  type HandlerPort,
  type HostCallOptions,
  handlerPort,
  type RequestCacheOptions,
} from "../router/call.js";
import type { InputLimits } from "../router/input-limits.js";
import { authenticateRequest, type BrokenReport, checkMetricsGrant } from "./authenticate.js";
import { checkBodyHeaders, parseBody } from "./body.js";
import { cacheOptionsOf } from "./cache-control.js";
import type { BodyLimits, HttpRequest } from "./http-request.js";
import type { HandlerSettings } from "./options.js";
import { errorReply, eventsReply, type HttpReply, jsonReply, textReply } from "./reply.js";
import type { Route } from "./route.js";
import { sessionOf } from "./session.js";

/** What a handler needs of a router. */
export interface HandlerTarget extends CallTarget {
  readonly models: { list(options?: { principal?: Principal | undefined }): Promise<ModelList> };
  status(): { readonly isDraining: boolean };
  /** Where warnings go, and who its directory is. */
  readonly [handlerPort]?: HandlerPort | undefined;
  /** What the metrics plugin says; `undefined`: there is none. */
  [metricsText]?(): Promise<MetricsPage> | undefined;
  /** The router's own limits: the handler's where its options do not say. Read per request, so that a reload counts. */
  readonly inputLimits?:
    | Readonly<Pick<InputLimits, "bodyBytes" | "bodyTimeMs" | "bodyBytesPerSecond" | "bodyGraceMs" | "jsonDepth">>
    | undefined;
}

/** What a handler is made of: shared by its two adapters. */
export interface HandlerCore {
  readonly router: HandlerTarget;
  readonly settings: HandlerSettings;
  /** `authenticate` goes by the keys of a directory. */
  readonly hasKeys: boolean;
  readonly brokenAuthenticate: BrokenReport;
  readonly brokenAuthorizeMetrics: BrokenReport;
}

/**
 * One request from its route to its reply: method, credential, body, call. Whatever fails becomes the error reply of
 * its code.
 *
 * @returns `undefined` when the client has left: nobody is there to read a reply.
 */
export async function answerRequest(
  core: HandlerCore,
  route: Route,
  request: HttpRequest,
): Promise<HttpReply | undefined> {
  try {
    if (route.kind !== "route") throw routerError("not_found", { message: "There is no such route." });
    const { method } = request;
    if (method !== route.method && !(method === "HEAD" && route.method === "GET")) {
      return errorReply(routerError("method_not_allowed"), route.method === "GET" ? "GET, HEAD" : "POST");
    }
    if (route.name === "health.live") return jsonReply({ status: "ok" });
    if (route.name === "health.ready") return readiness(core.router);

    let { principal } = request;
    const { authenticate, authenticateTimeoutMs, clock } = core.settings;
    if (route.name === "metrics") {
      await checkMetricsGrant(core.settings, request, clock, authenticateTimeoutMs, core.brokenAuthorizeMetrics);
      return await metricsPage(core.router);
    }
    if (!principal && authenticate) {
      principal = await authenticateRequest(
        authenticate,
        request,
        route.name,
        clock,
        authenticateTimeoutMs,
        core.brokenAuthenticate,
      );
      // Also where it names nobody: no limit binds the host itself.
      if (!isPrincipal(principal)) throw routerError("invalid_api_key");
    }
    if (core.hasKeys || (!principal && core.settings.authenticate !== false)) reportGaps(core, principal);
    if (route.name === "models.list") return jsonReply(await core.router.models.list({ principal }));
    if (route.name === "models.retrieve") return await retrieveModel(core.router, route.modelId, principal);

    const session = sessionOf(request);
    const limits = bodyLimits(core);
    checkBodyHeaders(request, limits);
    const body = parseBody(await request.readBody(limits), limits);
    const answer = await core.router[answerCall]({
      operation: route.name,
      body,
      options: request.hostOptions
        ? new HostedCallOptions(principal, request, request.hostOptions)
        : new HttpCallOptions(principal, request),
      form: "text",
      cancellation: request.cancellation,
      session,
    });
    return answer.kind === "stream"
      ? // `form: "text"` asks for what a relay writes.
        eventsReply(answer.stream as AnswerStream<RelayPiece>, answer.facts ?? answer.routing)
      : jsonReply(answer.reply, answer.facts ?? answer.routing, answer.bytes);
  } catch (error) {
    return request.isGone ? undefined : errorReply(error);
  }
}

/** A class, because literals with a getter get a hidden class each: measured, that doubles the collector's work. */
class HttpCallOptions implements CallOptions {
  readonly principal: Principal | undefined;
  readonly #request: HttpRequest;

  constructor(principal: Principal | undefined, request: HttpRequest) {
    this.principal = principal;
    this.#request = request;
  }

  /** Read when somebody asks: most routers have no cache. */
  get cache(): RequestCacheOptions | false | undefined {
    return cacheOptionsOf(this.#request.header("cache-control"));
  }

  /** Made when somebody asks: who uses the call's `cancellation` need not. */
  get signal(): AbortSignal {
    return this.#request.signal;
  }
}

/** The same with what the host says of the call: its word on caches wins over the client's. */
class HostedCallOptions extends HttpCallOptions {
  readonly tags: CallOptions["tags"];
  readonly metadata: CallOptions["metadata"];
  readonly deadlineMs: CallOptions["deadlineMs"];
  readonly require: CallOptions["require"];
  readonly priority: CallOptions["priority"];
  readonly sessionId: CallOptions["sessionId"];
  readonly fallbacks: CallOptions["fallbacks"];
  readonly explain: CallOptions["explain"];
  readonly #cache: CallOptions["cache"];

  constructor(principal: Principal | undefined, request: HttpRequest, host: HostCallOptions) {
    super(principal, request);
    this.tags = host.tags;
    this.metadata = host.metadata;
    this.deadlineMs = host.deadlineMs;
    this.require = host.require;
    this.priority = host.priority;
    this.sessionId = host.sessionId;
    this.fallbacks = host.fallbacks;
    this.explain = host.explain;
    this.#cache = host.cache;
  }

  override get cache(): CallOptions["cache"] {
    return this.#cache ?? super.cache;
  }
}

/** Who is let in without being held to what the directory says is let in, for so it is configured; but not silently. */
function reportGaps(core: HandlerCore, principal: Principal | undefined): void {
  const port = core.router[handlerPort];
  if (!port) return;
  const hasDirectory = port.directory() !== undefined;
  if (core.hasKeys && !hasDirectory) {
    port.report(
      "handler-directory",
      "Keys are let in, and held to no limit: a reload took the router's `directory` away.",
    );
  } else if (!principal && core.settings.authenticate !== false && hasDirectory) {
    port.report(
      "handler-anonymous",
      "Callers are let in without a principal, and held to none of the directory's limits: give the handler `authenticate: virtualKeys(directory)`, or `authenticate: false` where that is meant.",
    );
  }
}

function readiness(router: HandlerTarget): HttpReply {
  if (router.status().isDraining) throw routerError("draining");
  return jsonReply({ status: "ok" });
}

/** @throws {RouterError} `not_found`: no plugin has metrics. */
async function metricsPage(router: HandlerTarget): Promise<HttpReply> {
  const page = await router[metricsText]?.();
  if (!page) throw routerError("not_found", { message: "There is no such route." });
  return textReply(page.contentType, page.text);
}

async function retrieveModel(router: HandlerTarget, id: string, principal: Principal | undefined): Promise<HttpReply> {
  const { data } = await router.models.list({ principal });
  const model = data.find((candidate) => candidate.id === id);
  // The same whether it is unknown or hidden from this principal.
  if (!model) throw routerError("model_not_found");
  return jsonReply(model);
}

/** The handler's own limits, else the router's, else the defaults of both. */
function bodyLimits({ router, settings: { limits } }: HandlerCore): BodyLimits {
  const routers = router.inputLimits;
  return {
    maxBodyBytes: limits.maxBodyBytes ?? routers?.bodyBytes ?? 10_485_760,
    bodyTimeoutMs: limits.bodyTimeoutMs ?? routers?.bodyTimeMs ?? 30_000,
    minBodyBytesPerSecond: limits.minBodyBytesPerSecond ?? routers?.bodyBytesPerSecond ?? 1_024,
    bodyGraceMs: limits.bodyGraceMs ?? routers?.bodyGraceMs ?? 10_000,
    maxJsonDepth: limits.maxJsonDepth ?? routers?.jsonDepth ?? 64,
  };
}
