/**
 * What is used of `@opentelemetry/api`, by shape: the package is passed in, so that neither code nor types of ours need
 * it. Methods, not function properties: theirs ask for more of what we hand back to them.
 */
export type AttributeValue = string | number | boolean | string[];
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>;
/** Seconds since the Unix epoch, and nanoseconds. */
export type HighResolutionTime = [number, number];

export interface TelemetryContext {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): TelemetryContext;
  deleteValue(key: symbol): TelemetryContext;
}

export interface TelemetrySpan {
  setAttributes(attributes: Record<string, AttributeValue>): unknown;
  addEvent(name: string, attributes: Record<string, AttributeValue>, time: HighResolutionTime): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  isRecording(): boolean;
  end(time: HighResolutionTime): void;
}

export interface SpanStart {
  readonly kind: number;
  readonly startTime: HighResolutionTime;
  readonly attributes: Record<string, AttributeValue>;
}

export interface TelemetryTracer {
  startSpan(name: string, options: SpanStart, context: TelemetryContext): TelemetrySpan;
}

interface InstrumentOptions {
  readonly unit: string;
  readonly description: string;
  readonly advice?: { explicitBucketBoundaries: number[] };
}

export interface TelemetryHistogram {
  record(value: number, attributes: Record<string, AttributeValue>): void;
}

export interface TelemetryCounter {
  add(value: number, attributes: Record<string, AttributeValue>): void;
}

export interface TelemetryMeter {
  createHistogram(name: string, options: InstrumentOptions): TelemetryHistogram;
  createCounter(name: string, options: InstrumentOptions): TelemetryCounter;
}

/** `import * as api from "@opentelemetry/api"`. */
export interface OpenTelemetryApi {
  readonly context: { active(): TelemetryContext };
  readonly trace: {
    getTracer(name: string): TelemetryTracer;
    setSpan(context: TelemetryContext, span: TelemetrySpan): TelemetryContext;
  };
  readonly propagation: { inject(context: TelemetryContext, carrier: Record<string, string>): void };
}

/** Constants of the API, which are part of its contract. */
export const SPAN_KIND = { internal: 0, client: 2 } as const;
export const STATUS_ERROR = 2;

export function timeOf(unixMs: number): HighResolutionTime {
  const seconds = Math.floor(unixMs / 1_000);
  return [seconds, Math.round((unixMs - seconds * 1_000) * 1e6)];
}

/** Without those that are `undefined`: the SDK would complain. */
export function defined(attributes: Attributes): Record<string, AttributeValue> {
  const kept: Record<string, AttributeValue> = {};
  for (const name in attributes) {
    const value = attributes[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}
