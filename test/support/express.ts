import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";

type Next = (error?: unknown) => void;
type Middleware = (request: IncomingMessage, response: ExpressResponse, next: Next) => void;
interface ExpressResponse extends ServerResponse {
  send(text: string): void;
  status(code: number): ExpressResponse;
}
interface ExpressRouter {
  (request: IncomingMessage, response: ServerResponse): void;
  use(middleware: Middleware): void;
  use(path: string, middleware: Middleware | ExpressRouter): void;
  get(path: string, middleware: Middleware): void;
}
interface Express {
  (): ExpressRouter;
  Router(): ExpressRouter;
  json(): Middleware;
  raw(options: { type: string }): Middleware;
  text(options: { type: string }): Middleware;
}

/** Express itself; the package comes without types, so here is what the tests use of it. */
export const express = createRequire(import.meta.url)("express") as Express;
