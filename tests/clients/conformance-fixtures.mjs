// The fixtures of the conformance suite: tools, resources and prompts, without a word of the SDK that serves them.

import { setTimeout as wait } from 'node:timers/promises';

// One red pixel, and a WAV file without samples.
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=';

export const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const embedded = (uri, mimeType, value) => ({ type: 'resource', resource: { uri, mimeType, text: value } });
export const content = (...items) => ({ content: items });
export const object = (properties = {}, required = []) => ({ type: 'object', properties, ...(required.length ? { required } : {}) });
const string = (description) => ({ type: 'string', description });

const log = (peer, data) => peer.notify({ method: 'notifications/message', params: { level: 'info', data } });
const elicit = (peer, message, requestedSchema) => peer.elicit({ message, requestedSchema });
const elicited = (result) => content(text(`Elicitation completed: action=${result.action}, content=${JSON.stringify(result.content)}`));

const choices = (kind) => [
  { const: 'value1', title: `First ${kind}` },
  { const: 'value2', title: `Second ${kind}` },
  { const: 'value3', title: `Third ${kind}` },
];

export const tools = {
  test_simple_text: {
    description: 'Returns one text.',
    call: () => content(text('This is a simple text response for testing.')),
  },
  test_image_content: { description: 'Returns an image.', call: () => content(image) },
  test_audio_content: {
    description: 'Returns a sound.',
    call: () => content({ type: 'audio', data: WAV, mimeType: 'audio/wav' }),
  },
  test_embedded_resource: {
    description: 'Returns a resource inside its result.',
    call: () => content(embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')),
  },
  test_multiple_content_types: {
    description: 'Returns a text, an image and a resource.',
    call: () =>
      content(
        text('Multiple content types test:'),
        image,
        embedded('test://mixed-content-resource', 'application/json', JSON.stringify({ test: 'data', value: 123 })),
      ),
  },
  test_tool_with_logging: {
    description: 'Logs three times while it works.',
    call: async (_args, peer) => {
      await log(peer, 'Tool execution started');
      await wait(50);
      await log(peer, 'Tool processing data');
      await wait(50);
      await log(peer, 'Tool execution completed');
      return content(text('Tool with logging executed successfully'));
    },
  },
  say_in_pieces: {
    description: 'Says each piece in a note of its own, first as logs and then as progress.',
    inputSchema: object({ pieces: { type: 'array', items: { type: 'string' } } }, ['pieces']),
    call: async ({ pieces }, peer) => {
      const progressToken = peer.progressToken;
      for (const piece of pieces) await log(peer, piece);
      for (const [at, message] of pieces.entries()) {
        await peer.notify({ method: 'notifications/progress', params: { progressToken, progress: at + 1, message } });
      }
      // An SDK forgets who listens when the result is there.
      await wait(50);
      return content(text('All is said.'));
    },
  },
  test_error_handling: {
    description: 'Always fails.',
    call: () => ({ isError: true, ...content(text('This tool intentionally returns an error for testing')) }),
  },
  test_tool_with_progress: {
    description: 'Reports its progress three times.',
    call: async (_args, peer) => {
      const progressToken = peer.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progressToken !== undefined) {
          const message = `Completed step ${progress} of 100`;
          await peer.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100, message } });
        }
        await wait(50);
      }
      return content(text(String(progressToken ?? 'no token')));
    },
  },
  test_sampling: {
    description: 'Asks the client for a completion.',
    inputSchema: object({ prompt: string('What to ask') }, ['prompt']),
    call: async ({ prompt }, peer) => {
      const messages = [{ role: 'user', content: text(prompt) }];
      const answer = await peer.sample({ messages, maxTokens: 100 });
      return content(text(`LLM response: ${answer.content.text ?? JSON.stringify(answer.content)}`));
    },
  },
  test_elicitation: {
    description: 'Asks the user for a name and an address.',
    inputSchema: object({ message: string('What to say') }, ['message']),
    call: async ({ message }, peer) => {
      const schema = object({ username: string("User's response"), email: string("User's email address") }, ['username', 'email']);
      const result = await elicit(peer, message, schema);
      return content(text(`User response: action=${result.action}, content=${JSON.stringify(result.content)}`));
    },
  },
  test_elicitation_sep1034_defaults: {
    description: 'Asks with a default for each primitive type.',
    call: async (_args, peer) =>
      elicited(
        await elicit(peer, 'Please review the defaults', object({
          name: { type: 'string', description: 'Name', default: 'John Doe' },
          age: { type: 'integer', description: 'Age', default: 30 },
          score: { type: 'number', description: 'Score', default: 95.5 },
          status: { type: 'string', description: 'Status', enum: ['active', 'inactive', 'pending'], default: 'active' },
          verified: { type: 'boolean', description: 'Verified', default: true },
        })),
      ),
  },
  test_elicitation_sep1330_enums: {
    description: 'Asks with each kind of enumeration.',
    call: async (_args, peer) =>
      elicited(
        await elicit(peer, 'Please choose', object({
          untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
          titledSingle: { type: 'string', oneOf: choices('Option') },
          legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
          untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
          titledMulti: { type: 'array', items: { anyOf: choices('Choice') } },
        })),
      ),
  },
  test_reconnection: {
    description: 'Closes its stream in the middle; the result waits for the client to come back.',
    call: async (_args, peer) => {
      await wait(50);
      peer.closeStream();
      await wait(100);
      return content(text('Reconnection test completed successfully.'));
    },
  },
  json_schema_2020_12_tool: {
    description: 'Tool with JSON Schema 2020-12 features',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    call: (args) => content(text(JSON.stringify(args))),
  },
};

const resources = {
  'test://static-text': {
    name: 'static-text',
    description: 'A text.',
    mimeType: 'text/plain',
    read: { text: 'This is the content of the static text resource.' },
  },
  'test://static-binary': { name: 'static-binary', description: 'An image.', mimeType: 'image/png', read: { blob: PNG } },
  'test://watched-resource': {
    name: 'watched-resource',
    description: 'A resource to subscribe to.',
    mimeType: 'text/plain',
    read: { text: 'Watched resource content' },
  },
};

const user = (item) => ({ role: 'user', content: item });
const argument = (name, description) => ({ name, description, required: true });

export const prompts = {
  test_simple_prompt: {
    description: 'A prompt without arguments.',
    get: () => [user(text('This is a simple prompt for testing.'))],
  },
  test_prompt_with_arguments: {
    description: 'A prompt with two arguments.',
    arguments: [argument('arg1', 'First test argument'), argument('arg2', 'Second test argument')],
    get: ({ arg1, arg2 }) => [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
  },
  test_prompt_with_embedded_resource: {
    description: 'A prompt that carries a resource.',
    arguments: [argument('resourceUri', 'URI of the resource to embed')],
    get: ({ resourceUri }) => [
      user(embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
      user(text('Please process the embedded resource above.')),
    ],
  },
  test_prompt_with_image: {
    description: 'A prompt that carries an image.',
    get: () => [user(image), user(text('Please analyze the image above.'))],
  },
};

/** What is asked for isn't there: JSON-RPC's invalid parameters. */
export class InvalidParams extends Error {
  constructor(message, data) {
    super(message);
    this.code = -32602;
    this.data = data;
  }
}

export function known(table, name, what) {
  if (!Object.hasOwn(table, name)) throw new InvalidParams(`Unknown ${what}: ${name}`);
  return table[name];
}

export function readResource(uri) {
  if (Object.hasOwn(resources, uri)) {
    const { mimeType, read } = resources[uri];
    return { contents: [{ uri, mimeType, ...read }] };
  }
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id === undefined) throw new InvalidParams('Resource not found', { uri });
  const data = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
  return { contents: [{ uri, mimeType: 'application/json', text: data }] };
}

export const listedTools = () =>
  Object.entries(tools).map(([name, { description, inputSchema }]) => ({ name, description, inputSchema: inputSchema ?? object() }));

export const listedResources = () =>
  Object.entries(resources).map(([uri, { name, description, mimeType }]) => ({ uri, name, description, mimeType }));

export const listedTemplates = [
  { uriTemplate: 'test://template/{id}/data', name: 'template', description: 'Data by id.', mimeType: 'application/json' },
];

export const listedPrompts = () =>
  Object.entries(prompts).map(([name, prompt]) => ({ name, description: prompt.description, arguments: prompt.arguments ?? [] }));

export function complete({ argument: { value } }) {
  const values = ['paris', 'park', 'party'].filter((candidate) => candidate.startsWith(value));
  return { completion: { values, total: values.length, hasMore: false } };
}
