import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * The differences that are meant: rows of the tables in server/docs/differences.md whose header is
 * `| request | when | answer | Apache Kafka | ringmain |`. A request is an API with its versions, such as `Produce 3-8`;
 * the others are patterns in which `*` stands for anything. A row that nothing needs is an error, if every conversation
 * it could stand for was held.
 */
final class Allowed {
    private static final Pattern HEADER = Pattern.compile("\\| *request *\\| *when *\\| *answer *\\|.*");

    private final List<Row> rows = new ArrayList<>();

    private static final class Row {
        private final String line;
        private final String api;
        private final int first;
        private final int last;
        private final Pattern[] patterns = new Pattern[4];
        private boolean used;

        Row(String line, String[] cells) {
            this.line = line;
            String[] request = cells[0].split(" ");
            this.api = request[0];
            String[] versions = request.length > 1 ? request[1].split("-") : new String[] {"0", "32767"};
            this.first = Integer.parseInt(versions[0]);
            this.last = Integer.parseInt(versions[versions.length - 1]);
            for (int at = 0; at < 4; at++) {
                patterns[at] = Pattern.compile(("\\Q" + cells[at + 1] + "\\E").replace("*", "\\E.*\\Q"), Pattern.DOTALL);
            }
        }

        boolean fits(String api, int version, String... values) {
            boolean fits = (this.api.equals("*") || this.api.equals(api)) && first <= version && version <= last;
            for (int at = 0; fits && at < 4; at++) {
                fits = patterns[at].matcher(values[at]).matches();
            }
            return fits;
        }
    }

    Allowed(Path document) throws IOException {
        boolean inTable = false;
        for (String line : Files.readAllLines(document)) {
            if (!line.startsWith("|")) {
                inTable = false;
            } else if (HEADER.matcher(line).matches()) {
                inTable = true;
            } else if (inTable && !line.startsWith("|-")) {
                String[] cells = line.substring(1, line.lastIndexOf('|')).split("\\|", -1);
                if (cells.length != 5) {
                    throw new IOException(document + ": a row of five cells was expected: " + line);
                }
                for (int at = 0; at < cells.length; at++) {
                    cells[at] = cells[at].strip().replace("`", "");
                }
                rows.add(new Row(line, cells));
            }
        }
    }

    boolean allows(String api, int version, String when, String path, String apache, String ringmain) {
        boolean allowed = false;
        for (Row row : rows) {
            if (row.fits(api, version, when, path, apache, ringmain)) {
                row.used = true;
                allowed = true;
            }
        }
        return allowed;
    }

    List<String> unused() {
        return rows.stream().filter(row -> !row.used).map(row -> row.line).toList();
    }
}
