import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * An answer as it is compared: a map from paths to values. What has to differ between two brokers is replaced: ids of
 * topics by their names, producer ids by the order in which they were first seen, addresses, the cluster's id and the
 * metadata's offset by a word, times near now too; of texts for people only their presence counts. Elements of a list
 * of objects are named by what identifies them, since Kafka gives them no order.
 */
final class Normal {
    private static final String[] NAMES = {
        "name", "topicName", "topic", "topicId", "resourceName", "partitionIndex", "index", "partition", "partitionId",
        "apiKey", "nodeId", "brokerId", "key", "groupId", "memberId",
    };

    /** A UUID as Kafka writes it. */
    private static final java.util.regex.Pattern ID = java.util.regex.Pattern.compile("[A-Za-z0-9_-]{22}");

    private static final java.util.regex.Pattern UUID =
        java.util.regex.Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

    private final Side side;
    private final Map<String, String> values = new TreeMap<>();

    private Normal(Side side) {
        this.side = side;
    }

    static Map<String, String> of(JsonNode answer, Side side) {
        Normal normal = new Normal(side);
        normal.walk("", "", answer);
        return normal.values;
    }

    private void walk(String path, String name, JsonNode node) {
        if (node.isObject()) {
            for (Iterator<Map.Entry<String, JsonNode>> fields = node.fields(); fields.hasNext();) {
                Map.Entry<String, JsonNode> field = fields.next();
                walk(path.isEmpty() ? field.getKey() : path + "." + field.getKey(), field.getKey(), field.getValue());
            }
        } else if (node.isArray() && node.size() > 0 && node.get(0).isObject()) {
            List<String> names = elementNames(name, node);
            for (int at = 0; at < node.size(); at++) {
                walk(path + "[" + names.get(at) + "]", "", node.get(at));
            }
        } else if (node.isArray()) {
            List<String> elements = new ArrayList<>();
            node.forEach(element -> elements.add(value(name, element)));
            values.put(path, elements.toString());
        } else {
            values.put(path.isEmpty() ? "answer" : path, value(name, node));
        }
    }

    private List<String> elementNames(String name, JsonNode list) {
        boolean ordered = name.equals("batches") || name.equals("records") || name.equals("synonyms");
        for (String key : ordered ? new String[0] : NAMES) {
            List<String> names = new ArrayList<>();
            Set<String> known = new HashSet<>();
            for (JsonNode element : list) {
                JsonNode value = element.path(key);
                if (value.isNull() || value.isMissingNode() || !value.isValueNode() || value.asText().isEmpty()) {
                    break;
                }
                String text = value(key, value);
                if (element.has("resourceType")) {
                    text = element.get("resourceType").asText() + ":" + text;
                }
                while (!known.add(text)) {
                    text += "'";
                }
                names.add(text);
            }
            if (names.size() == list.size()) {
                return names;
            }
        }
        List<String> numbers = new ArrayList<>();
        for (int at = 0; at < list.size(); at++) {
            numbers.add(String.valueOf(at));
        }
        return numbers;
    }

    private String value(String name, JsonNode value) {
        if (value.isNull()) {
            return "null";
        }
        switch (name) {
            case "topicId": return side.topicName(value.asText());
            case "errorMessage": case "batchIndexErrorMessage": case "documentation":
                return value.asText().isEmpty() ? "an empty text" : "text";
            case "clusterId": return value.asText().isEmpty() ? "" : "the cluster's";
            case "finalizedFeaturesEpoch": return value.asLong() < 0 ? value.asText() : "an offset";
            case "host": return side.isOwnHost(value.asText()) ? "the broker's" : value.asText();
            case "port": return value.asInt() == side.port ? "the broker's" : value.asText();
            case "logDir": return "a directory";
            case "totalBytes": case "usableBytes": return value.asLong() > 0 ? "bytes of a disk" : value.asText();
            case "sessionId": return value.asLong() == 0 ? "0" : "a session";
            case "memberId": case "leader":
                return ID.matcher(value.asText()).matches() ? "a number"
                    : UUID.matcher(value.asText()).replaceAll("a number");
            case "producerId": return value.asLong() < 0 ? value.asText() : side.producer(value.asLong());
            default: break;
        }
        String time = value.isIntegralNumber() ? Clock.told(value.asLong()) : null;
        return time != null ? time : side.withoutPorts(value.asText());
    }
}
