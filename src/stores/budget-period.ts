/** `day`, `week` (from Monday), `month`: calendar, UTC. `24h`, `30d` …: from a start of one's own. `total`: for ever. */
export type BudgetPeriod = "day" | "week" | "month" | "total" | `${number}h` | `${number}d`;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1 January 1970 was a Thursday: the first Monday was the 5th. */
const FIRST_MONDAY_MS = 4 * DAY_MS;
/** The longest rolling period. */
const MAX_ROLLING_MS = 3_660 * DAY_MS;

/** One period of a budget, as it is at some time. */
export interface PeriodAt {
  /** Names the account: `month:2026-11`, `24h:20415`. */
  readonly id: string;
  /** Unix milliseconds of the next one; `Infinity` for `total`. */
  readonly endsAt: number;
}

const ROLLING = /^([1-9]\d{0,4})([hd])$/;

/** Is it a period? Rolling ones last 1 hour to 10 years. */
export function isBudgetPeriod(value: unknown): value is BudgetPeriod {
  if (value === "day" || value === "week" || value === "month" || value === "total") return true;
  return typeof value === "string" && rollingMs(value) !== undefined;
}

/**
 * @param now - Unix milliseconds.
 * @param startsAt - Where rolling periods begin: the creation of the entry that has the budget.
 */
export function periodAt(period: BudgetPeriod, now: number, startsAt: number): PeriodAt {
  switch (period) {
    case "total":
      return TOTAL;
    case "day":
    case "week":
    case "month": {
      const known = latest[period];
      if (known && now >= known.beginsAt && now < known.endsAt) return known;
      return (latest[period] = calendarPeriodAt(period, now));
    }
    default: {
      // Checked by `isBudgetPeriod` where it came in.
      const lengthMs = rollingMs(period) as number;
      const count = Math.floor((now - startsAt) / lengthMs);
      return { id: `${period}:${startsAt}:${count}`, endsAt: startsAt + (count + 1) * lengthMs };
    }
  }
}

const TOTAL: PeriodAt = { id: "total", endsAt: Number.POSITIVE_INFINITY };

type CalendarPeriod = Extract<BudgetPeriod, "day" | "week" | "month">;
interface CalendarPeriodAt extends PeriodAt {
  readonly beginsAt: number;
}

/** Every decision asks, and nearly always about the same one: to write a date costs as much as all the rest of a budget. */
const latest: { [Period in CalendarPeriod]?: CalendarPeriodAt } = {};

function calendarPeriodAt(period: CalendarPeriod, now: number): CalendarPeriodAt {
  switch (period) {
    case "day": {
      const start = now - modulo(now, DAY_MS);
      return { id: `day:${isoDay(start)}`, beginsAt: start, endsAt: start + DAY_MS };
    }
    case "week": {
      const start = now - modulo(now - FIRST_MONDAY_MS, 7 * DAY_MS);
      return { id: `week:${isoDay(start)}`, beginsAt: start, endsAt: start + 7 * DAY_MS };
    }
    case "month": {
      const date = new Date(now);
      const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
      const start = Date.UTC(year, month);
      return { id: `month:${isoDay(start).slice(0, 7)}`, beginsAt: start, endsAt: Date.UTC(year, month + 1) };
    }
  }
}

function rollingMs(period: string): number | undefined {
  const [, count, unit] = ROLLING.exec(period) ?? [];
  if (count === undefined) return undefined;
  const lengthMs = Number(count) * (unit === "h" ? HOUR_MS : DAY_MS);
  return lengthMs <= MAX_ROLLING_MS ? lengthMs : undefined;
}

const isoDay = (at: number) => new Date(at).toISOString().slice(0, 10);
const modulo = (value: number, divisor: number) => ((value % divisor) + divisor) % divisor;
