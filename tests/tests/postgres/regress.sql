\echo types
SELECT 1::int2, -2147483648::int4, 9223372036854775807::int8, 1.10::numeric(6,2), 'NaN'::numeric, 1e300::float8, '-Infinity'::float4;
SELECT 'x'::char(3), 'y'::varchar(2), 'z'::name, E'\\x00ff'::bytea, B'101', X'1F'::bit(8), '{1,2}'::int[], '{{a,"b c"},{NULL,"NULL"}}'::text[];
SELECT '2024-02-29'::date, '23:59:59.999999'::time, '12:00+02'::timetz, '2000-01-01 00:00:00.5'::timestamp, '1 year 2 mons -3 days 04:05:06'::interval;
SELECT '{"b": 1, "a": [null, true, "\u00e9"]}'::json, '{"b": 1, "a": 1, "a": 2}'::jsonb, '<a>x</a>'::xml IS DOCUMENT;
SELECT '192.168.0.0/24'::cidr, '::1'::inet, '08:00:2b:01:02:03'::macaddr, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid;
SELECT '(1,2)'::point, '[(0,0),(1,1)]'::lseg, '<(0,0),1>'::circle, '[1,5)'::int4range, '{[1,2],[4,6]}'::int4multirange;
SELECT to_tsvector('simple', 'the quick fox'), 'a & b'::tsquery, ROW(1, NULL, 'a,b'), ROW(ROW(1), ARRAY['"', '\']), NULL::void;
SELECT 'Ünïcödé', '日本語', '🐘', U&'\0441\043B\043E\043D', E'tab\there', E'quote''s', $$dollar 'quoted'$$, $x$a $$ b$x$;
SELECT length('日本語'), octet_length('🐘'), upper('straße'), chr(128024), ascii('é');
CREATE TYPE pg_temp.mood AS ENUM ('sad', 'happy'); CREATE TYPE pg_temp.pair AS (a int, b text); CREATE DOMAIN pg_temp.small AS int CHECK (VALUE < 10);
SELECT 'sad'::pg_temp.mood, (1, 'x')::pg_temp.pair, 5::pg_temp.small, enum_range(NULL::pg_temp.mood);
SELECT 50::pg_temp.small;
SELECT 'angry'::pg_temp.mood;
\echo queries
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n, sum(n) OVER (ORDER BY n), lag(n) OVER () FROM t;
SELECT a, count(*) FILTER (WHERE b > 1), array_agg(b ORDER BY b DESC), string_agg(b::text, ',' ORDER BY b) FROM (VALUES (1, 1), (1, 2), (2, 3)) v(a, b) GROUP BY ROLLUP (a) ORDER BY a NULLS LAST;
SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(x, n) LEFT JOIN LATERAL (SELECT x * 2 AS d WHERE x <> 2) l ON true ORDER BY x;
SELECT * FROM ROWS FROM (unnest(ARRAY[1, 2]), unnest(ARRAY['a', 'b', 'c'])) AS r(a, b);
SELECT x FROM (VALUES (1), (2), (3)) v(x) EXCEPT SELECT 2 ORDER BY 1; SELECT DISTINCT ON (a) a, b FROM (VALUES (1, 'z'), (1, 'y'), (2, 'x')) v(a, b) ORDER BY a, b;
SELECT CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END, COALESCE(NULL, 'c'), NULLIF(1, 1), GREATEST(1, 3, 2), 5 BETWEEN 1 AND 9, 'abc' LIKE 'a%', 'abc' ~ '^a.c$';
SELECT '{"a": {"b": [1, 2, {"c": "d"}]}}'::jsonb #> '{a,b,2}', jsonb_path_query_array('[1, 2, 3]', '$[*] ? (@ > 1)'), jsonb_pretty('{"a": [1, {"b": 2}]}');
SELECT; SELECT 1 WHERE false; VALUES (NULL::text), (''), (' ');
SELECT 'a' AS "a b", 'b' AS "A""B", 1 AS "?column?";
SELECT repeat('長', 50000) AS wide; SELECT g, repeat('x', g % 77) FROM generate_series(1, 2000) g;
\echo data
CREATE TEMP TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int NOT NULL CHECK (a >= 0), b text UNIQUE DEFAULT 'none', c timestamptz);
INSERT INTO t (a, b) VALUES (1, 'one'), (2, 'two') RETURNING *; INSERT INTO t (a) VALUES (3), (3);
INSERT INTO t (a, b) VALUES (9, 'one') ON CONFLICT (b) DO UPDATE SET a = EXCLUDED.a RETURNING id, a, b;
INSERT INTO t (a, b) VALUES (-1, 'minus'); INSERT INTO t (a, b) VALUES (NULL, 'null'); INSERT INTO t (id, a) VALUES (1, 1);
UPDATE t SET b = b || '!' WHERE a = 2 RETURNING a, b; DELETE FROM t USING (VALUES (2)) v(x) WHERE t.a = v.x;
MERGE INTO t USING (VALUES (9, 'x'), (10, 'y')) s(a, b) ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT (a, b) VALUES (s.a, s.b);
SELECT a, b, c FROM t ORDER BY a; TRUNCATE t RESTART IDENTITY; SELECT count(*) FROM t;
CREATE INDEX ON t (a); CREATE VIEW pg_temp.v AS SELECT a FROM t; ALTER TABLE t ADD COLUMN d numeric DEFAULT 1.5; DROP TABLE t; DROP TABLE t CASCADE;
\echo errors
SELECT nothing; SELECT * FROM no.table; SELECT no_function(1); SELECT 'a' + 1; SELECT 2147483647 + 1;
SELECT 1/0 \; SELECT 2;
SELECT (1, 2) = (1, 2, 3); SELECT '{1,'::int[]; SELECT '{"a"'::json; SELECT '2024-02-30'::date; SELECT repeat('x', -1), substr('abc', 2, -1);
SELECT 'é' AS "ü" FROM "nö"; GRANT nobody TO no_role; SET no.such = 'x'; SHOW no.such; SET work_mem = 'x'; ALTER SYSTEM SET no = 1;
DO $$ BEGIN RAISE EXCEPTION 'own %', 1 USING ERRCODE = 'P9999', DETAIL = 'detail', HINT = 'hint', COLUMN = 'c', TABLE = 't', SCHEMA = 's', CONSTRAINT = 'k', DATATYPE = 'd'; END $$;
DO $$ BEGIN BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught %', SQLERRM; END; RAISE WARNING 'warned'; RAISE INFO 'informed'; RAISE LOG 'logged'; END $$;
DO LANGUAGE plpgsql $$ DECLARE r record; BEGIN FOR r IN SELECT g FROM generate_series(1, 3) g LOOP RAISE NOTICE 'g=%', r.g; END LOOP; EXECUTE 'SELECT 1'; PERFORM nothing(); END $$;
\echo transactions
BEGIN; SELECT 1/0; SELECT 'ignored'; ROLLBACK; COMMIT; BEGIN; BEGIN; COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; CREATE TABLE no (a int); ROLLBACK; START TRANSACTION; SAVEPOINT s; SELECT x; ROLLBACK TO s; RELEASE s; SELECT 'fine'; END;
BEGIN; SELECT 1/0; COMMIT; SELECT 'after'; ROLLBACK TO nowhere; RELEASE nowhere;
BEGIN\; CREATE TEMP TABLE multi (a int)\; INSERT INTO multi VALUES (1), (2)\; SELECT * FROM multi\; COMMIT;
INSERT INTO multi VALUES (3)\; SELECT 1/0\; INSERT INTO multi VALUES (4);
SELECT count(*) FROM multi; BEGIN; LOCK TABLE multi IN SHARE MODE; COMMIT AND CHAIN; SELECT 'chained'; ROLLBACK AND NO CHAIN;
\echo cursors
BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT g, g * g FROM generate_series(1, 10) g; FETCH FIRST FROM c; FETCH 2 FROM c; FETCH BACKWARD 1 FROM c; FETCH LAST FROM c; FETCH RELATIVE -3 FROM c; FETCH 0 FROM c; COMMIT;
FETCH ABSOLUTE 5 FROM c; MOVE FORWARD ALL FROM c; FETCH NEXT FROM c; CLOSE c; FETCH c; CLOSE ALL;
CREATE FUNCTION pg_temp.opened() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'named'; BEGIN OPEN r FOR SELECT 1 AS one, 'x' AS x; RETURN r; END $$;
BEGIN; SELECT pg_temp.opened(); FETCH ALL FROM named; COMMIT;
\set FETCH_COUNT 7
SELECT g FROM generate_series(1, 20) g; SELECT 10/(15 - g) FROM generate_series(1, 20) g;
\unset FETCH_COUNT
\echo prepared
PREPARE p (int, text) AS SELECT $1 + 1 AS a, $2 || '!' AS b; EXECUTE p (1, 'x'); EXECUTE p ('y', 'x'); EXECUTE p (1); EXECUTE q; PREPARE p AS SELECT 1; SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name; DEALLOCATE p; DEALLOCATE p; DEALLOCATE ALL;
SELECT 1 AS a, 'b' AS b \gdesc
SELECT 'SELECT ' || g FROM generate_series(1, 3) g \gexec
SELECT 5 AS five \gset
SELECT :five + 1;
SELECT 1, 2 \gx
SELECT a, b, c FROM (VALUES ('x', 1, 2), ('y', 2, 3)) v(a, b, c) \crosstabview
\echo copies
CREATE TEMP TABLE k (a int, b text, c text[]);
COPY k FROM STDIN;
1	tab\tnew\nback\\	{a,"b c"}
2	\N	{}
3	\101\x42	\N
\.
COPY k (a, b) FROM STDIN (FORMAT csv, HEADER true, NULL 'nil', QUOTE '''');
a,b
4,'x,''y'''
5,nil
\.
COPY k (a) FROM STDIN;
6
bad
\.
COPY k FROM STDIN (DELIMITER '|');
7|short
\.
COPY k TO STDOUT; COPY (SELECT * FROM k ORDER BY a) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *, DELIMITER ';'); COPY k (b, a) TO STDOUT (NULL '-', DELIMITER ',');
COPY (INSERT INTO k VALUES (8, 'returned') RETURNING a, b) TO STDOUT; COPY nothing TO STDOUT; COPY (SELECT 1/(3 - g) FROM generate_series(1, 5) g) TO STDOUT; COPY (SELECT 1 WHERE false) TO STDOUT;
\copy (SELECT a, b FROM k ORDER BY a) to pstdout csv
\copy k (a) from stdin
9
\.
SELECT count(*) FROM k; 
BEGIN; COPY k (a) FROM STDIN;
x
\.
SELECT 1; ROLLBACK;
\echo large objects and functions
BEGIN; SELECT lo_create(987654); SELECT lo_put(987654, 0, 'large'), lo_get(987654), lo_get(987654, 1, 2); SELECT loread(lo_open(987654, 262144), 10), lo_unlink(987654); COMMIT; SELECT lo_get(987654);
CREATE FUNCTION pg_temp.many(INOUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql AS $$ SELECT g, 'n' || g FROM generate_series(1, a) g $$; SELECT * FROM pg_temp.many(3); SELECT pg_temp.many(2);
CREATE PROCEDURE pg_temp.does(INOUT x int) LANGUAGE plpgsql AS $$ BEGIN x := x * 2; COMMIT; RAISE NOTICE 'x=%', x; END $$; CALL pg_temp.does(21); BEGIN; CALL pg_temp.does(1); ROLLBACK;
CREATE FUNCTION pg_temp.fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', TG_OP, NEW.a; RETURN NEW; END $$; CREATE TRIGGER f BEFORE INSERT ON k FOR EACH ROW EXECUTE FUNCTION pg_temp.fires(); INSERT INTO k VALUES (100), (101);
\echo the rest
LISTEN a; LISTEN "b C"; SELECT pg_listening_channels(); UNLISTEN a; NOTIFY nobody; SELECT pg_notify('nobody', 'x'); UNLISTEN *;
EXPLAIN (COSTS off, VERBOSE) SELECT * FROM k WHERE a = 1; EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT 1; EXPLAIN (FORMAT json, COSTS off) SELECT 1;
SET datestyle = 'SQL, DMY'; SELECT '2024-02-03'::date; SET timezone = 'Asia/Tokyo'; SELECT '2024-01-01 00:00+00'::timestamptz; SET intervalstyle = iso_8601; SELECT '1 day 2 hours'::interval; SET bytea_output = escape; SELECT '\xff41'::bytea; SET LOCAL work_mem = '1MB'; RESET ALL; DISCARD TEMP; DISCARD ALL;
SHOW ALL \g /dev/null
SET search_path = pg_catalog; SELECT 1::int4; RESET search_path; SET ROLE no_one; SET SESSION AUTHORIZATION DEFAULT; SELECT current_user, session_user;
VACUUM k; ANALYZE; CHECKPOINT; VACUUM customer; REINDEX TABLE customer; CLUSTER; COMMENT ON TABLE customer IS 'ünïcode'; COMMENT ON TABLE customer IS NULL;
;;; /* a comment */ -- another
SELECT /* nested /* comment */ */ 1 -- end
;
\d+ customer
\l crm
\dn
\du sluice
\sf shout
\echo the end
