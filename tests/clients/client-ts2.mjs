// The official TypeScript client, SDK 2.x. Carries out a plan and prints what each step brought, as one line of canonical JSON.
//
//   echo '[{"method":"tools/list"},{"method":"tools/call","params":{"name":"echo","arguments":{}}}]' |
//     node client-ts2.mjs '{"url":"http://…","token":"…"}' | '{"command":["node","server.mjs"]}'

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { carryOut, readPlan } from './plan.mjs';

const target = JSON.parse(process.argv[2]);
const client = new Client({ name: 'sluice-test-ts2', version: '1.0.0' }, { capabilities: {} });
const transport = target.url
  ? new StreamableHTTPClientTransport(new URL(target.url), {
      requestInit: target.token ? { headers: { authorization: `Bearer ${target.token}` } } : {},
    })
  : new StdioClientTransport({ command: target.command[0], args: target.command.slice(1), stderr: 'ignore' });

await carryOut(await readPlan(), {
  client,
  transport,
  steps: {
    'tools/list': (params) => client.listTools(params),
    'tools/call': (params, options) => client.callTool(params, options),
    'resources/list': (params) => client.listResources(params),
    'resources/read': (params) => client.readResource(params),
    'prompts/list': (params) => client.listPrompts(params),
    'prompts/get': (params) => client.getPrompt(params),
  },
});
