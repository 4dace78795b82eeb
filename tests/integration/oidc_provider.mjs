// The real authorization server of the integration tests: npm's oidc-provider, certified by the
// OpenID Foundation, on 127.0.0.1.
//
// Standard input: one line of JSON, {"lifetime": seconds, "clients": [{"id", "secret", "method"}]},
// so that no secret is ever a process argument; the server ends when standard input is closed.
// Standard output: one line {"issuer": "..."} when it listens, and one line
// {"granted": {id: count}, "refused": count} when it ends.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// What the package has to say goes where nobody parses it.
console.info = console.error;

const say = (message, then) => process.stdout.write(`${JSON.stringify(message)}\n`, then);

function providerAt(issuer, { lifetime, clients }) {
  return new Provider(issuer, {
    clients: clients.map(({ id, secret, method }) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_, client, token) => token.clientId === client.clientId,
      },
    },
    ttl: { ClientCredentials: lifetime },
  });
}

const lines = createInterface({ input: process.stdin });
const { value } = await lines[Symbol.asyncIterator]().next();
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = providerAt(issuer, JSON.parse(value));
  const seen = { granted: {}, refused: 0 };
  provider.on('grant.success', ({ oidc }) => {
    seen.granted[oidc.client.clientId] = (seen.granted[oidc.client.clientId] ?? 0) + 1;
  });
  provider.on('grant.error', () => { seen.refused += 1; });
  lines.on('close', () => say(seen, () => process.exit(0)));
  server.on('request', provider.callback());
  say({ issuer });
});
