// The server under the conformance suite: revision 2025-11-25, on the official SDK 1.x.
//
//   node conformance-server.mjs http [PORT]    prints `listening on http://127.0.0.1:PORT/mcp`
//   node conformance-server.mjs stdio

import { randomUUID } from 'node:crypto';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  GetPromptRequestSchema,
  isInitializeRequest,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import {
  complete,
  known,
  listedPrompts,
  listedResources,
  listedTemplates,
  listedTools,
  prompts,
  readResource,
  tools,
} from './conformance-fixtures.mjs';

function newServer() {
  const server = new Server(
    { name: 'sluice-conformance-fixture', version: '1.0.0' },
    { capabilities: { completions: {}, logging: {}, prompts: {}, resources: { subscribe: true }, tools: {} } },
  );
  const peer = (extra) => ({
    progressToken: extra._meta?.progressToken,
    notify: (notification) => extra.sendNotification(notification),
    elicit: (params) => extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema),
    sample: (params) => extra.sendRequest({ method: 'sampling/createMessage', params }, CreateMessageResultSchema),
    closeStream: () => extra.closeSSEStream?.(),
  });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: listedTools() }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) =>
    known(tools, params.name, 'tool').call(params.arguments ?? {}, peer(extra)),
  );
  server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: listedResources() }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: listedTemplates }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params }) => readResource(params.uri));
  server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
  server.setRequestHandler(ListPromptsRequestSchema, () => ({ prompts: listedPrompts() }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params }) => ({
    messages: known(prompts, params.name, 'prompt').get(params.arguments ?? {}),
  }));
  server.setRequestHandler(CompleteRequestSchema, ({ params }) => complete(params));
  return server;
}

// Keeps every event of a stream, so that a client that comes back gets what it missed.
class Events {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return String(this.#events.length - 1);
  }

  async getStreamIdForEventId(id) {
    return this.#events[Number(id)]?.stream;
  }

  async replayEventsAfter(lastId, { send }) {
    const last = Number(lastId);
    const { stream } = this.#events[last];
    for (let id = last + 1; id < this.#events.length; id += 1) {
      const event = this.#events[id];
      // A priming event is stored with an empty message.
      if (event.stream === stream && Object.keys(event.message).length > 0) await send(String(id), event.message);
    }
    return stream;
  }
}

function serveHttp(port) {
  const sessions = new Map();
  const app = createMcpExpressApp();
  app.all('/mcp', async (request, response) => {
    const id = request.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (!transport && id !== undefined) {
      response.status(404).json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } });
      return;
    }
    if (!transport) {
      if (request.method !== 'POST' || !isInitializeRequest(request.body)) {
        response.status(400).json({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'No session' } });
        return;
      }
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: new Events(),
        retryInterval: 500,
        onsessioninitialized: (session) => sessions.set(session, transport),
        onsessionclosed: (session) => sessions.delete(session),
      });
      await newServer().connect(transport);
    }
    await transport.handleRequest(request, response, request.body);
  });
  const listener = app.listen(port, '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${listener.address().port}/mcp`);
  });
}

const [mode, port] = process.argv.slice(2);
if (mode === 'stdio') await newServer().connect(new StdioServerTransport());
else if (mode === 'http') serveHttp(Number(port ?? 0));
else {
  console.error('usage: conformance-server.mjs http [PORT] | stdio');
  process.exit(2);
}
