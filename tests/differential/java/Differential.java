import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.kafka.common.protocol.ApiKeys;

/**
 * Holds the same conversations with Apache Kafka and with ringmain and compares every answer.
 *
 *   Differential APACHE RINGMAIN DIFFERENCES CONVERSATIONS [--long] [--verbose] [NAME...]
 *
 * The first two are HOST:PORT. DIFFERENCES is server/docs/differences.md. CONVERSATIONS is the folder of *.talk
 * files; names select some of them. --long asks in every version instead of the oldest, the first flexible and the newest.
 */
public final class Differential {
    private static final String[] SETTINGS = {
        "node.id", "num.partitions", "auto.create.topics.enable", "default.replication.factor", "min.insync.replicas",
        "message.max.bytes", "log.message.timestamp.type", "compression.type", "log.cleanup.policy", "fetch.max.bytes",
    };

    private Differential() {
    }

    public static void main(String[] arguments) throws Exception {
        Set<String> names = new TreeSet<>(List.of(arguments).subList(4, arguments.length));
        boolean allVersions = names.remove("--long");
        boolean verbose = names.remove("--verbose");
        Codec codec = new Codec();
        List<Side> sides = List.of(new Side("Apache", arguments[0], codec), new Side("ringmain", arguments[1], codec));
        Report report = new Report(new Allowed(Path.of(arguments[2])), verbose);
        boolean alike = settings(sides);
        for (Side side : sides) {
            awaitProducerIds(side);
        }
        Set<Short> served = served(sides.get(1));
        List<Path> files;
        try (Stream<Path> found = Files.list(Path.of(arguments[3]))) {
            files = found.filter(file -> file.toString().endsWith(".talk")).sorted().toList();
        }
        for (Path file : files) {
            String name = file.getFileName().toString().replace(".talk", "");
            if (names.isEmpty() || names.contains(name)) {
                long start = System.currentTimeMillis();
                new Script(file, codec, sides, report, allVersions, served).hold();
                System.out.println(name + ": " + (System.currentTimeMillis() - start) + " ms");
            }
        }
        System.exit(report.finish(allVersions && names.isEmpty()) && alike ? 0 : 1);
    }

    /** Waits until a broker has producer ids to give: Apache has none at first. */
    private static void awaitProducerIds(Side side) throws Exception {
        JsonNode body = Codec.RELAXED.readTree("{transactionalId: null, transactionTimeoutMs: 60000}");
        ApiKeys key = ApiKeys.INIT_PRODUCER_ID;
        for (int left = 1000; left > 0; left--) {
            JsonNode answer = side.receive(side.send(key, key.latestVersion(false), "differential", body));
            if (answer.path("errorCode").asInt(-1) == 0) {
                return;
            }
            Thread.sleep(10);
        }
        throw new IllegalStateException(side.name + " gives no producer id");
    }

    /** The APIs a broker says it has. */
    private static Set<Short> served(Side side) throws Exception {
        JsonNode answer = side.receive(side.send(ApiKeys.API_VERSIONS, 0, "differential", Codec.JSON.objectNode()));
        if (!answer.has("apiKeys")) {
            System.out.println(side.name + " does not answer: " + answer + "\n0 passed, 1 failed");
            System.exit(1);
        }
        Set<Short> keys = new TreeSet<>();
        answer.get("apiKeys").forEach(key -> keys.add((short) key.get("apiKey").asInt()));
        return keys;
    }

    /** Prints the settings that answers depend on; they have to be the same. */
    private static boolean settings(List<Side> sides) throws Exception {
        JsonNode body = Codec.RELAXED.readTree("{resources: [{resourceType: 4, resourceName: '1'}]}");
        List<String> told = new ArrayList<>();
        for (Side side : sides) {
            ApiKeys key = ApiKeys.DESCRIBE_CONFIGS;
            JsonNode answer = side.receive(side.send(key, key.latestVersion(false), "differential", body));
            StringBuilder text = new StringBuilder();
            for (String setting : SETTINGS) {
                for (JsonNode config : answer.at("/results/0/configs")) {
                    if (config.get("name").asText().equals(setting)) {
                        text.append(' ').append(setting).append('=').append(config.get("value").asText());
                    }
                }
            }
            told.add(text.toString());
            System.out.println(side.name + ":" + text);
        }
        boolean alike = told.get(0).equals(told.get(1));
        if (!alike) {
            System.out.println("the settings differ");
        }
        return alike;
    }
}
