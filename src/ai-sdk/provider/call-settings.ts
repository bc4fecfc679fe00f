import { routerError } from "../../errors/router-error.js";
import { isJsonObject, type JsonObject } from "../../providers/shared/json-object.js";
import type { CallOptions } from "../../router/call.js";
import { METADATA_NAME } from "./metadata.js";

/** What holds for every call of a model: the router's call options, but for `signal`, which the SDK gives. */
export type SwitchyardModelSettings = Omit<CallOptions, "signal">;

/**
 * Call options that a single call may set. `principal` and `priority` are not among them: they say who is charged, and
 * who comes first.
 */
const CALL_FIELDS = ["tags", "metadata", "deadlineMs", "require", "fallbacks", "sessionId", "cache"] as const;

/**
 * What a single call may say under `providerOptions.switchyard`. Who is charged is not among it: provider options often
 * come from a client.
 */
export interface SwitchyardProviderOptions extends Pick<CallOptions, (typeof CALL_FIELDS)[number]> {
  /** Fields of the request body that the SDK has no name for, such as `user` or `logit_bias`. */
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  /** Whether a schema binds the model to the letter, as OpenAI's `strict` does. @default true */
  readonly strictJsonSchema?: boolean | undefined;
}

/** Settings of one call, from all who have a say. */
export interface CallSettings {
  readonly options: CallOptions;
  readonly body: JsonObject;
  readonly isStrict: boolean;
}

const isCallField = (name: string) => CALL_FIELDS.some((field) => field === name);

/**
 * @param signal - Of the call.
 * @throws {RouterError} `invalid_request`: an option is unknown. Their values are the router's to check.
 */
export function callSettings(
  settings: SwitchyardModelSettings,
  providerOptions: Readonly<Record<string, unknown>> | undefined,
  signal: AbortSignal | undefined,
): CallSettings {
  const options: Record<string, unknown> = { ...settings };
  if (signal) options.signal = signal;
  let body: JsonObject = {};
  let isStrict = true;
  const own = providerOptions?.[METADATA_NAME];
  for (const [name, value] of Object.entries(isJsonObject(own) ? own : {})) {
    if (isCallField(name)) options[name] = value;
    else if (name === "body" && isJsonObject(value)) body = value;
    else if (name === "strictJsonSchema" && typeof value === "boolean") isStrict = value;
    else {
      throw routerError("invalid_request", {
        param: `providerOptions.${METADATA_NAME}.${name}`,
        message: `\`${name}\` is unknown or has a wrong type; expected ${CALL_FIELDS.join(", ")}, body (an object) or strictJsonSchema (a boolean)`,
      });
    }
  }
  return { options: options as CallOptions, body, isStrict }; // checked by the router, which reports every problem
}
