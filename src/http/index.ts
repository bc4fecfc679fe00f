export type { AuthenticateRequest } from "./authenticate.js";
export { createHandler, type Handler } from "./handler.js";
export type { HandlerOptions } from "./options.js";
