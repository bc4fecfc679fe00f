import { z } from "zod";
import { headerProblem } from "../transport/headers.js";

/** Schema of the option `headers` of plugins that call a service. */
export const headersSchema = z
  .record(z.string(), z.string("expected a text"))
  .superRefine((headers, context) => {
    for (const [name, value] of Object.entries(headers)) {
      const problem = headerProblem(name, value);
      if (problem) context.addIssue({ code: "custom", message: problem, path: [name] });
    }
  })
  .default({});
