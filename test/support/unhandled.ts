/** Collects what escapes: unhandled rejections and uncaught exceptions, between `start` and `stop`. */
export function onceUnhandled(): { start(): void; stop(): Promise<unknown[]> } {
  let escaped: unknown[] = [];
  const note = (reason: unknown) => {
    escaped.push(reason);
  };
  return {
    start() {
      escaped = [];
      process.on("unhandledRejection", note);
      process.on("uncaughtException", note);
    },
    async stop() {
      // Rejections are reported when the promise jobs of their turn are done.
      await new Promise((resolve) => setImmediate(resolve));
      process.off("unhandledRejection", note);
      process.off("uncaughtException", note);
      return escaped;
    },
  };
}
