// The Java half of the interoperability proof: exchanges messages with the Rust codec in files.
//
//   Interop write FILE SEED COUNT   random messages of every type and version Apache's schemas name, built
//                                   through the JSON converters and written by Apache's serializers
//   Interop check FILE              reads what Rust wrote with Apache's code and writes it again: the bytes
//                                   must be the same
//
// The frames of a file are described in server/protocol/examples/interop.rs. Types and versions come from
// the schemas inside the jars, so a type that our side lacks is noticed there.

import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;

public class Interop {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
    };
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    private static final int VERSION_LAST = Short.MAX_VALUE;

    private final Random random;

    private Interop(long seed) {
        random = new Random(seed);
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 4 && arguments[0].equals("write")) {
            new Interop(Long.parseLong(arguments[2])).write(arguments[1], Integer.parseInt(arguments[3]));
        } else if (arguments.length == 2 && arguments[0].equals("check")) {
            check(arguments[1]);
        } else {
            throw new IllegalArgumentException("Interop write FILE SEED COUNT | Interop check FILE");
        }
    }

    private void write(String file, int count) throws Exception {
        long messages = 0;
        try (DataOutputStream out =
                new DataOutputStream(new BufferedOutputStream(new FileOutputStream(file)))) {
            for (Map.Entry<String, JsonNode> entry : schemas().entrySet()) {
                String name = entry.getKey();
                JsonNode schema = entry.getValue();
                Class<?> type = messageClass(name);
                Method read = Class.forName(type.getName() + "JsonConverter")
                    .getMethod("read", JsonNode.class, short.class);
                Map<String, JsonNode> shared = new HashMap<>();
                for (JsonNode struct : schema.path("commonStructs")) {
                    shared.put(struct.get("name").asText(), struct.get("fields"));
                }
                int[] versions = range(schema.get("validVersions"));
                int[] flexible = range(schema.get("flexibleVersions"));
                for (int version = versions[0]; version <= versions[1]; version++) {
                    for (int round = 0; round < count; round++) {
                        JsonNode value = struct(schema.get("fields"), shared, version, in(flexible, version));
                        try {
                            Message message = (Message) read.invoke(null, value, (short) version);
                            frame(out, name, version, bytes(message, version));
                        } catch (InvocationTargetException error) {
                            throw new IllegalStateException(name + " v" + version + ": " + value, error.getCause());
                        }
                        messages++;
                    }
                }
            }
        }
        System.err.println("Apache wrote " + messages + " messages");
    }

    private static void check(String file) throws Exception {
        Map<String, JsonNode> schemas = schemas();
        long messages = 0;
        long beyond = 0;
        int differ = 0;
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(file)))) {
            while (true) {
                byte[] nameBytes;
                try {
                    nameBytes = new byte[in.readUnsignedShort()];
                } catch (EOFException end) {
                    break;
                }
                in.readFully(nameBytes);
                String name = new String(nameBytes, StandardCharsets.UTF_8);
                short version = in.readShort();
                byte[] content = new byte[in.readInt()];
                in.readFully(content);
                if (!in(range(schemas.get(name).get("validVersions")), version)) {
                    beyond++; // one of the older versions we keep for clients that do not negotiate
                    continue;
                }
                messages++;
                byte[] again;
                try {
                    ByteBuffer buffer = ByteBuffer.wrap(content);
                    Message message = (Message) messageClass(name)
                        .getConstructor(Readable.class, short.class)
                        .newInstance(new ByteBufferAccessor(buffer), version);
                    again = buffer.hasRemaining() ? null : bytes(message, version);
                } catch (InvocationTargetException error) {
                    again = null;
                    System.err.println(name + " v" + version + ": " + error.getCause());
                }
                if (!Arrays.equals(content, again)) {
                    differ++;
                    if (differ <= 10) {
                        System.err.println(name + " v" + version + " differs");
                    }
                }
            }
        }
        System.err.println("Apache read what Rust wrote: " + messages + " messages, " + differ + " differ; "
            + beyond + " in versions Apache no longer has");
        if (differ > 0 || messages == 0) {
            System.exit(1);
        }
    }

    private static void frame(DataOutputStream out, String name, int version, byte[] content) throws Exception {
        out.writeUTF(name);
        out.writeShort(version);
        out.writeInt(content.length);
        out.write(content);
    }

    private static byte[] bytes(Message message, int version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        byte[] content = new byte[buffer.remaining()];
        buffer.get(content);
        return content;
    }

    private static Class<?> messageClass(String name) throws ClassNotFoundException {
        for (String prefix : PACKAGES) {
            for (String suffix : new String[] {"Data", ""}) {
                try {
                    return Class.forName(prefix + name + suffix);
                } catch (ClassNotFoundException next) {
                    // It is in another package.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    /** All schemas in the jars of the class path by name, without those Kafka has retired. */
    private static Map<String, JsonNode> schemas() throws Exception {
        JsonMapper mapper = JsonMapper.builder().enable(JsonReadFeature.ALLOW_JAVA_COMMENTS).build();
        Map<String, JsonNode> schemas = new TreeMap<>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            // kafka-raft has the schema of a JSON file (quorum-state), which never goes over the wire.
            if (!path.endsWith(".jar") || path.contains("kafka-raft")) {
                continue;
            }
            try (JarFile jar = new JarFile(path)) {
                for (Enumeration<JarEntry> entries = jar.entries(); entries.hasMoreElements();) {
                    JarEntry entry = entries.nextElement();
                    if (entry.getName().startsWith("common/") && entry.getName().endsWith(".json")) {
                        JsonNode schema = mapper.readTree(jar.getInputStream(entry));
                        if (!schema.get("validVersions").asText().equals("none")) {
                            schemas.put(schema.get("name").asText(), schema);
                        }
                    }
                }
            }
        }
        return schemas;
    }

    private static int[] range(JsonNode text) {
        if (text == null || text.asText().equals("none")) {
            return new int[] {0, -1};
        }
        String range = text.asText();
        if (range.endsWith("+")) {
            return new int[] {Integer.parseInt(range.substring(0, range.length() - 1)), VERSION_LAST};
        }
        String[] ends = range.split("-");
        return new int[] {Integer.parseInt(ends[0]), Integer.parseInt(ends[ends.length - 1])};
    }

    private static boolean in(int[] range, int version) {
        return range[0] <= version && version <= range[1];
    }

    private ObjectNode struct(JsonNode fields, Map<String, JsonNode> shared, int version, boolean flexible) {
        ObjectNode node = new ObjectNode(JSON);
        for (JsonNode field : fields) {
            int[] tagged = range(field.get("taggedVersions"));
            int[] present = field.has("versions") ? range(field.get("versions")) : tagged;
            boolean isTagged = flexible && in(tagged, version);
            // A tagged field is often left at its default.
            if (!in(present, version) || isTagged && random.nextInt(3) == 0) {
                continue;
            }
            String name = field.get("name").asText();
            String key = Character.toLowerCase(name.charAt(0)) + name.substring(1);
            boolean nullable = in(range(field.get("nullableVersions")), version);
            node.set(key, nullable && random.nextInt(3) == 0
                ? JSON.nullNode()
                : value(field.get("type").asText(), field, shared, version, flexible));
        }
        return node;
    }

    private JsonNode value(
            String type, JsonNode field, Map<String, JsonNode> shared, int version, boolean flexible) {
        if (type.startsWith("[]")) {
            ArrayNode array = new ArrayNode(JSON);
            for (int count = random.nextInt(4); count > 0; count--) {
                array.add(value(type.substring(2), field, shared, version, flexible));
            }
            return array;
        }
        switch (type) {
            case "bool": return JSON.booleanNode(random.nextBoolean());
            case "int8": return JSON.numberNode((byte) integer(8));
            case "int16": return JSON.numberNode((short) integer(16));
            case "uint16": return JSON.numberNode((int) (integer(16) & 0xffff));
            case "int32": return JSON.numberNode((int) integer(32));
            case "uint32": return JSON.numberNode(integer(32) & 0xffffffffL);
            case "int64": return JSON.numberNode(integer(64));
            case "float64": return JSON.numberNode((double) random.nextInt() / 8);
            case "uuid": return JSON.textNode((random.nextInt(4) == 0
                ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong())).toString());
            case "string": return JSON.textNode(text());
            case "bytes": case "records": {
                byte[] bytes = new byte[length()];
                random.nextBytes(bytes);
                return JSON.binaryNode(bytes);
            }
            default: {
                JsonNode fields = field.has("fields") ? field.get("fields") : shared.get(type);
                return struct(fields, shared, version, flexible);
            }
        }
    }

    /** A number of so many bits; edges come often. */
    private long integer(int bits) {
        switch (random.nextInt(6)) {
            case 0: return 0;
            case 1: return -1;
            case 2: return -1L << (bits - 1);
            case 3: return ~(-1L << (bits - 1));
            case 4: return random.nextInt(100);
            default: return random.nextLong() << (64 - bits) >> (64 - bits);
        }
    }

    private int length() {
        switch (random.nextInt(8)) {
            case 0: return 0;
            case 1: return 120 + random.nextInt(20);
            case 2: return 1000 + random.nextInt(50);
            default: return random.nextInt(20);
        }
    }

    private String text() {
        String[] letters = {"a", "Z", "0", "-", ".", "\u00df", "\u4e2d", "\ud83e\udd80"};
        StringBuilder text = new StringBuilder();
        for (int count = length(); count > 0; count--) {
            text.append(letters[random.nextInt(letters.length)]);
        }
        return text.toString();
    }
}
