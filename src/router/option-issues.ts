export * from "../internal/option-issues.js";
