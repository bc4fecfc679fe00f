import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { describeLedger } from "./ledgers.js";

describeLedger("memory", async () => ({ open: async () => createMemoryLedger() }));
