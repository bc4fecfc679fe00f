/** You will see: a caller let in by an access token of Keycloak's shape, and what happens to other tokens. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { createDirectory, Router } from "llm-switchyard";
import { jwt, keycloak, keysOrTokens, virtualKeys } from "llm-switchyard/auth";
import { createHandler } from "llm-switchyard/http";

// Stands for Keycloak: it publishes the public half of the key that it signs with.
const { publicKey, privateKey } = await generateKeyPair("RS256");
const keys = [{ ...(await exportJWK(publicKey)), kid: "one", use: "sig", alg: "RS256" }];
const issuer = createServer((_, response) => response.end(JSON.stringify({ keys }))).listen(0, "127.0.0.1");
await once(issuer, "listening");
const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
const sign = (claims: object) =>
  new SignJWT({ sub: "ada", typ: "Bearer", groups: ["/teams/search", "/offices/berlin"], ...claims })
    .setProtectedHeader({ alg: "RS256", kid: "one" })
    .setIssuer(`${url}/realms/demo`)
    .setAudience("llm")
    .setExpirationTime("5 minutes")
    .sign(privateKey);

// Who there is, and what each may do.
const directory = createDirectory({
  organizations: { acme: { models: ["*", "!secret-model"] } },
  teams: { search: { organization: "acme", models: ["chat"], tags: ["search"] } },
  users: { ada: { organization: "acme", teams: ["search"] } },
});
const tokens = jwt(keycloak({ url, realm: "demo", audience: "llm", teamGroups: "/teams/" }));
const authenticate = keysOrTokens(virtualKeys(directory), tokens);

const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] }, directory });
const handler = createHandler(router, { authenticate });
const ask = async (credential: string) => {
  const headers = { authorization: `Bearer ${credential}` };
  return (await handler.fetch(new Request("http://localhost/v1/models", { headers }))).status;
};

const token = await sign({});
const principal = await authenticate({ apiKey: token });
console.log("the token speaks for", principal);
const { tenant, mayUse } = await directory.resolve(principal);
console.log(`tenant ${tenant}; chat: ${mayUse("chat")}, secret-model: ${mayUse("secret-model")}`);
console.log("access token", await ask(token));
console.log("identity token", await ask(await sign({ typ: "ID" })));
console.log("changed token", await ask(`${token.slice(0, -4)}AAAA`));

// Keys are for programs, beside the tokens of people.
const { secret, entry } = await directory.keys.create({ user: "ada", team: "search", name: "nightly job" });
console.log("virtual key", await ask(secret));
await directory.keys.revoke(entry.id);
console.log("revoked key", await ask(secret));

await Promise.all([tokens.close(), router.close()]);
issuer.close();
