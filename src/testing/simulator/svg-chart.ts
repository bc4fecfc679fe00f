/** One line of a chart. */
export interface ChartSeries {
  readonly name: string;
  /** In order of x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface ChartOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** The y axis in powers of ten; points at or below 0 are left out. @default false */
  readonly isLogarithmic?: boolean | undefined;
  /** Places of the x axis with a label. @default six, evenly */
  readonly xTicks?: readonly (readonly [x: number, label: string])[] | undefined;
  /** @default 720 */
  readonly width?: number | undefined;
  /** @default 320 */
  readonly height?: number | undefined;
}

/** Text and axes follow the reader's colour scheme, also where the chart is a file of its own. */
const STYLE =
  "<style>.switchyard-chart{color:#1f2328}@media(prefers-color-scheme:dark){.switchyard-chart{color:#d1d7e0}}</style>";
/** Readable on white and on dark, and by people who do not tell red from green (Okabe and Ito). */
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];
const MARGIN = { top: 40, right: 20, bottom: 44, left: 64 };
const GRID_LINES = 5;

/** A line chart as SVG text, with its own title and legend. */
export function lineChart(series: readonly ChartSeries[], options: ChartOptions): string {
  const { title, xLabel, yLabel, isLogarithmic = false, xTicks, width = 720, height = 320 } = options;
  const shown = series.map(({ name, points }) => ({
    name,
    points: points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && !(isLogarithmic && y <= 0)),
  }));
  const all = shown.flatMap(({ points }) => points);
  const xs = rangeOf(all.map(([x]) => x));
  const ys = isLogarithmic
    ? logRange(all.map(([, y]) => y))
    : { from: 0, until: niceAbove(maxOf(all.map(([, y]) => y))) };
  const plot = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const xAt = (x: number) => MARGIN.left + ((x - xs.from) / (xs.until - xs.from || 1)) * plot.width;
  const scaled = (y: number) => (isLogarithmic ? Math.log10(y) : y);
  const yAt = (y: number) =>
    MARGIN.top + plot.height * (1 - (scaled(y) - scaled(ys.from)) / (scaled(ys.until) - scaled(ys.from) || 1));

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" class="switchyard-chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}" font-family="system-ui, sans-serif" font-size="12">`,
    STYLE,
    `<text x="${MARGIN.left}" y="16" font-size="14" font-weight="600" fill="currentColor">${escapeText(title)}</text>`,
  ];
  for (const y of isLogarithmic ? decades(ys.from, ys.until) : evenly(ys.from, ys.until)) {
    parts.push(
      `<line x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${round(yAt(y))}" y2="${round(yAt(y))}" stroke="currentColor" stroke-opacity="0.15"/>`,
      `<text x="${MARGIN.left - 6}" y="${round(yAt(y) + 4)}" text-anchor="end" fill="currentColor">${shortNumber(y)}</text>`,
    );
  }
  const ticks = xTicks?.filter(([x]) => x >= xs.from && x <= xs.until);
  for (const [x, label] of ticks ?? evenly(xs.from, xs.until).map((x) => [x, shortNumber(x)] as const)) {
    parts.push(
      `<text x="${round(xAt(x))}" y="${height - MARGIN.bottom + 16}" text-anchor="middle" fill="currentColor">${escapeText(label)}</text>`,
    );
  }
  const middle = MARGIN.top + plot.height / 2;
  parts.push(
    `<text x="${MARGIN.left + plot.width / 2}" y="${height - 8}" text-anchor="middle" fill="currentColor">${escapeText(xLabel)}</text>`,
    `<text x="14" y="${middle}" text-anchor="middle" transform="rotate(-90 14 ${middle})" fill="currentColor">${escapeText(yLabel)}</text>`,
  );
  let legendX = MARGIN.left;
  for (const [position, { name, points }] of shown.entries()) {
    const colour = COLOURS[position % COLOURS.length];
    const line = points.map(([x, y]) => `${round(xAt(x))},${round(yAt(y))}`).join(" ");
    parts.push(
      `<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="1.8" stroke-linejoin="round"/>`,
      `<rect x="${legendX}" y="24" width="10" height="3" fill="${colour}"/>`,
      `<text x="${legendX + 14}" y="29" font-size="11" fill="currentColor">${escapeText(name)}</text>`,
    );
    legendX += 28 + 6.5 * name.length;
  }
  parts.push("</svg>");
  return parts.join("");
}

function rangeOf(values: readonly number[]): { from: number; until: number } {
  if (values.length === 0) return { from: 0, until: 1 };
  let [from, until] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    from = Math.min(from, value);
    until = Math.max(until, value);
  }
  return { from, until };
}

function maxOf(values: readonly number[]): number {
  return values.length === 0 ? 1 : rangeOf(values).until;
}

function logRange(values: readonly number[]): { from: number; until: number } {
  if (values.length === 0) return { from: 1, until: 10 };
  const { from, until } = rangeOf(values);
  const first = 10 ** Math.floor(Math.log10(from));
  return { from: first, until: Math.max(10 * first, 10 ** Math.ceil(Math.log10(until))) };
}

/** The next of 1, 2, 5, 10, … that is not below. */
function niceAbove(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function evenly(from: number, until: number): number[] {
  return Array.from({ length: GRID_LINES + 1 }, (_, step) => from + ((until - from) * step) / GRID_LINES);
}

function decades(from: number, until: number): number[] {
  const lines: number[] = [];
  for (let value = from; value <= until * 1.001; value *= 10) lines.push(value);
  return lines;
}

function shortNumber(value: number): string {
  if (Math.abs(value) >= 1_000) return `${Number((value / 1_000).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function round(value: number): string {
  return value.toFixed(1);
}

/** For text and attributes of SVG and HTML. */
export function escapeText(text: string): string {
  const ENTITIES: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
