// The real authorization server of the integration tests: npm's oidc-provider, certified by the
// OpenID Foundation, on 127.0.0.1.
//
// Standard input: one line of JSON, {"lifetime": seconds, "clients": [{"id", "secret", "method",
// ...further client metadata}], "tls": {"key", "cert", "ca"} for https that asks for certificates},
// so that no secret is ever a process argument; the server ends when standard input is closed.
// Standard output: one line {"issuer": "..."} when it listens, and one line
// {"granted": {id: count}, "refused": count} when it ends.
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// What the package has to say goes where nobody parses it.
console.info = console.error;
console.warn = console.error;

const say = (message, then) => process.stdout.write(`${JSON.stringify(message)}\n`, then);

const signing = ['HS', 'RS', 'PS', 'ES'].flatMap((kind) => [256, 384, 512].map((n) => kind + n));

function providerAt(issuer, { lifetime, clients, tls }) {
  return new Provider(issuer, {
    clients: clients.map(({ id, secret, method, ...metadata }) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      ...metadata,
    })),
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none',
      ...(tls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
    ],
    enabledJWA: { clientAuthSigningAlgValues: [...signing, 'EdDSA'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_, client, token) => (
          token.clientId === client.clientId || client.clientId === 'auditor'
        ),
      },
      mTLS: {
        enabled: Boolean(tls),
        certificateBoundAccessTokens: Boolean(tls),
        selfSignedTlsClientAuth: Boolean(tls),
        tlsClientAuth: Boolean(tls),
        getCertificate: ({ req }) => req.socket.getPeerX509Certificate(),
        certificateAuthorized: ({ req }) => req.socket.authorized,
        certificateSubjectMatches: ({ req }, property, expected) => (
          property === 'tls_client_auth_subject_dn'
          && req.socket.getPeerX509Certificate().subject === expected
        ),
      },
    },
    ttl: { ClientCredentials: lifetime },
  });
}

const lines = createInterface({ input: process.stdin });
const { value } = await lines[Symbol.asyncIterator]().next();
const settings = JSON.parse(value);
const server = settings.tls
  ? createTlsServer({ ...settings.tls, requestCert: true, rejectUnauthorized: false })
  : createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http${settings.tls ? 's' : ''}://127.0.0.1:${server.address().port}`;
  const provider = providerAt(issuer, settings);
  const seen = { granted: {}, refused: 0 };
  provider.on('grant.success', ({ oidc }) => {
    seen.granted[oidc.client.clientId] = (seen.granted[oidc.client.clientId] ?? 0) + 1;
  });
  provider.on('grant.error', (_, error) => {
    seen.refused += 1;
    console.error(error.error, error.error_description, error.error_detail);
  });
  lines.on('close', () => say(seen, () => process.exit(0)));
  server.on('request', provider.callback());
  say({ issuer });
});
