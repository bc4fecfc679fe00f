import { afterEach } from "vitest";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { type Behaviour, type FakeUpstream, startFakeUpstream } from "../../src/testing/index.js";
import { expectNothingLeaks } from "./no-leaks.js";

/** Opens upstreams and routers that are closed after each test, and checks that nothing of them is left behind. */
export function openedForEachTest() {
  const watch = expectNothingLeaks();
  const opened: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close();
  });
  return {
    async upstream(...behaviours: Behaviour[]): Promise<FakeUpstream> {
      const started = watch.upstream(await startFakeUpstream());
      opened.push(started);
      started.next(...behaviours);
      return started;
    },
    /** The router's types are as wide as can be: these tests are about what happens at run time. */
    router(options: RouterOptions): Router {
      return this.watched(new Router<string>(options));
    },
    watched(router: Router): Router {
      watch.router(router);
      opened.push({ close: () => router.close({ drainMs: 0 }) });
      return router;
    },
  };
}
