import type {
  AttemptEvent,
  CooldownEvent,
  FallbackEvent,
  FirstTokenEvent,
  RequestStartedEvent,
  RouterEvent,
  SettledEvent,
  TraceHeader,
} from "../plugins/plugin.js";
import {
  type Attributes,
  defined,
  type OpenTelemetryApi,
  SPAN_KIND,
  STATUS_ERROR,
  type TelemetryContext,
  type TelemetrySpan,
  type TelemetryTracer,
  timeOf,
} from "./opentelemetry-api.js";

/** What a backend wants to read on the spans. Everything is an allow-list (S19): names are fixed here (S20). */
export interface SpanDialect {
  requestName(event: RequestStartedEvent | SettledEvent): string;
  requestStarted(event: RequestStartedEvent | SettledEvent): Attributes;
  requestSettled(event: SettledEvent): Attributes;
  attemptName(event: AttemptEvent): string;
  attemptStarted(event: AttemptEvent): Attributes;
  attemptEnded(event: AttemptEvent): Attributes;
  /** What the serving attempt gets when the request has ended: prompts and answers, where they are shown. */
  attemptServed?(event: SettledEvent): Attributes;
}

export interface SpanTreeOptions {
  readonly api: OpenTelemetryApi;
  readonly tracer: TelemetryTracer;
  readonly dialect: SpanDialect;
  /** The serving attempt's span stays open until the request has ended. */
  readonly awaitsContent: boolean;
}

interface OpenAttempt {
  readonly number: number;
  readonly span: TelemetrySpan;
  readonly startedMs: number;
  /** Set when it has ended well and only waits for what the request was about. */
  endedMs: number | undefined;
}

interface OpenRequest {
  readonly span: TelemetrySpan;
  readonly context: TelemetryContext;
  /** One, or an attempt and its hedge. */
  readonly attempts: OpenAttempt[];
  lastMs: number;
}

/**
 * Makes a tree of spans of the events of requests: one span per request, under whatever span was active where the call
 * was made, and one below it per upstream call. Told of events at once, because only then that span can be found.
 */
export class SpanTree {
  readonly #options: SpanTreeOptions;
  /** Requests under way: each start is followed by exactly one settlement (R1). */
  readonly #requests = new Map<string, OpenRequest>();
  /** A deployment that was just cooled down: by the attempt that ends next, in the same turn. */
  #cooled: CooldownEvent | undefined;

  constructor(options: SpanTreeOptions) {
    this.#options = options;
  }

  observe(event: RouterEvent): void {
    switch (event.type) {
      case "request-started":
        this.#begin(event, event.at);
        break;
      case "attempt-started":
        this.#beginAttempt(event);
        break;
      case "attempt-ended":
        this.#endAttempt(event);
        break;
      case "first-token":
        this.#noteFirstToken(event);
        break;
      case "fallback-taken":
        this.#noteFallback(event);
        break;
      case "deployment-cooled":
        this.#cooled = event;
        break;
      case "request-settled":
        this.#settle(event);
        break;
    }
  }

  /** Adds what ties the upstream's own spans to that of the attempt. */
  inject({ requestId, attempt }: AttemptEvent, names: readonly TraceHeader[], headers: Map<string, string>): void {
    const open = this.#requests.get(requestId);
    const opened = open && attemptOf(open, attempt);
    if (!opened) return;
    const { api } = this.#options;
    const carrier: Record<string, string> = {};
    api.propagation.inject(api.trace.setSpan(open.context, opened.span), carrier);
    // Propagators may write what they like; only these go out (S42), and none that could not be sent.
    for (const name of names) {
      const value = Object.hasOwn(carrier, name) ? carrier[name] : undefined;
      if (typeof value === "string" && value.length <= 8_192 && /^[\x20-\x7e]+$/.test(value)) headers.set(name, value);
    }
  }

  #begin(event: RequestStartedEvent | SettledEvent, startMs: number): OpenRequest {
    const { api, tracer, dialect } = this.#options;
    const parent = api.context.active();
    const span = tracer.startSpan(
      dialect.requestName(event),
      {
        kind: SPAN_KIND.internal,
        startTime: timeOf(startMs),
        attributes: defined(dialect.requestStarted(event)),
      },
      parent,
    );
    const open = { span, context: api.trace.setSpan(parent, span), attempts: [], lastMs: startMs };
    this.#requests.set(event.requestId, open);
    return open;
  }

  #beginAttempt(event: AttemptEvent): void {
    const open = this.#requests.get(event.requestId);
    if (!open) return;
    const { tracer, dialect } = this.#options;
    const span = tracer.startSpan(
      dialect.attemptName(event),
      { kind: SPAN_KIND.client, startTime: timeOf(event.at), attributes: defined(dialect.attemptStarted(event)) },
      open.context,
    );
    // One that only waited has not served the request after all.
    for (const attempt of [...open.attempts]) if (attempt.endedMs !== undefined) this.#endAttemptSpan(open, attempt);
    open.attempts.push({ number: event.attempt, span, startedMs: event.at, endedMs: undefined });
  }

  #endAttempt(event: AttemptEvent): void {
    const cooled = this.#cooled?.deployment === event.deployment ? this.#cooled : undefined;
    this.#cooled = undefined;
    const open = this.#requests.get(event.requestId);
    const attempt = open && attemptOf(open, event.attempt);
    if (!attempt) return;
    const { span, startedMs } = attempt;
    const endMs = startedMs + (event.durationMs ?? 0);
    open.lastMs = Math.max(open.lastMs, endMs);
    if (span.isRecording()) {
      span.setAttributes(defined(this.#options.dialect.attemptEnded(event)));
      if (cooled) {
        const attributes = { "switchyard.deployment": cooled.deployment, "switchyard.cooldown.cause": cooled.cause };
        span.addEvent("switchyard.cooldown", defined(attributes), timeOf(endMs));
      }
      if (isError(event)) span.setStatus({ code: STATUS_ERROR, message: event.code ?? event.errorClass ?? "error" });
    }
    attempt.endedMs = endMs;
    if (!this.#options.awaitsContent || event.outcome !== "ok") this.#endAttemptSpan(open, attempt);
  }

  #noteFirstToken({ requestId, attempt, at, ttftMs }: FirstTokenEvent): void {
    const open = this.#requests.get(requestId);
    const opened = open && attemptOf(open, attempt);
    opened?.span.addEvent("gen_ai.first_token", { "switchyard.ttft_ms": ttftMs }, timeOf(at));
  }

  #noteFallback({ requestId, from, to, chain, code, at }: FallbackEvent): void {
    this.#requests.get(requestId)?.span.addEvent(
      "switchyard.fallback",
      {
        "switchyard.fallback.from": from,
        "switchyard.fallback.to": to,
        "switchyard.fallback.chain": chain,
        "error.type": code,
      },
      timeOf(at),
    );
  }

  #settle(event: SettledEvent): void {
    // A request that was refused at the door has no beginning of its own.
    const open = this.#requests.get(event.requestId) ?? this.#begin(event, event.at - event.durationMs);
    this.#requests.delete(event.requestId);
    const { span } = open;
    const attempt = open.attempts.at(-1);
    try {
      const { attemptServed } = this.#options.dialect;
      if (attempt?.span.isRecording() && attemptServed) {
        attempt.span.setAttributes(defined(attemptServed.call(this.#options.dialect, event)));
      }
      if (span.isRecording()) {
        span.setAttributes(defined(this.#options.dialect.requestSettled(event)));
        if (event.outcome === "failed" || event.outcome === "interrupted") {
          span.setStatus({ code: STATUS_ERROR, message: event.code ?? event.outcome });
        }
      }
    } finally {
      // A function of the operator's that breaks costs the content, not the spans.
      for (const left of [...open.attempts]) this.#endAttemptSpan(open, left);
      span.end(timeOf(Math.max(open.lastMs, event.at)));
    }
  }

  #endAttemptSpan(open: OpenRequest, attempt: OpenAttempt): void {
    open.attempts.splice(open.attempts.indexOf(attempt), 1);
    attempt.span.end(timeOf(attempt.endedMs ?? open.lastMs));
  }
}

function attemptOf({ attempts }: OpenRequest, number: number): OpenAttempt | undefined {
  return attempts.find((attempt) => attempt.number === number);
}

/** The upstream failed: neither the caller's leaving nor a guard's refusal. */
function isError({ outcome, errorClass }: AttemptEvent): boolean {
  return outcome !== "ok" && (errorClass !== undefined || outcome === "soft" || outcome === "hard");
}
