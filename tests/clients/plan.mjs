// What the TypeScript clients share: reading a plan, carrying it out, printing what came of it.

const canonical = (value) =>
  JSON.stringify(value, (_key, inner) =>
    inner && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );

/** The steps on standard input: a JSON array of `{method, params}`. */
export async function readPlan() {
  let input = '';
  for await (const chunk of process.stdin) input += chunk;
  return JSON.parse(input);
}

/**
 * Prints `{"result":…}` or `{"error":{code,message}}` for each step, with `"notes":[…]` where the step asks for them: what the server
 * logged or told of its progress meanwhile. Exits 3 when the connection can't be made.
 */
export async function carryOut(plan, { client, transport, steps }) {
  let heard = [];
  client.fallbackNotificationHandler = async ({ method, params }) => {
    if (method === 'notifications/message') heard.push({ log: params.data });
  };
  const options = { onprogress: ({ message }) => heard.push({ progress: message }) };
  try {
    await client.connect(transport);
  } catch (error) {
    console.log(canonical({ refused: { code: error.code ?? error.status ?? null, message: String(error.message) } }));
    process.exit(3);
  }
  for (const { method, params, notes } of plan) {
    heard = [];
    let answer;
    try {
      answer = { result: await steps[method](params, notes && options) };
    } catch (error) {
      answer = { error: { code: error.code ?? null, message: String(error.message), data: error.data ?? null } };
    }
    console.log(canonical(notes ? { ...answer, notes: heard } : answer));
  }
  await client.close();
}
