export { virtualKeys } from "../auth/virtual-keys.js";
export type { HandlerContext, HostCallOptions } from "../router/call.js";
export { type AdminHandler, createAdminHandler } from "./admin/admin-handler.js";
export type { AdminGrant, AdminRole } from "./admin/grant.js";
export type { AdminOperationName } from "./admin/operations.js";
export type { AdminAudit, AdminHandlerOptions, AuthorizeRequest } from "./admin/options.js";
export type { AuthenticateRequest } from "./authenticate.js";
export { createHandler, type Handler } from "./handler.js";
export type { HandlerOptions } from "./options.js";
