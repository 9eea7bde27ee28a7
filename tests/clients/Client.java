// JDBC with the PostgreSQL driver: simple and extended protocol, server-side prepared statements in the binary format, batches, cursors,
// COPY, errors, cancelling. Prints what it sees; the same whether it talks to the server or through the gateway.
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;

public class Client {
    public static void main(String[] args) throws Exception {
        for (String mode : new String[] {"extended", "simple", "extendedForPrepared", "extendedCacheEverything"}) {
            System.out.println("mode " + mode);
            session(mode);
        }
    }

    private static void session(String mode) throws Exception {
        String url = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");
        Properties properties = new Properties();
        properties.setProperty("user", env("PGUSER"));
        properties.setProperty("password", env("PGPASSWORD"));
        properties.setProperty("sslmode", env("PGSSLMODE"));
        properties.setProperty("preferQueryMode", mode);
        // From the first execution on, prepared on the server and read in the binary format.
        properties.setProperty("prepareThreshold", "1");
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            values(connection);
            batch(connection);
            cursor(connection);
            errors(connection);
            copy(connection);
            cancel(connection);
        }
    }

    private static String env(String name) {
        return System.getenv(name);
    }

    private static void values(Connection connection) throws SQLException {
        String sql = "SELECT id, name, email, doc, tags, seen AT TIME ZONE 'UTC', id::numeric / 3, id > 1 FROM customer WHERE id <= ? ORDER BY id";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int most = 1; most <= 3; most++) {
                statement.setInt(1, most);
                print(statement.executeQuery());
            }
        }
    }

    private static void batch(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TEMP TABLE batch (n int PRIMARY KEY, t text)");
        }
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO batch VALUES (?, ?)")) {
            for (int n = 0; n < 300; n++) {
                statement.setInt(1, n);
                statement.setString(2, "row " + n);
                statement.addBatch();
            }
            System.out.println("inserted " + statement.executeBatch().length);
        }
        try (Statement statement = connection.createStatement()) {
            boolean more = statement.execute("SELECT count(*), max(t) FROM batch; SELECT sum(n) FROM batch");
            while (more) {
                print(statement.getResultSet());
                more = statement.getMoreResults();
            }
        }
    }

    private static void cursor(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        long sum = 0;
        try (PreparedStatement statement = connection.prepareStatement("SELECT n, hash FROM numbers ORDER BY n")) {
            statement.setFetchSize(777);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    sum += rows.getInt(1) + rows.getString(2).length();
                }
            }
        }
        connection.rollback();
        connection.setAutoCommit(true);
        System.out.println("sum " + sum);
    }

    private static void errors(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("INSERT INTO batch VALUES (1000, 'kept out')");
            try {
                statement.executeUpdate("INSERT INTO batch VALUES (1000, 'twice')");
            } catch (SQLException error) {
                System.out.println(error.getSQLState() + " " + error.getMessage());
            }
            try {
                statement.executeQuery("SELECT 1");
            } catch (SQLException error) {
                System.out.println(error.getSQLState());
            }
        }
        connection.rollback();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            print(statement.executeQuery("SELECT count(*) FROM batch"));
        }
    }

    private static void copy(Connection connection) throws Exception {
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        System.out.println("in " + copy.copyIn("COPY batch FROM STDIN (FORMAT csv)", new StringReader("2000,\"a, b\"\n2001,c\n")));
        var out = new ByteArrayOutputStream();
        System.out.println("out " + copy.copyOut("COPY (SELECT n, t FROM batch WHERE n >= 2000 ORDER BY n) TO STDOUT", out));
        System.out.print(out.toString(StandardCharsets.UTF_8));
    }

    private static void cancel(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("SELECT pg_sleep(60)");
        } catch (SQLException error) {
            System.out.println(error.getSQLState() + " " + error.getMessage());
        }
        try (Statement statement = connection.createStatement()) {
            print(statement.executeQuery("SELECT 'still here'"));
        }
    }

    private static void print(ResultSet rows) throws SQLException {
        int count = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            StringBuilder line = new StringBuilder();
            for (int at = 1; at <= count; at++) {
                line.append(at > 1 ? " | " : "").append(rows.getObject(at));
            }
            System.out.println(line);
        }
        rows.close();
    }
}
