// An official TypeScript client whose user is shown links: calls one tool and prints, as lines of JSON, what it is shown meanwhile and what
// comes of the call.
//
//   node client-approval.mjs '{"sdk":1|2,"url":"http://…","token":"…","tool":"…","arguments":{},"answer":"accept"}'

const target = JSON.parse(process.argv[2]);
const say = (line) => console.log(JSON.stringify(line));
const show = ({ params }) => {
  say({ link: params.url, id: params.elicitationId, mode: params.mode });
  return { action: target.answer };
};
const info = { name: `sluice-test-approval-${target.sdk}`, version: '1.0.0' };
const capabilities = { elicitation: { url: {} } };
const headers = { requestInit: { headers: { authorization: `Bearer ${target.token}` } } };

async function first() {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { ElicitRequestSchema, ElicitationCompleteNotificationSchema } = await import('@modelcontextprotocol/sdk/types.js');
  const client = new Client(info, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, show);
  client.setNotificationHandler(ElicitationCompleteNotificationSchema, ({ params }) => say({ complete: params.elicitationId }));
  return [client, new StreamableHTTPClientTransport(new URL(target.url), headers), (call, options) => client.callTool(call, undefined, options)];
}

async function second() {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const client = new Client(info, { capabilities, versionNegotiation: { mode: 'auto' } });
  client.setRequestHandler('elicitation/create', show);
  return [client, new StreamableHTTPClientTransport(new URL(target.url), headers), (call, options) => client.callTool(call, options)];
}

const [client, transport, callTool] = await (target.sdk === 1 ? first() : second());
await client.connect(transport);
try {
  const onprogress = ({ progress, message }) => say({ progress, message });
  // The first one gives a call up after seven seconds in which it hears nothing.
  const options = target.sdk === 1 ? { onprogress, timeout: 7000, resetTimeoutOnProgress: true } : { onprogress };
  say({ result: await callTool({ name: target.tool, arguments: target.arguments }, options) });
} catch (error) {
  say({ error: { code: error.code ?? null, message: String(error.message), data: error.data ?? null } });
}
await client.close();
