import { describe, expect, it } from "vitest";
import { PatternScanner } from "../../../../src/plugins/guardrails/pattern-scanner.js";
import {
  cardRules,
  ibanRules,
  ipRules,
  nationalIdRules,
  phoneRules,
} from "../../../../src/plugins/guardrails/pii/detectors.js";
import { EmailScanner } from "../../../../src/plugins/guardrails/pii/email-scanner.js";
import { NATIONAL_IDS, type NationalIdLocale } from "../../../../src/plugins/guardrails/pii/national-ids.js";
import { matchesIn, type Scanner } from "../../../../src/plugins/guardrails/scanner.js";

const found = (text: string, scanner: Scanner) =>
  matchesIn(text, [scanner]).map(({ start, end }) => text.slice(start, end));

describe("e-mail addresses", () => {
  const scanner = new EmailScanner();
  it.each([
    ["Write to alice@example.com.", "alice@example.com"],
    ["<bob.smith+news@mail.example.co.uk>", "bob.smith+news@mail.example.co.uk"],
    ["mailto:x_y@sub-domain.example.org?subject=hi", "x_y@sub-domain.example.org"],
    ["联系我alice@example.com谢谢", "alice@example.com"],
    ["jürgen@bücher.example", "jürgen@bücher.example"],
    ["Contact......alice@example.com", "alice@example.com"],
    [
      `${"=".repeat(500)}${"a.".repeat(40)}bob@example.com`,
      `${"a.".repeat(40).slice(-61)}bob@example.com`.replace(/^\./, ""),
    ],
    ["see alice@example.com.5 more", "alice@example.com"],
    ["a@b@example.com", "b@example.com"],
    ["o'brien@example.ie", "o'brien@example.ie"],
  ])("are found: %s", (text, expected) => expect(found(text, scanner)).toEqual([expected]));

  it.each(["@mention", "a@b", "user@localhost", "x@1.2", "foo @ example.com", "a@-b.com", "@", "a@.com"])(
    "are not seen in %s",
    (text) => expect(found(text, scanner)).toEqual([]),
  );
});

describe("phone numbers", () => {
  const scanner = new PatternScanner(phoneRules());
  it.each([
    ["Call +1 (415) 555-2671!", "+1 (415) 555-2671"],
    ["+44 20 7946 0958", "+44 20 7946 0958"],
    ["+491701234567", "+491701234567"],
    ["0049 170 1234567", "0049 170 1234567"],
    ["(415) 555-2671", "(415) 555-2671"],
    ["415-555-2671", "415-555-2671"],
    ["06 12 34 56 78", "06 12 34 56 78"],
    ["030/12345678", "030/12345678"],
    ["020 7946 0958", "020 7946 0958"],
    ["+39 06 698 12345", "+39 06 698 12345"],
  ])("are found: %s", (text, expected) => expect(found(text, scanner)).toEqual([expected]));
  it.each(["2024-01-02 10:20:30", "01.02.2024 10:20", "01-02-2024", "v1.2.3.4", "12345", "1 + 2 = 3", "ISO 9001:2015"])(
    "are not seen in %s",
    (text) => expect(found(text, scanner)).toEqual([]),
  );
});

describe("card numbers", () => {
  const scanner = new PatternScanner(cardRules());
  it.each([
    "4242424242424242",
    "4242 4242 4242 4242",
    "5555-5555-5555-4444",
    "378282246310005",
    "3782 822463 10005",
    "6011111111111117",
    "30569309025904",
    "2223003122003222",
    "4222222222222",
  ])("are found: %s", (number) => expect(found(`Card ${number} 12/27`, scanner)).toEqual([number]));
  it.each(["4242424242424241", "0000000000000000", "4444444444444", "42424242424242424242424242", "9242424242424240"])(
    "fail by checksum or form: %s",
    (number) => expect(found(`Card ${number}.`, scanner)).toEqual([]),
  );
});

describe("account numbers", () => {
  const scanner = new PatternScanner(ibanRules());
  it.each([
    "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19",
    "FR14 2004 1010 0505 0001 3M02 606",
    "NO9386011117947",
    "mt84 malt 0110 0001 2345 mtlc ast0 01s",
    "NL91 ABNA 0417 1643 00",
    "CH9300762011623852957",
  ])("are found: %s", (iban) => expect(found(`IBAN ${iban}, please`, scanner)).toEqual([iban]));
  it.each(["DE89370400440532013001", "ZZ89370400440532013000", "DE8937040044053201300", "GB29 NWBK 6016 1331 9268 18"])(
    "fail by checksum, country or length: %s",
    (iban) => expect(found(`IBAN ${iban}.`, scanner)).toEqual([]),
  );
});

describe("addresses of the internet", () => {
  const scanner = new PatternScanner(ipRules());
  it.each([
    "192.168.0.1",
    "8.8.8.8",
    "::1",
    "2001:db8::8a2e:370:7334",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "fe80::1",
    "::ffff:192.0.2.128",
  ])("are found: %s", (address) => expect(found(`from ${address} at`, scanner)).toEqual([address]));
  it("are found at the end of a sentence", () => expect(found("It was 10.0.0.1.", scanner)).toEqual(["10.0.0.1"]));
  it.each(["256.1.1.1", "1.2.3", "12:30:45", "std::vector", "a::b", "::"])("are not seen in %s", (text) =>
    expect(found(`x ${text} y`, scanner)).toEqual([]),
  );
});

/** Published examples and test numbers of the issuers or of Wikipedia, and each with a wrong checksum or form. */
const IDS: Record<NationalIdLocale, { good: string[]; bad: string[] }> = {
  at: { good: ["1237 010180"], bad: ["1238 010180", "1237 410180"] },
  au: { good: ["123 456 782"], bad: ["123 456 783"] },
  be: { good: ["85.07.30-033.28", "17073003384"], bad: ["85.07.30-033.29"] },
  br: { good: ["529.982.247-25", "52998224725"], bad: ["529.982.247-26", "111.111.111-11"] },
  ca: { good: ["130 692 544"], bad: ["130 692 545", "046 454 286"] },
  ch: { good: ["756.9217.0769.85"], bad: ["756.9217.0769.84"] },
  cn: { good: ["11010519491231002X"], bad: ["110105194912310021", "11010519491331002X"] },
  de: { good: ["86095742719", "86 095 742 719"], bad: ["86095742718", "12345678901"] },
  dk: { good: ["070761-4285"], bad: ["320761-4285", "0707614285"] },
  es: { good: ["12345678Z", "X1234567L", "12345678-z"], bad: ["12345678A", "X1234567M"] },
  fi: { good: ["131052-308T"], bad: ["131052-308U"] },
  fr: { good: ["255081416802538", "2 55 08 14 168 025 38"], bad: ["255081416802539"] },
  gb: { good: ["AB 12 34 56 C", "ab123456c", "943 476 5919"], bad: ["GB 12 34 56 C", "AB 12 34 56 E", "943 476 5918"] },
  in: { good: ["2341 2341 2346", "999999990019"], bad: ["2341 2341 2347"] },
  it: { good: ["RSSMRA85T10A562S"], bad: ["RSSMRA85T10A562T"] },
  nl: { good: ["111222333", "1112.22.333"], bad: ["111222334"] },
  no: { good: ["01010750160"], bad: ["01010750161"] },
  pl: { good: ["44051401359"], bad: ["44051401358"] },
  pt: { good: ["123456789"], bad: ["123456788"] },
  se: { good: ["811218-9876", "19811218-9876"], bad: ["811218-9877"] },
  us: {
    good: ["536-90-4399", "536 90 4399", "912-70-1234"],
    bad: ["000-12-3456", "666-12-3456", "536-00-4399", "912-10-1234"],
  },
};

describe.each(Object.entries(IDS))("national ids of %s", (locale, { good, bad }) => {
  const scanner = new PatternScanner(nationalIdRules([locale as NationalIdLocale]));
  it.each(good)("are found: %s", (id) => expect(found(`The number is ${id}, thanks.`, scanner)).toEqual([id]));
  it.each(bad)("fail by checksum or form: %s", (id) => expect(found(`The number is ${id}.`, scanner)).toEqual([]));
  it("are not found inside of longer ones", () => {
    for (const id of good) expect(found(`x${id}9`, scanner)).toEqual([]);
  });
});

it("every locale has numbers in these tests", () => expect(Object.keys(IDS)).toEqual(Object.keys(NATIONAL_IDS)));
