import { goalsOf, type Scenario } from "./scenario.js";

const PER_SECOND = 300;

/**
 * F5 of the figures to reach: what accounts cost that several processes share, while requests come whether or not those
 * before have been answered. Limits of a team, its users and their keys and the team's budget are in Redis, the ledger in
 * PostgreSQL, behind the requests' backs; both are on the loopback and without a disk to wait for.
 */
export const sharedAccounts: Scenario = {
  id: "shared-accounts",
  title: `${PER_SECOND} requests per second with limits and a budget in Redis and a ledger in PostgreSQL`,
  serves: ["F5"],
  isQuick: false,
  variants: ["plain", "accounted"],
  slowVariants: [],
  runs: { kind: "open-loop", perSecond: PER_SECOND },
  needs: ["redis-server", "postgres"],
  unit: { name: "requests", perOperation: 1 },
  goals: (results) =>
    goalsOf(results, ["accounted"], ({ accounted: { rate, latency, findings } }) => {
      const found = (name: string) => findings[name] ?? Number.NaN;
      return [
        {
          id: "F5",
          what: "requests per second, of 300 that come",
          measured: rate.median,
          bound: { atLeast: 0.99 * PER_SECOND },
          unit: "requests/s",
        },
        {
          id: "F5",
          what: "p50 with accounts, on top of a plain router's",
          measured: latency?.addedP50.median ?? Number.NaN,
          bound: { atMost: 3 },
          unit: "ms",
        },
        {
          id: "F5",
          what: "p99 with accounts, on top of a plain router's",
          measured: latency?.addedP99.median ?? Number.NaN,
          bound: { atMost: 30 },
          unit: "ms",
        },
        {
          id: "F5",
          what: `ledger of ${found("bookedRequests")} requests, less usage × price`,
          measured: Math.abs(found("ledgerLessUsageNanoUsd")),
          bound: { atMost: 0 },
          unit: "nano-USD",
        },
        {
          id: "F5",
          what: "spent of the budget, less usage × price",
          measured: Math.abs(found("budgetLessUsageNanoUsd")),
          bound: { atMost: 0 },
          unit: "nano-USD",
        },
        {
          id: "F5",
          what: "still reserved of the budget",
          measured: found("reservedNanoUsd"),
          bound: { atMost: 0 },
          unit: "nano-USD",
        },
        {
          id: "F5",
          what: "still held of the slots",
          measured: found("heldSlots"),
          bound: { atMost: 0 },
          unit: "slots",
        },
      ];
    }),
};
