import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.protocol.ApiKeys;

/** Holds one conversation, a file of statements as tests/differential/README.md describes them, with both brokers. */
final class Script {
    private static final long WAIT_MS_MAX = 20_000;

    private final Codec codec;
    private final List<Side> sides;
    private final Report report;
    private final String name;
    private final boolean allVersions;
    private final Set<Short> served;
    private final List<String> lines = new ArrayList<>();
    private final Map<String, String> macros = new HashMap<>();
    private final Map<String, String> variables = new HashMap<>();
    private final List<JsonNode> last = new ArrayList<>();
    private String label = "";
    /** Requests since the label. */
    /** Whether the next request's answer is not waited for, and what was asked so. */
    private boolean isAside;
    private List<Side.Asked> aside;
    private int asked;

    Script(Path file, Codec codec, List<Side> sides, Report report, boolean allVersions,
            Set<Short> served) throws IOException {
        this.codec = codec;
        this.sides = sides;
        this.report = report;
        this.allVersions = allVersions;
        this.served = served;
        this.name = file.getFileName().toString().replace(".talk", "");
        variables.put("t", name);
        for (int after : new int[] {0, 1, 5, 6, 10, 11, 15, 20, 21}) {
            sides.forEach(side -> side.keep("base" + after, Codec.JSON.numberNode(Clock.BASE + after)));
        }
        for (String line : Files.readAllLines(file)) {
            // A line that begins with blanks goes on with the statement above.
            if (line.startsWith(" ") && !lines.isEmpty()) {
                lines.set(lines.size() - 1, lines.get(lines.size() - 1) + " " + line.strip());
            } else if (!line.isBlank() && !line.startsWith("#")) {
                lines.add(line.strip());
            }
        }
    }

    void hold() throws Exception {
        run(0, lines.size());
    }

    private void run(int from, int to) throws Exception {
        for (int at = from; at < to; at++) {
            String[] words = lines.get(at).split(" ", 2);
            if (words[0].equals("each") || words[0].equals("for")) {
                int end = endOf(at);
                String[] loop = substitute(words[1]).split(" ");
                if (words[0].equals("each")) {
                    forVersions(loop[0], at + 1, end);
                } else {
                    for (String value : Arrays.asList(loop).subList(2, loop.length)) {
                        variables.put(loop[0], value);
                        run(at + 1, end);
                    }
                }
                at = end;
            } else {
                try {
                    statement(lines.get(at));
                } catch (IOException | RuntimeException error) {
                    report.failed(name, label, lines.get(at) + ": " + error
                        + (error.getCause() == null ? "" : ": " + error.getCause()));
                }
            }
        }
    }

    private int endOf(int start) {
        int depth = 0;
        for (int at = start; at < lines.size(); at++) {
            String word = lines.get(at).split(" ", 2)[0];
            depth += word.equals("each") || word.equals("for") ? 1 : word.equals("end") ? -1 : 0;
            if (depth == 0) {
                return at;
            }
        }
        throw new IllegalArgumentException("no end of " + lines.get(start));
    }

    /** Runs a block once for every version of an API, or for the ends and the first flexible one. */
    private void forVersions(String api, int from, int to) throws Exception {
        ApiKeys key = Codec.api(api);
        if (!served.contains(key.id)) {
            report.skipped(name, api);
            return;
        }
        String topic = variables.get("t");
        for (int version = key.oldestVersion(); version <= key.latestVersion(false); version++) {
            boolean isEnd = version == key.oldestVersion() || version == key.latestVersion(false);
            boolean isFlexible = key.requestHeaderVersion((short) version) >= 2;
            boolean turns = !isEnd && isFlexible && key.requestHeaderVersion((short) (version - 1)) < 2;
            if (allVersions || isEnd || turns) {
                variables.put("v", String.valueOf(version));
                variables.put("api", api);
                variables.put("t", topic + "-" + api + "-" + version);
                run(from, to);
            }
        }
        variables.remove("v");
        variables.remove("api");
        variables.put("t", topic);
    }

    private String substitute(String text) {
        StringBuilder out = new StringBuilder();
        for (int at = 0; at < text.length(); at++) {
            int end = at + 1;
            while (end < text.length() && Character.isLetter(text.charAt(end))) {
                end++;
            }
            String value = text.charAt(at) == '$' ? variables.get(text.substring(at + 1, end)) : null;
            out.append(value == null ? String.valueOf(text.charAt(at)) : value);
            at = value == null ? at : end - 1;
        }
        return out.toString();
    }

    private void statement(String line) throws Exception {
        String[] words = line.split(" ", 2);
        String rest = words.length > 1 ? words[1] : "";
        if (words[0].equals("macro")) {
            String[] macro = rest.split(" ", 2);
            macros.put(macro[0], macro[1]);
            return;
        }
        if (macros.containsKey(words[0])) {
            // `$1` to `$9` are the words after the name, `$*` is what the highest of them leaves.
            String macro = macros.get(words[0]);
            int count = 0;
            while (macro.contains("$" + (count + 1))) {
                count++;
            }
            String[] arguments = rest.split(" ", count + 1);
            for (int at = 1; at <= count; at++) {
                macro = macro.replace("$" + at, arguments[at - 1].equals("''") ? "" : arguments[at - 1]);
            }
            statement(macro.replace("$*", arguments.length > count ? arguments[count] : ""));
            return;
        }
        rest = substitute(rest);
        switch (words[0]) {
            case "-": label = rest; asked = 0; break;
            case "from": {
                String[] since = rest.split(" ", 2);
                if (Integer.parseInt(variables.get("v")) >= Integer.parseInt(since[0])) statement(since[1]);
                break;
            }
            case "unanswered":
                sides.forEach(side -> side.setPatience(Side.IMPATIENCE_MS));
                statement(rest);
                sides.forEach(side -> side.setPatience(Side.PATIENCE_MS));
                break;
            case "aside": {
                sides.forEach(Side::exchangeConnections);
                isAside = true;
                statement(rest);
                isAside = false;
                sides.forEach(Side::exchangeConnections);
                break;
            }
            case "answered": {
                sides.forEach(Side::exchangeConnections);
                receive(aside);
                sides.forEach(Side::exchangeConnections);
                break;
            }
            case "topic": createTopic(rest.split(" ")); break;
            case "settle": settle(rest.split(" ")); break;
            case "gone": waitFor("Metadata", "{topics: [{name: '" + rest + "'}], allowAutoTopicCreation: false}",
                "/topics/0/errorCode", "3"); break;
            case "until": {
                String[] until = rest.split(" ", 4);
                waitFor(until[0], until[3], until[1], until[2]);
                break;
            }
            case "keep": keep(rest.split(" ")); break;
            case "fresh": for (Side side : sides) side.disconnect(); break;
            case "frame": frame(rest.split(" ", 2)); break;
            case "stream": stream(HexFormat.of().parseHex(rest.replace(" ", ""))); break;
            case "mangle": mangle(rest.split(" ", 2)); break;
            default: ask(words[0], rest); break;
        }
    }

    private int version(String[] named, ApiKeys key) {
        if (named.length > 1) {
            return Integer.parseInt(substitute(named[1]));
        }
        return named[0].equals(variables.get("api")) ? Integer.parseInt(variables.get("v")) : key.latestVersion(false);
    }

    /** Asks both and compares; the request stands as `Api` or `Api@version`. */
    private void ask(String request, String json) throws Exception {
        String[] named = request.split("@");
        ApiKeys key = Codec.api(named[0]);
        int version = version(named, key);
        JsonNode body = Codec.RELAXED.readTree(json.isEmpty() ? "{}" : json);
        JsonNode client = body.isObject() ? ((ObjectNode) body).remove("clientId") : null;
        String clientId = client == null ? "differential" : client.isNull() ? null : client.asText();
        List<Side.Asked> sent = new ArrayList<>();
        for (Side side : sides) {
            sent.add(side.send(key, version, clientId, body));
        }
        if (isAside) {
            aside = sent;
        } else {
            receive(sent);
        }
    }

    /** The answers to what was sent to both. */
    private void receive(List<Side.Asked> sent) throws Exception {
        last.clear();
        for (int at = 0; at < sides.size(); at++) {
            last.add(sides.get(at).receive(sent.get(at)));
        }
        compare(sent.get(0).key().name, sent.get(0).version());
    }

    private void compare(String api, int version) {
        asked++;
        String when = asked == 1 ? label : label + " (" + asked + ")";
        report.compare(name, when, api, version, Normal.of(last.get(0), sides.get(0)), Normal.of(last.get(1), sides.get(1)));
    }

    /** A right header and a body in hexadecimal. */
    private void frame(String[] words) throws Exception {
        String[] named = words[0].split("@");
        ApiKeys key = Codec.api(named[0]);
        int version = version(named, key);
        byte[] body = HexFormat.of().parseHex(words.length > 1 ? words[1].replace(" ", "") : "");
        byte[] head = codec.header(key, version, 7, "m");
        exchange(key, version, ByteBuffer.allocate(head.length + body.length).put(head).put(body).array());
    }

    /** A valid request with its last byte missing, and with one more. */
    private void mangle(String[] words) throws Exception {
        String[] named = words[0].split("@");
        ApiKeys key = Codec.api(named[0]);
        int version = version(named, key);
        JsonNode body = Codec.RELAXED.readTree(words[1]);
        byte[] frame = codec.request(key, version, 7, "m", body, unknown -> null);
        label = "the last byte is missing";
        asked = 0;
        exchange(key, version, Arrays.copyOf(frame, frame.length - 1));
        label = "a byte follows the request";
        asked = 0;
        exchange(key, version, Arrays.copyOf(frame, frame.length + 1));
    }

    /** Sends a frame as it is over a connection of its own. */
    private void exchange(ApiKeys key, int version, byte[] frame) throws Exception {
        last.clear();
        for (Side side : sides) {
            side.disconnect();
            side.write(frame);
            byte[] answer = side.read();
            last.add(answer == null ? side.noAnswer() : codec.answer(key, version, 7, answer));
            side.disconnect();
        }
        compare(key.name, version);
    }

    /** Bytes as they are; compared is only whether an answer comes. */
    private void stream(byte[] bytes) throws Exception {
        last.clear();
        for (Side side : sides) {
            side.disconnect();
            side.sendRaw(bytes);
            byte[] answer = side.read();
            last.add(answer == null ? side.noAnswer() : Codec.JSON.textNode("an answer"));
            side.disconnect();
        }
        compare("stream", 0);
    }

    /** `topic NAME [partitions=N] [key=value…]`: makes a topic on both and waits until it can be used. */
    private void createTopic(String[] words) throws Exception {
        ObjectNode topic = Codec.JSON.objectNode().put("name", words[0]).put("numPartitions", 1).put("replicationFactor", 1);
        ArrayNode configs = topic.putArray("configs");
        for (String word : Arrays.asList(words).subList(1, words.length)) {
            String[] pair = word.split("=", 2);
            if (pair[0].equals("partitions")) {
                topic.put("numPartitions", Integer.parseInt(pair[1]));
            } else {
                configs.addObject().put("name", pair[0]).put("value", pair[1]);
            }
        }
        ObjectNode body = Codec.JSON.objectNode().put("timeoutMs", 10_000);
        body.putArray("topics").add(topic);
        for (Side side : sides) {
            JsonNode answer = one(side, "CreateTopics", body);
            if (answer.at("/topics/0/errorCode").asInt(-1) != 0) {
                throw new IllegalStateException(side.name + " does not make topic " + topic + ": " + answer);
            }
        }
        settle(new String[] {words[0], topic.get("numPartitions").asText()});
    }

    private JsonNode one(Side side, String api, JsonNode body) throws Exception {
        ApiKeys key = Codec.api(api);
        return side.receive(side.send(key, key.latestVersion(false), "differential", body));
    }

    /** `settle NAME [PARTITIONS]`: waits until every partition of a topic answers on both. */
    private void settle(String[] words) throws Exception {
        int partitions = words.length > 1 ? Integer.parseInt(words[1]) : 1;
        ArrayNode asked = Codec.JSON.arrayNode();
        for (int index = 0; index < partitions; index++) {
            asked.addObject().put("partitionIndex", index).put("timestamp", -1);
        }
        waitFor("Metadata", "{topics: [{name: '" + words[0] + "'}], allowAutoTopicCreation: false}",
            "/topics/0/partitions/" + (partitions - 1) + "/errorCode", "0");
        for (int index = 0; index < partitions; index++) {
            waitFor("ListOffsets", "{replicaId: -1, topics: [{name: '" + words[0] + "', partitions: " + asked + "}]}",
                "/topics/0/partitions/" + index + "/errorCode", "0");
        }
    }

    /** Asks until the answer has the value at that place, or for 20 seconds. */
    private void waitFor(String api, String json, String pointer, String value) throws Exception {
        JsonNode body = Codec.RELAXED.readTree(json);
        for (Side side : sides) {
            long deadline = System.currentTimeMillis() + WAIT_MS_MAX;
            JsonNode answer = one(side, api, body);
            while (!answer.at(pointer).asText().equals(value)) {
                if (System.currentTimeMillis() > deadline) {
                    report.failed(name, label, side.name + ": " + api + " " + json + " has not " + value + " at " + pointer
                        + ": " + answer);
                    break;
                }
                Thread.sleep(2);
                answer = one(side, api, body);
            }
        }
    }

    /** `keep NAME POINTER`: calls a value of each side's last answer by a name. */
    private void keep(String[] words) {
        for (int at = 0; at < sides.size(); at++) {
            sides.get(at).keep(words[0], last.get(at).at(words[1]));
        }
    }
}
