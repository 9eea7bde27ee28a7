"""psycopg 3: the same statements on whatever server the environment names; prints what it reads."""

import psycopg
from psycopg.rows import tuple_row

with psycopg.connect(autocommit=True, row_factory=tuple_row) as connection:
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT id, name, email, doc, tags, seen FROM customer WHERE id >= %s ORDER BY id", (1,))
            for row in cursor:
                print(binary, row)
            cursor.execute("SELECT %s::int8, %s::numeric, %s::bytea, %s::uuid, %s::inet, %s::date", (
                2**40, "12.500", b"\x00\xff", "5f9c2a3e-0000-4000-8000-000000000001", "192.0.2.7", "2026-01-02"))
            print(binary, cursor.fetchone())
    for _ in range(8):  # From the sixth time on as a prepared statement.
        print(connection.execute("SELECT n, hash FROM numbers WHERE n = %s", (7,)).fetchone())
    try:
        connection.execute("INSERT INTO customer VALUES (1, 'x', 'x')")
    except psycopg.errors.UniqueViolation as error:
        print(error.diag.sqlstate, error.diag.message_primary, error.diag.message_detail)
    try:
        with connection.transaction():
            connection.execute("UPDATE customer SET name = 'Zed' WHERE id = 1")
            connection.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero as error:
        print(error.diag.sqlstate)
    print(connection.execute("SELECT name FROM customer WHERE id = 1").fetchone())
    with connection.transaction(), connection.cursor(name="portal") as cursor:
        cursor.itersize = 50
        cursor.execute("SELECT n FROM numbers ORDER BY n LIMIT 120")
        print(sum(row[0] for row in cursor))
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::int4", (value,)) for value in range(5)]
        pipeline.sync()
        print([cursor.fetchone() for cursor in cursors])
    try:
        with connection.pipeline():
            connection.execute("INSERT INTO numbers VALUES (0, 'undone')")
            connection.execute("SELECT * FROM nowhere")
            connection.execute("SELECT 2")
    except psycopg.errors.Error as error:
        print(type(error).__name__)
    print(connection.execute("SELECT count(*) FROM numbers").fetchone())
    with connection.transaction():
        connection.execute("CREATE TEMP TABLE taken (a int, b text)")
        with connection.cursor() as cursor:
            with cursor.copy("COPY taken FROM STDIN") as copy:
                for number in range(1000):
                    copy.write_row((number, f"row\t{number}"))
            with cursor.copy("COPY taken FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                copy.write_row((5000, "binary"))
            with cursor.copy("COPY (SELECT * FROM taken ORDER BY a DESC LIMIT 3) TO STDOUT") as copy:
                print(list(copy.rows()))
            with cursor.copy("COPY (SELECT * FROM taken ORDER BY a LIMIT 2) TO STDOUT (FORMAT csv, HEADER)") as copy:
                print(b"".join(bytes(data) for data in copy))
    print(connection.execute("SELECT count(*) FROM taken").fetchone())
