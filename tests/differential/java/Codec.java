import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.function.Function;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Requests from JSON to bytes and answers from bytes to JSON, by Apache's generated classes. A request needs to
 * name only what matters: the rest gets the defaults of Apache's schemas. A name that is in no version of the
 * schema is a mistake in the conversation and is said so.
 */
final class Codec {
    static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    /** Reads what conversations are written in: JSON with bare names and single quotes. */
    static final JsonMapper RELAXED = JsonMapper.builder()
        .enable(JsonReadFeature.ALLOW_UNQUOTED_FIELD_NAMES, JsonReadFeature.ALLOW_SINGLE_QUOTES,
            JsonReadFeature.ALLOW_TRAILING_COMMA, JsonReadFeature.ALLOW_JAVA_COMMENTS,
            JsonReadFeature.ALLOW_BACKSLASH_ESCAPING_ANY_CHARACTER)
        .build();
    private static final String PACKAGE = "org.apache.kafka.common.message.";

    private final Map<String, JsonNode> schemas = new HashMap<>();

    static ApiKeys api(String name) {
        for (ApiKeys key : ApiKeys.values()) {
            if (key.name.equals(name)) {
                return key;
            }
        }
        throw new IllegalArgumentException("there is no API " + name);
    }

    /** The frame of a request without its length. A version that Apache does not have is written like the nearest. */
    byte[] request(ApiKeys key, int version, int correlationId, String clientId, JsonNode body,
            Function<String, JsonNode> known) throws Exception {
        short nearest = nearest(key, version);
        JsonNode whole = complete(key.name + "Request", body, nearest, known);
        Message message = fromJson(key.name + "Request", whole, nearest);
        byte[] head = header(key, version, correlationId, clientId);
        ByteBuffer rest = MessageUtil.toByteBufferAccessor(message, nearest).buffer();
        return ByteBuffer.allocate(head.length + rest.remaining()).put(head).put(rest).array();
    }

    byte[] header(ApiKeys key, int version, int correlationId, String clientId) {
        RequestHeaderData header = new RequestHeaderData().setRequestApiKey(key.id)
            .setRequestApiVersion((short) version).setCorrelationId(correlationId).setClientId(clientId);
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header, key.requestHeaderVersion(nearest(key, version))).buffer();
        byte[] bytes = new byte[head.remaining()];
        head.get(bytes);
        return bytes;
    }

    private static short nearest(ApiKeys key, int version) {
        return (short) Math.max(key.oldestVersion(), Math.min(key.latestVersion(true), version));
    }

    /** An answer as JSON, or the reason why it cannot be read. */
    JsonNode answer(ApiKeys key, int version, int correlationId, byte[] frame) throws Exception {
        // A version of ApiVersions that the broker does not have is answered in version 0.
        short read = (short) (version > key.latestVersion(false) && key == ApiKeys.API_VERSIONS ? 0 : version);
        ByteBuffer buffer = ByteBuffer.wrap(frame);
        try {
            short headerVersion = key.responseHeaderVersion(read);
            int told = new ResponseHeaderData(new ByteBufferAccessor(buffer), headerVersion).correlationId();
            if (told != correlationId) {
                return JSON.textNode("answers request " + (told - correlationId) + " after this one");
            }
            Message message = ApiMessageType.fromApiKey(key.id).newResponse();
            message.read(new ByteBufferAccessor(buffer), read);
            if (buffer.hasRemaining()) {
                return JSON.textNode(buffer.remaining() + " bytes follow the answer");
            }
            ObjectNode json = (ObjectNode) converter(key.name + "Response")
                .getMethod("write", message.getClass(), short.class, boolean.class)
                .invoke(null, message, read, false);
            if (message instanceof FetchResponseData) {
                addRecords((FetchResponseData) message, json);
            }
            return json;
        } catch (RuntimeException | InvocationTargetException error) {
            return JSON.textNode("cannot be read: " + error);
        }
    }

    private static void addRecords(FetchResponseData fetched, ObjectNode json) {
        for (int t = 0; t < fetched.responses().size(); t++) {
            var partitions = fetched.responses().get(t).partitions();
            for (int p = 0; p < partitions.size(); p++) {
                ObjectNode partition = (ObjectNode) json.get("responses").get(t).get("partitions").get(p);
                partition.remove("recordsSizeInBytes");
                partition.set("records", Batches.read(partitions.get(p).records()));
            }
        }
    }

    private static Class<?> converter(String name) throws ClassNotFoundException {
        return Class.forName(PACKAGE + name + "DataJsonConverter");
    }

    private static Message fromJson(String name, JsonNode json, short version) throws Exception {
        try {
            return (Message) converter(name).getMethod("read", JsonNode.class, short.class)
                .invoke(null, json, version);
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(name + " v" + version + ": " + json, error.getCause());
        }
    }

    private JsonNode complete(String name, JsonNode given, short version, Function<String, JsonNode> known)
            throws IOException {
        JsonNode schema = schemas.get(name);
        if (schema == null) {
            try (InputStream in = Codec.class.getResourceAsStream("/common/message/" + name + ".json")) {
                schema = RELAXED.readTree(in);
            }
            schemas.put(name, schema);
        }
        Map<String, JsonNode> shared = new HashMap<>();
        for (JsonNode struct : schema.path("commonStructs")) {
            shared.put(struct.get("name").asText(), struct.get("fields"));
        }
        return new Completion(shared, version, known).struct(schema.get("fields"), given);
    }

    /** Fills in one message. */
    private static final class Completion {
        private final Map<String, JsonNode> shared;
        private final short version;
        private final Function<String, JsonNode> known;

        Completion(Map<String, JsonNode> shared, short version, Function<String, JsonNode> known) {
            this.shared = shared;
            this.version = version;
            this.known = known;
        }

        ObjectNode struct(JsonNode fields, JsonNode given) {
            ObjectNode whole = JSON.objectNode();
            ObjectNode left = given.deepCopy();
            for (JsonNode field : fields) {
                String name = field.get("name").asText();
                name = Character.toLowerCase(name.charAt(0)) + name.substring(1);
                JsonNode value = left.remove(name);
                boolean tagged = in(field.get("taggedVersions"), version);
                if (!tagged && !in(field.get("versions"), version) || tagged && value == null) {
                    continue;
                }
                whole.set(name, value == null ? missing(field) : present(field, field.get("type").asText(), value));
            }
            for (Iterator<String> names = left.fieldNames(); names.hasNext();) {
                throw new IllegalArgumentException("no field " + names.next() + " among " + fields.findValuesAsText("name"));
            }
            return whole;
        }

        private JsonNode present(JsonNode field, String type, JsonNode given) {
            JsonNode value = given.isTextual() && given.asText().startsWith("@") ? known.apply(given.asText()) : given;
            if (value.isNull()) {
                return value;
            }
            if (type.startsWith("[]")) {
                ArrayNode array = JSON.arrayNode();
                for (JsonNode element : value) {
                    array.add(present(field, type.substring(2), element));
                }
                return array;
            }
            switch (type) {
                case "bool": case "int8": case "int16": case "uint16": case "int32": case "uint32": case "int64":
                case "float64": case "string": return value;
                case "uuid": return value.asText().startsWith("id:") ? known.apply(value.asText()) : value;
                case "bytes": case "records": return JSON.binaryNode(Batches.write(value, known));
                default: return struct(field.has("fields") ? field.get("fields") : shared.get(type), value);
            }
        }

        private JsonNode missing(JsonNode field) {
            String type = field.get("type").asText();
            String value = field.has("default") ? field.get("default").asText() : null;
            if ("null".equals(value)) {
                return JSON.nullNode();
            }
            if (type.startsWith("[]")) {
                return JSON.arrayNode();
            }
            switch (type) {
                case "bool": return JSON.booleanNode("true".equals(value));
                case "int8": case "int16": case "uint16": case "int32": case "uint32": case "int64":
                    return JSON.numberNode(value == null ? 0 : Long.decode(value));
                case "float64": return JSON.numberNode(value == null ? 0 : Double.parseDouble(value));
                case "string": return JSON.textNode(value == null ? "" : value);
                case "uuid": return JSON.textNode(Uuid.ZERO_UUID.toString());
                case "bytes": case "records": return JSON.binaryNode(new byte[0]);
                default: return struct(field.has("fields") ? field.get("fields") : shared.get(type), JSON.objectNode());
            }
        }
    }

    private static boolean in(JsonNode range, int version) {
        if (range == null || range.asText().equals("none")) {
            return false;
        }
        String[] ends = range.asText().replace("+", "-" + Short.MAX_VALUE).split("-");
        return Integer.parseInt(ends[0]) <= version && version <= Integer.parseInt(ends[ends.length - 1]);
    }
}
