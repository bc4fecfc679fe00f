import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../../src/errors/router-error.js";
import {
  closedLoop,
  conversations,
  poisson,
  publicProvider,
  replay,
  replica,
} from "../../../../src/testing/simulator/index.js";

/** What JavaScript lets through. */
const untyped = (options: unknown) => options as never;

describe("the options of models and workloads", () => {
  it("say what is wrong and what is allowed, instead of simulating nonsense or for ever", () => {
    const wrong: [() => unknown, RegExp][] = [
      [
        () => replica({ speedFactor: 0 }),
        /replica\.speedFactor: expected a number from 0\.000001 to 1000000000, received 0/,
      ],
      [() => replica({ slots: 1.5 }), /replica\.slots: expected an integer from 1/],
      [() => replica({ stepMs: Number.NaN }), /replica\.stepMs.*received NaN/],
      [() => replica(untyped({ speedfactor: 2 })), /replica\.speedfactor: is no option: there are speedFactor, stepMs/],
      [() => replica(untyped({ constructor: 2 })), /replica\.constructor: is no option/],
      [() => publicProvider({ slowShare: 2 }), /publicProvider\.slowShare: expected a number from 0 to 1, received 2/],
      [() => publicProvider({ rpm: 0 }), /publicProvider\.rpm/],
      [
        () => publicProvider({ incidents: [{ fromMs: 0, untilMs: 1, ttftSlowdown: -1 }] }),
        /publicProvider\.incidents\[0\]\.ttftSlowdown/,
      ],
      [
        () => replica({ incidents: [{ fromMs: 5, untilMs: 5 }] }),
        /replica\.incidents\[0\]\.untilMs: expected more than fromMs \(5\), received 5/,
      ],
      [() => replica({ incidents: [untyped({ fromMs: 5 })] }), /incidents\[0\]\.untilMs.*received undefined/],
      [
        () => replica({ incidents: [untyped({ fromMs: 0, untilMs: 1, ttftSlowdown: 2 })] }),
        /incidents\[0\]\.ttftSlowdown: is no option/,
      ],
      [
        () => replica({ incidents: [{ fromMs: 0, untilMs: 1, failure: untyped("fire") }] }),
        /incidents\[0\]\.failure: expected one of network, server, overloaded, received fire/,
      ],
      [() => replica({ incidents: untyped({ fromMs: 0 }) }), /replica\.incidents: expected a list/],
      [() => replica(untyped("fast")), /replica: expected an object/],
      [() => poisson({ rate: untyped("9") }), /poisson\.rate: .*, received "9"/],
      [() => poisson({ rate: -1 }), /poisson\.rate/],
      [() => poisson(untyped({})), /poisson\.rate: is missing: requests per second/],
      [() => closedLoop({ callers: 0 }), /closedLoop\.callers/],
      [() => conversations({ rate: Number.POSITIVE_INFINITY }), /conversations\.rate/],
      [() => replay([], 0), /replay\.speed/],
    ];
    for (const [make, message] of wrong) {
      expect(make, String(message)).toThrow(InvalidOptionsError);
      expect(make, String(message)).toThrow(message);
    }
  });

  it("may be left out, and incidents may last for good", () => {
    expect(() => replica({ speedFactor: undefined, prefixCache: false })).not.toThrow();
    const incidents = [{ fromMs: 0, untilMs: Number.POSITIVE_INFINITY, isLost: true }];
    expect(() => publicProvider({ incidents })).not.toThrow();
    expect(() => poisson({ rate: (nowMs) => nowMs, mostRate: 5 })).not.toThrow();
  });
});
