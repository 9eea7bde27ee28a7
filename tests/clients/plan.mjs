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

/** Prints `{"result":…}` or `{"error":{code,message}}` for each step; exits 3 when the connection can't be made. */
export async function carryOut(plan, { connect, steps, close }) {
  try {
    await connect();
  } catch (error) {
    console.log(canonical({ refused: { code: error.code ?? error.status ?? null, message: String(error.message) } }));
    process.exit(3);
  }
  for (const { method, params } of plan) {
    try {
      console.log(canonical({ result: await steps[method](params) }));
    } catch (error) {
      console.log(canonical({ error: { code: error.code ?? null, message: String(error.message), data: error.data ?? null } }));
    }
  }
  await close();
}
