import { z } from "zod";
import type { ObserverHook } from "../observers.js";
import { pluginNameSchema } from "../options.js";
import { parseOwnOptions } from "../own-options.js";
import type { Plugin } from "../plugin.js";

/** Functions that watch; each gets the events of its kind, and what it returns is ignored. */
export type CallbacksOptions = {
  readonly [Hook in ObserverHook]?: Plugin[Hook] | undefined;
} & {
  /** Needed where one router has several of these. @default "callbacks" */
  readonly name?: string | undefined;
};

const callback = z.custom<(event: never) => unknown>((value) => typeof value === "function", "expected a function");

const callbacksSchema = z.strictObject({
  name: pluginNameSchema.default("callbacks"),
  onRequest: callback.optional(),
  onAttempt: callback.optional(),
  onFirstToken: callback.optional(),
  onReply: callback.optional(),
  onFallback: callback.optional(),
  onCooldown: callback.optional(),
  onWarning: callback.optional(),
  onFailure: callback.optional(),
  onSettled: callback.optional(),
} satisfies Record<ObserverHook | "name", z.ZodType>);

/**
 * A plugin of functions that watch requests from beside: they are called a little later, they delay and harm nothing,
 * and where one throws or rejects there is a warning at most once a minute.
 *
 * @throws {InvalidOptionsError} an unknown name, or something that is no function.
 */
export function callbacks(options: CallbacksOptions): Plugin {
  const { name } = parseOwnOptions("callbacks", callbacksSchema, options);
  // Nothing but known hooks and the name was found; `undefined` stands for an absent hook everywhere.
  return { ...options, name } as Plugin;
}
