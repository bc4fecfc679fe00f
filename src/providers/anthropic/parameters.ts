import { type DialectParameters, translatedChat } from "../shared/parameters.js";

/** docs/providers.md shows this table. */
export const parameters = {
  "chat.completions": {
    ...translatedChat,
    thinking: "translated",
    service_tier: "translated",
    user: "translated",
    safety_identifier: "translated",
    // Anthropic's own name for what system messages say: guards read messages only.
    system: "dropped",
  },
} as const satisfies DialectParameters;
