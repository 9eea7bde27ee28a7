// The server under the conformance suite: revision 2026-07-28, on the official SDK 2.x.
//
//   node conformance-server-2026.mjs http [PORT]    prints `listening on http://127.0.0.1:PORT/mcp`
//   node conformance-server-2026.mjs stdio

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, createRequestStateCodec, inputRequired, Server } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import {
  complete,
  content,
  known,
  listedPrompts,
  listedResources,
  listedTemplates,
  listedTools,
  object,
  prompts,
  readResource,
  text,
  tools,
} from './conformance-fixtures.mjs';

const state = createRequestStateCodec({ key: randomBytes(32) });

const ask = {
  elicit: (message, properties) => inputRequired.elicit({ message, requestedSchema: object(properties, Object.keys(properties)) }),
  sample: (question, maxTokens) => inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens }),
  roots: () => inputRequired.listRoots(),
};

// Whether the client answered this key with something of the right shape.
const shaped = {
  elicitation: (answer, key) => answer?.action === 'accept' && answer.content?.[key] !== undefined,
  sampling: (answer) => answer?.content !== undefined,
  roots: (answer) => Array.isArray(answer?.roots),
};

const asking = {
  test_input_required_result_elicitation: async ({ answers }) =>
    shaped.elicitation(answers.user_name, 'name')
      ? content(text(`Hello, ${answers.user_name.content.name}!`))
      : inputRequired({ inputRequests: { user_name: ask.elicit('What is your name?', { name: { type: 'string' } }) } }),
  test_input_required_result_sampling: async ({ answers }) =>
    shaped.sampling(answers.capital_question)
      ? content(text(answers.capital_question.content.text ?? JSON.stringify(answers.capital_question.content)))
      : inputRequired({ inputRequests: { capital_question: ask.sample('What is the capital of France?', 100) } }),
  test_input_required_result_list_roots: async ({ answers }) =>
    shaped.roots(answers.client_roots)
      ? content(text(answers.client_roots.roots.map((root) => root.uri).join(', ')))
      : inputRequired({ inputRequests: { client_roots: ask.roots() } }),
  test_input_required_result_request_state: async ({ answers, seen }) =>
    shaped.elicitation(answers.confirm, 'ok') && seen?.step === 'confirm'
      ? content(text('state-ok'))
      : inputRequired({
          inputRequests: { confirm: ask.elicit('Please confirm', { ok: { type: 'boolean' } }) },
          requestState: await state.mint({ step: 'confirm' }),
        }),
  test_input_required_result_multiple_inputs: async ({ answers, seen }) =>
    seen?.step === 'all' && answers.user_name && answers.greeting && answers.client_roots
      ? content(text('All three came.'))
      : inputRequired({
          inputRequests: {
            user_name: ask.elicit('What is your name?', { name: { type: 'string' } }),
            greeting: ask.sample('Generate a greeting', 50),
            client_roots: ask.roots(),
          },
          requestState: await state.mint({ step: 'all' }),
        }),
  test_input_required_result_multi_round: async ({ answers, seen }) => {
    if (seen?.step === 2 && answers.step2) return content(text(`${seen.name} likes ${answers.step2.content?.color}`));
    if (seen?.step === 1 && answers.step1) {
      return inputRequired({
        inputRequests: { step2: ask.elicit('Step 2: What is your favorite color?', { color: { type: 'string' } }) },
        requestState: await state.mint({ step: 2, name: answers.step1.content?.name }),
      });
    }
    return inputRequired({
      inputRequests: { step1: ask.elicit('Step 1: What is your name?', { name: { type: 'string' } }) },
      requestState: await state.mint({ step: 1 }),
    });
  },
  test_input_required_result_tampered_state: async ({ answers, seen }) =>
    seen?.step === 'sealed' && answers.confirm
      ? content(text('state-ok'))
      : inputRequired({
          inputRequests: { confirm: ask.elicit('Please confirm', { ok: { type: 'boolean' } }) },
          requestState: await state.mint({ step: 'sealed' }),
        }),
  test_input_required_result_capabilities: async ({ answers, capabilities }) => {
    if (Object.keys(answers).length > 0) return content(text('Thank you.'));
    const inputRequests = {};
    if (capabilities.elicitation) inputRequests.user_name = ask.elicit('What is your name?', { name: { type: 'string' } });
    if (capabilities.sampling) inputRequests.greeting = ask.sample('Generate a greeting', 50);
    if (capabilities.roots) inputRequests.client_roots = ask.roots();
    return inputRequired({ inputRequests });
  },
};

function round(context, params) {
  return {
    answers: context.mcpReq.inputResponses ?? params.inputResponses ?? {},
    seen: context.mcpReq.requestState?.(),
    capabilities: context.mcpReq._meta?.['io.modelcontextprotocol/clientCapabilities'] ?? {},
  };
}

function newServer() {
  const server = new Server(
    { name: 'sluice-conformance-fixture', version: '1.0.0' },
    {
      capabilities: { completions: {}, logging: {}, prompts: {}, resources: { subscribe: true }, tools: {} },
      requestState: { verify: state.verify },
    },
  );
  const peer = (context) => ({
    progressToken: context.mcpReq._meta?.progressToken,
    notify: (notification) => context.mcpReq.notify(notification),
    closeStream: () => {},
  });
  const askingTools = Object.keys(asking).map((name) => ({ name, description: 'Asks before it answers.', inputSchema: object() }));
  const cached = { ttlMs: 60000, cacheScope: 'private' };
  server.setRequestHandler('tools/list', () => ({ ...cached, tools: [...listedTools(), ...askingTools] }));
  server.setRequestHandler('tools/call', ({ params }, context) =>
    Object.hasOwn(asking, params.name)
      ? asking[params.name](round(context, params))
      : known(tools, params.name, 'tool').call(params.arguments ?? {}, peer(context)),
  );
  server.setRequestHandler('resources/list', () => ({ ...cached, resources: listedResources() }));
  server.setRequestHandler('resources/templates/list', () => ({ ...cached, resourceTemplates: listedTemplates }));
  server.setRequestHandler('resources/read', ({ params }) => ({ ...cached, ...readResource(params.uri) }));
  const askingPrompt = { name: 'test_input_required_result_prompt', description: 'Asks before it answers.' };
  server.setRequestHandler('prompts/list', () => ({ ...cached, prompts: [...listedPrompts(), askingPrompt] }));
  server.setRequestHandler('prompts/get', ({ params }, context) => {
    if (params.name === askingPrompt.name) {
      const { answers } = round(context, params);
      return shaped.elicitation(answers.user_context, 'context')
        ? { messages: [{ role: 'user', content: text(`In the context of ${answers.user_context.content.context}.`) }] }
        : inputRequired({
            inputRequests: { user_context: ask.elicit('What context should the prompt use?', { context: { type: 'string' } }) },
          });
    }
    return { messages: known(prompts, params.name, 'prompt').get(params.arguments ?? {}) };
  });
  server.setRequestHandler('completion/complete', ({ params }) => complete(params));
  return server;
}

function serveHttp(port) {
  const serve = toNodeHandler(createMcpHandler(newServer, { legacy: 'reject' }));
  const guards = [localhostHostValidation(), localhostOriginValidation()];
  const listener = createServer((request, response) => {
    if (guards.every((guard) => guard(request, response))) serve(request, response);
  });
  listener.listen(port, '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${listener.address().port}/mcp`);
  });
}

const [mode, port] = process.argv.slice(2);
if (mode === 'stdio') serveStdio(newServer, { legacy: 'reject' });
else if (mode === 'http') serveHttp(Number(port ?? 0));
else {
  console.error('usage: conformance-server-2026.mjs http [PORT] | stdio');
  process.exit(2);
}
