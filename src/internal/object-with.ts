import { z } from "zod";

/** Is it an object that has these functions? It may come from another copy of this package, or be written by hand. */
export const isObjectWith =
  (...functions: readonly string[]) =>
  (value: unknown): boolean =>
    typeof value === "object" &&
    value !== null &&
    functions.every((name) => typeof Reflect.get(value, name) === "function");

/** Schema of an object of the user's that works. @param what - With its article: "a store". */
export const objectWith = <T>(what: string, ...functions: (keyof T & string)[]) =>
  z.custom<T>(isObjectWith(...functions), `expected ${what}: an object with the functions ${functions.join(", ")}`);
