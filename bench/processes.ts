/** The processes of a run: each answers questions of the orchestrator over Node's own channel, one at a time. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";

/** A process under way, seen from the orchestrator. */
export interface BenchProcess<Ready> {
  /** What it said when it was ready. */
  readonly ready: Ready;
  /** @throws {Error} the process failed to answer, with its own message. */
  ask<Answer>(question: string, argument?: unknown): Promise<Answer>;
  stop(): Promise<void>;
}

type Message =
  | { readonly kind: "ready"; readonly value: unknown }
  | { readonly kind: "answer"; readonly value: unknown }
  | { readonly kind: "failure"; readonly message: string };

/**
 * Starts `entry` and waits until it is ready.
 *
 * @param nodeOptions - Flags of the child's own Node.
 * @throws {Error} it ended before it was ready.
 */
export async function startProcess<Ready>(
  entry: string,
  args: readonly string[],
  nodeOptions: readonly string[] = [],
): Promise<BenchProcess<Ready>> {
  const child = fork(entry, args, {
    execArgv: [...nodeOptions],
    // Portkey draws on its standard output.
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ready = await nextMessage(child, entry);
  return {
    ready: ready as Ready, // the caller names the entry, and so knows what it says
    async ask<Answer>(question: string, argument?: unknown) {
      child.send({ question, argument });
      return (await nextMessage(child, entry)) as Answer; // likewise
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

function nextMessage(child: ChildProcess, entry: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: Message) => {
      child.off("exit", onExit);
      if (message.kind === "failure") reject(new Error(message.message));
      else resolve(message.value);
    };
    const onExit = (code: number | null) => {
      child.off("message", onMessage);
      reject(new Error(`${entry} ended with code ${code}`));
    };
    child.once("message", onMessage);
    child.once("exit", onExit);
  });
}

/** The other side: says that it is ready, then answers until the orchestrator lets go. */
export function answerQuestions(role: {
  readonly ready: unknown;
  readonly answers: Readonly<Record<string, (argument: never) => unknown>>;
  readonly onEnd?: (() => Promise<void> | void) | undefined;
}): void {
  const send = (message: Message) => process.send?.(message);
  process.on("message", async ({ question, argument }: { question: string; argument: never }) => {
    try {
      const answer = role.answers[question];
      if (!answer) throw new Error(`no answer to "${question}"`);
      send({ kind: "answer", value: await answer(argument) });
    } catch (error) {
      send({ kind: "failure", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.on("disconnect", async () => {
    await role.onEnd?.();
    process.exit(0);
  });
  send({ kind: "ready", value: role.ready });
}
