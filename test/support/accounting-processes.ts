import { type ChildProcess, fork } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Ledger, LedgerEntry } from "../../src/ledger/ledger.js";
import type { KillPoint, ProcessOrders } from "./accounting-process.js";
import { compiledProcess } from "./compiled-process.js";

export interface ProcessReport {
  /** Requests that went to the upstream. */
  readonly sent: number;
  /** Error codes of the others. */
  readonly codes: Readonly<Record<string, number>>;
  readonly isDone?: boolean | undefined;
}

export interface AccountingProcess {
  readonly child: ChildProcess;
  go(): void;
  /** Other orders, after it is done with those before: resolves when it is ready. */
  again(orders: ProcessOrders): Promise<void>;
  /** It is done, and was told to stay: now it goes. */
  leave(): void;
  /** Lets held answers go. */
  release(): void;
  /** The next report. */
  report(): Promise<ProcessReport>;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
}

/** Starts a process, and waits until it is ready. */
export async function startProcess(orders: ProcessOrders): Promise<AccountingProcess> {
  const child = fork(await compiledProcess("accounting-process"), [JSON.stringify(orders)], {
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const messages: unknown[] = [];
  const waiting: ((message: unknown) => void)[] = [];
  // What is said to a process that is just being killed finds nobody.
  child.on("error", () => {});
  child.on("message", (message) => {
    const take = waiting.shift();
    if (take) take(message);
    else messages.push(message);
  });
  const next = <T>() =>
    new Promise<T>((resolve, reject) => {
      if (messages.length > 0) {
        resolve(messages.shift() as T);
        return;
      }
      waiting.push(resolve as (message: unknown) => void);
      void gone.then(() => reject(new Error("The process is gone.")));
    });
  const say = (message: string | ProcessOrders) => {
    if (child.connected) child.send(message as string); // Node's type has no readonly objects
  };
  await next();
  return {
    child,
    gone,
    go: () => say("go"),
    async again(more) {
      say(more);
      await next();
    },
    leave: () => say("leave"),
    release: () => say("release"),
    report: () => next<ProcessReport>(),
  };
}

/** What a token costs at the price of the tests, in nano-USD. */
export const TOKEN_NANO_USD = 1_000;
const USAGE = { prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 };

/** An upstream that keeps a record of its own: what it was asked, and what it answered in full. */
export interface RecordingUpstream {
  readonly url: string;
  /** By the text of the message. */
  readonly asked: Map<string, number>;
  readonly answered: Map<string, number>;
  close(): Promise<void>;
}

export async function recordingUpstream(answerMs = 3): Promise<RecordingUpstream> {
  const asked = new Map<string, number>();
  const answered = new Map<string, number>();
  const count = (map: Map<string, number>, label: string) => map.set(label, (map.get(label) ?? 0) + 1);
  const server = createServer((request, response) => {
    // Whoever asks is killed in the middle of it, now and then: reading what is left of the request fails.
    answer(request, response).catch(() => response.destroy());
  });
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    let text = "";
    for await (const piece of request) text += piece;
    const body = JSON.parse(text) as { stream?: boolean; messages: { content: string }[] };
    const label = body.messages[0]?.content.trim() ?? "";
    count(asked, label);
    await sleep(answerMs);
    const head = { id: "x", created: 1, model: "m" };
    response.on("finish", () => count(answered, label));
    if (!body.stream) {
      const choices = [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }];
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ ...head, object: "chat.completion", choices, usage: USAGE }));
      return;
    }
    response.setHeader("content-type", "text/event-stream");
    const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
    const chunk = (delta: object, finish_reason: string | null) =>
      event({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] });
    for (const content of ["Hel", "lo", "."]) {
      response.write(chunk({ content }, null));
      await sleep(1);
    }
    response.write(chunk({}, "stop"));
    response.end(`${event({ ...head, object: "chat.completion.chunk", choices: [], usage: USAGE })}data: [DONE]\n\n`);
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    answered,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** The points at which a process can die on its way (F12). */
export const KILL_POINTS: readonly KillPoint[] = [
  "store.admit:before",
  "store.admit:sent",
  "store.admit:answered",
  "upstream.call:before",
  "upstream.call:sent",
  "upstream.call:answered",
  "upstream.read:answered",
  "ledger.append:before",
  "ledger.append:sent",
  "ledger.append:answered",
  "store.settle:before",
  "store.settle:sent",
  "store.settle:answered",
];
/** With budgets in a store of their own: while a part of them is drawn, given back, or a sign of life is sent. */
export const APART_KILL_POINTS: readonly KillPoint[] = [
  "budgetStore.admit:before",
  "budgetStore.admit:sent",
  "budgetStore.admit:answered",
  "budgetStore.settle:sent",
  "budgetStore.heartbeat:sent",
];

/** With a ledger that takes longer than R12 lets a reservation wait: while it says itself what is to be booked. */
export const SLOW_KILL_POINTS: readonly KillPoint[] = [
  "store.adjust:before",
  "store.adjust:sent",
  "store.adjust:answered",
  "ledger.append:sent",
  "ledger.append:answered",
  "store.settle:before",
  "store.settle:sent",
  "store.settle:answered",
];

export interface Reconciliation {
  readonly bookedNanoUsd: number;
  readonly problems: readonly string[];
}

/**
 * Compares the ledger with the upstream's own record, request by request: what was answered is booked once, as it was
 * or, where the process died before it could, as abandoned with no less.
 *
 * @param areBudgetsApart - What abandoned requests had reserved is in the parts of budgets, not in their own entries.
 */
export async function reconcile(
  ledger: Ledger,
  upstream: RecordingUpstream,
  organization: string,
  requests: number,
  areBudgetsApart: boolean,
): Promise<Reconciliation> {
  const problems: string[] = [];
  const byLabel = new Map<string, LedgerEntry[]>();
  let bookedNanoUsd = 0;
  for await (const entry of ledger.entries({ organization })) {
    bookedNanoUsd += entry.costNanoUsd ?? 0;
    const label = entry.tags[0] ?? "";
    byLabel.set(label, [...(byLabel.get(label) ?? []), entry]);
  }
  for (let at = 0; at < requests; at++) {
    const label = `${organization}-${at}`;
    const entries = byLabel.get(label) ?? [];
    const answered = (upstream.answered.get(label) ?? 0) * USAGE.total_tokens * TOKEN_NANO_USD;
    const asked = (upstream.asked.get(label) ?? 0) * USAGE.total_tokens * TOKEN_NANO_USD;
    const kinds = entries.map(({ kind }) => kind).join("+");
    const booked = entries.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0), 0);
    // A process that was taken for dead, and was not: what was supposed of it is taken back.
    const isCorrected = entries.length === 3 && new Set(entries.map(({ kind }) => kind)).size === 3;
    if (entries.length > 1 && !isCorrected) problems.push(`${label}: booked more than once (${kinds})`);
    if (kinds === "usage" && booked > asked) problems.push(`${label}: ${booked} booked, ${asked} asked`);
    const isElsewhere = areBudgetsApart && kinds === "abandoned";
    if (booked < answered && !isElsewhere) problems.push(`${label}: ${booked} booked (${kinds}), ${answered} answered`);
  }
  return { bookedNanoUsd, problems };
}
