// An OpenID provider as companies run one: `oidc-provider`, with its own pages to log in, over TLS on a free port.
//
//   node provider.mjs CERTIFICATE KEY [SECONDS]
//
// It knows one public client, `sluice`. Access tokens are JWTs for whatever resource is asked for (RFC 8707) and count for SECONDS; refresh
// tokens are used once. Whoever logs in as NAME is NAME@example.org of the groups `staff` and `NAME-team`. `POST /test/rotate` takes the signing key away
// and makes another; `GET /test/seen` tells how often each grant was asked for.

import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const [certificate, key, seconds = '3600'] = process.argv.slice(2);
const seen = {};

function signingKey() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' };
}

function provider(issuer) {
  const made = new Provider(issuer, {
    clients: [
      {
        client_id: 'sluice',
        client_name: 'sluice',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
        response_types: ['code'],
        redirect_uris: ['http://127.0.0.1/callback'],
      },
    ],
    jwks: { keys: [signingKey()] },
    cookies: { keys: ['tests'] },
    scopes: ['openid', 'offline_access'],
    rotateRefreshToken: true,
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_context, { accountId }) =>
      accountId && { email: `${accountId}@example.org`, groups: ['staff', `${accountId}-team`] },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => ({
          audience: resource,
          scope: '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: Number(seconds),
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    ttl: { DeviceCode: 60, Session: 600, Grant: 600, Interaction: 600, IdToken: 600, RefreshToken: 600 },
  });
  // A provider of the same name with other keys knows the same sessions and grants: they are kept beside it.
  made.on('grant.success', ({ oidc }) => {
    seen[oidc.params.grant_type] = (seen[oidc.params.grant_type] ?? 0) + 1;
  });
  made.on('server_error', (_context, error) => console.error(error));
  return made.callback();
}

let answer = (_request, response) => response.writeHead(503).end();
const server = https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  if (request.method === 'POST' && request.url === '/test/rotate') {
    answer = provider(`https://127.0.0.1:${server.address().port}`);
    response.writeHead(204).end();
  } else if (request.url === '/test/seen') {
    response.end(JSON.stringify(seen));
  } else {
    answer(request, response);
  }
});
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  answer = provider(issuer);
  console.log(`listening on ${issuer}`);
});
