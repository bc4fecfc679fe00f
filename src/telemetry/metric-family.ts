/** A line of a metric, as `prom-client` wants to have it. */
export interface MetricValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/**
 * What a registry of `prom-client` asks of a metric. Ours are no instances of its classes, so that the registry is all
 * that has to be passed in, and so that counting costs a look-up in a map.
 */
export interface RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** How registries of several processes are added up. */
  readonly aggregator: "sum" | "max";
  get(): Promise<{
    readonly name: string;
    readonly help: string;
    readonly type: string;
    readonly aggregator: string;
    readonly values: MetricValue[];
  }>;
  reset(): void;
}

/** Series of one metric; what comes after them is counted under {@link OTHER} (S20). */
const MAX_SERIES = 5_000;
export const OTHER = "other";

/** Label values in the order of the names. `\n` cannot be part of a name in a configuration. */
const keyOf = (values: readonly string[]) => values.join("\n");

interface Series<T> {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: T;
}

/** A metric that has a series for each combination of its labels. */
abstract class Family<T> implements RegisteredMetric {
  abstract readonly type: RegisteredMetric["type"];
  readonly aggregator = "sum";
  /** Called where all series are gone: whoever holds one has to let go of it. */
  onReset: () => void = () => {};
  readonly #series = new Map<string, Series<T>>();

  constructor(
    readonly name: string,
    readonly help: string,
    private readonly labelNames: readonly string[],
  ) {}

  protected abstract create(): T;
  protected abstract valuesOf(state: T, labels: Series<T>["labels"]): MetricValue[];

  /** What is counted under these labels, until {@link onReset}; worth keeping, for looking it up costs more than counting. */
  series(values: readonly string[]): T {
    const known = this.#series.get(keyOf(values));
    if (known) return known.state;
    const isFull = this.#series.size >= MAX_SERIES;
    const kept = isFull ? this.labelNames.map(() => OTHER) : values;
    const key = keyOf(kept);
    let series = this.#series.get(key);
    if (!series) {
      const labels = Object.fromEntries(this.labelNames.map((name, index) => [name, kept[index] ?? ""]));
      series = { labels, state: this.create() };
      this.#series.set(key, series);
    }
    return series.state;
  }

  async get() {
    const { name, help, type, aggregator } = this;
    const values = [...this.#series.values()].flatMap(({ labels, state }) => this.valuesOf(state, labels));
    return { name, help, type, aggregator, values };
  }

  reset(): void {
    this.#series.clear();
    this.onReset();
  }
}

/** One series of a counter. */
export class Count {
  value = 0;

  add(amount: number): void {
    this.value += amount;
  }
}

export class CounterFamily extends Family<Count> {
  readonly type = "counter";

  /** @param units - How many units that are added make one of the metric, for sums that are kept as integers. */
  constructor(
    name: string,
    help: string,
    labelNames: readonly string[],
    private readonly units = 1,
  ) {
    super(name, help, labelNames);
  }

  protected override create() {
    return new Count();
  }

  protected override valuesOf({ value }: Count, labels: Readonly<Record<string, string>>): MetricValue[] {
    return [{ value: value / this.units, labels }];
  }
}

/** One series of a histogram. */
export class Distribution {
  /** Observations at most as large as each bound and larger than the one before; the last are beyond all bounds. */
  readonly counts: number[];
  sum = 0;
  count = 0;
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    if (!Number.isFinite(value)) return;
    this.sum += value;
    this.count += 1;
    const bounds = this.#bounds;
    let index = 0;
    while (index < bounds.length && value > (bounds[index] as number)) index++; // in range
    this.counts[index] = (this.counts[index] ?? 0) + 1;
  }
}

export class HistogramFamily extends Family<Distribution> {
  readonly type = "histogram";

  constructor(
    name: string,
    help: string,
    labelNames: readonly string[],
    private readonly bounds: readonly number[],
  ) {
    super(name, help, labelNames);
  }

  protected override create() {
    return new Distribution(this.bounds);
  }

  protected override valuesOf({ counts, sum, count }: Distribution, labels: Readonly<Record<string, string>>) {
    const values: MetricValue[] = [];
    let below = 0;
    for (const [index, bound] of this.bounds.entries()) {
      below += counts[index] ?? 0;
      values.push({ metricName: `${this.name}_bucket`, value: below, labels: { ...labels, le: bound } });
    }
    values.push({ metricName: `${this.name}_bucket`, value: count, labels: { ...labels, le: "+Inf" } });
    values.push({ metricName: `${this.name}_sum`, value: sum, labels });
    values.push({ metricName: `${this.name}_count`, value: count, labels });
    return values;
  }
}

/** A metric that is read when somebody asks. */
export class ReadFamily implements RegisteredMetric {
  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: "gauge" | "counter",
    private readonly read: () => readonly MetricValue[],
    readonly aggregator: "sum" | "max" = "sum",
  ) {}

  async get() {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: [...this.read()] };
  }

  reset(): void {
    // What is read is not ours to reset.
  }
}
