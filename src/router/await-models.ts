import type { RequestState } from "./request.js";
import type { GroupInTurn, Runtime } from "./runtime.js";
import { withinRequest } from "./within-request.js";

/** Right after the start: nobody is known to have the model, and somebody has not said yet what it has. */
export function isAwaitingModels({ group, captured }: GroupInTurn): boolean {
  return captured !== undefined && group.models?.pending(captured) !== undefined;
}

/**
 * Waits until a deployment is known to have the model, or all have been asked.
 *
 * @throws {RouterError} the request was cancelled, or its deadline passed.
 */
export async function awaitModels(
  runtime: Runtime,
  request: RequestState,
  { group, captured = "" }: GroupInTurn,
): Promise<void> {
  for (;;) {
    const pending = group.models?.pending(captured);
    if (!pending) return;
    await withinRequest(runtime, request, pending);
  }
}
