import { describe, expect, it } from "vitest";
import { BudgetWarnings } from "../../../src/limits/budget-warnings.js";
import { type BudgetRule, ruleOf } from "../../../src/limits/rule.js";

const soft = (limitUsd = 1) =>
  ruleOf({ kind: "budget", key: "team:a", limitUsd, isHard: false, period: "month" }, 'team "a"', false) as BudgetRule;
const spent = (spentNanoUsd: number, period = "month:2026-01") => ({
  key: "budget:team:a",
  period,
  spentNanoUsd,
  reservedNanoUsd: 0,
});

describe("warnings of soft budgets", () => {
  it("come once at 80 % and once at 100 %, and again in the next period", () => {
    const told: string[] = [];
    const warnings = new BudgetWarnings((message) => told.push(message));
    for (const amount of [0, 799_999_999, 800_000_000, 900_000_000, 999_999_999, 1_000_000_000, 5_000_000_000]) {
      warnings.check(soft(), spent(amount));
    }
    expect(told).toEqual([
      'The soft budget of team "a" has reached 80 %: 0.80 of 1.00 USD (month:2026-01).',
      'The soft budget of team "a" has reached 100 %: 1.00 of 1.00 USD (month:2026-01).',
    ]);
    warnings.check(soft(), spent(850_000_000, "month:2026-02"));
    expect(told).toHaveLength(3);
  });

  it("come once where 80 % was jumped over", () => {
    const told: string[] = [];
    const warnings = new BudgetWarnings((message) => told.push(message));
    warnings.check(soft(), spent(2_000_000_000));
    warnings.check(soft(), spent(850_000_000));
    expect(told).toHaveLength(1);
  });

  it("come anew for a budget of another size", () => {
    const told: string[] = [];
    const warnings = new BudgetWarnings((message) => told.push(message));
    warnings.check(soft(1), spent(900_000_000));
    warnings.check(soft(1.1), spent(900_000_000));
    expect(told).toHaveLength(2);
  });

  it("S27: remembers ten thousand accounts", () => {
    let told = 0;
    const warnings = new BudgetWarnings(() => told++);
    for (let at = 0; at <= 10_000; at++) warnings.check(soft(), spent(1e9, `p${at}`));
    warnings.check(soft(), spent(1e9, "p10000"));
    expect(told).toBe(10_001);
    warnings.check(soft(), spent(1e9, "p0"));
    expect(told).toBe(10_002);
  });
});
