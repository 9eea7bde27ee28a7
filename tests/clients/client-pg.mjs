// node-postgres: the same statements on whatever server the environment names; prints what it reads.

import pg from "pg";

const client = new pg.Client({ ssl: false });
await client.connect();
const show = (value) => console.log(JSON.stringify(value));

show((await client.query("SELECT id, name, email, doc, tags, seen FROM customer ORDER BY id")).rows);
show((await client.query("SELECT $1::int4 AS a, $2::text AS b, $3::jsonb AS c", [1, "x", { d: [1] }])).rows);
show((await client.query({ text: "SELECT n, hash FROM numbers WHERE n = $1", values: [7], rowMode: "array" })).rows);
for (const n of [1, 2, 3]) {
  show((await client.query({ name: "named", text: "SELECT hash FROM numbers WHERE n = $1", values: [n] })).rows);
}
show((await client.query({ text: "SELECT $1::int8 AS n, $2::bytea AS b", values: [5, Buffer.from([0, 255])], binary: true })).rows);
show((await client.query("SELECT 1 AS a; SELECT 2 AS b")).map((result) => result.rows));
for (const text of ["SELECT 1/0", "SELECT * FROM nowhere", "INSERT INTO customer VALUES (1, 'x')"]) {
  await client.query(text).catch((error) => show([error.code, error.message, error.detail ?? null, error.constraint ?? null]));
}
await client.query("BEGIN");
await client.query("UPDATE customer SET name = 'Zed' WHERE id = 1");
await client.query("ROLLBACK");
show((await client.query("SELECT name FROM customer WHERE id = 1")).rows);
const heard = new Promise((resolve) => client.once("notification", (message) => resolve(message.payload)));
await client.query("LISTEN news");
await client.query("NOTIFY news, 'hello'");
show(await heard);
show((await client.query("SELECT n FROM numbers ORDER BY n")).rows.length);
for (let n = 0; n < 20; n += 1) show((await client.query("SELECT $1::int4 AS n", [n])).rows[0].n);
await client.end();
