import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;

/** One of the two brokers: a connection to it, and what it has told so far that the other calls otherwise. */
final class Side {
    /** Apache on a busy machine takes seconds for some requests. */
    static final int PATIENCE_MS = 30_000;
    /** Where no answer is expected. */
    static final int IMPATIENCE_MS = 3_000;

    final String name;
    private final String host;
    final int port;
    private final Codec codec;
    private final Map<String, String> topicIds = new HashMap<>();
    private final Map<String, String> topicNames = new HashMap<>();
    private final Map<Long, String> producers = new HashMap<>();
    private final Map<String, JsonNode> kept = new HashMap<>();
    private Socket socket;
    /** The connection of a request whose answer is not waited for yet. */
    private Socket aside;
    private String ended = "closed";
    private int correlationId;
    private int patienceMs = PATIENCE_MS;

    Side(String name, String address, Codec codec) {
        this.name = name;
        this.host = address.substring(0, address.lastIndexOf(':'));
        this.port = Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
        this.codec = codec;
    }

    /** A request that was sent and not answered yet. */
    record Asked(ApiKeys key, int version, int correlationId, boolean silent, IOException failed) {
    }

    /** Sends a request. One that is not answered is followed by another that is, so that silence can be seen. */
    Asked send(ApiKeys key, int version, String clientId, JsonNode body) throws Exception {
        int id = ++correlationId;
        boolean silent = key == ApiKeys.PRODUCE && body.path("acks").asInt(1) == 0;
        try {
            write(codec.request(key, version, id, clientId, body, this::known));
            if (silent) {
                write(codec.request(ApiKeys.API_VERSIONS, 0, ++correlationId, clientId, Codec.JSON.objectNode(), this::known));
            }
            return new Asked(key, version, id, silent, null);
        } catch (IOException error) {
            return new Asked(key, version, id, silent, error);
        }
    }

    /** Sends bytes as they are, then ends the stream, so that an unfinished frame is not waited for. */
    void sendRaw(byte[] bytes) throws IOException {
        connect();
        socket.getOutputStream().write(bytes);
        socket.shutdownOutput();
    }

    /** Sends one frame of bytes as they are. */
    void write(byte[] frame) throws IOException {
        connect();
        socket.getOutputStream().write(ByteBuffer.allocate(4 + frame.length).putInt(frame.length).put(frame).array());
    }

    /** The answer as JSON; a text says what came in its place. */
    JsonNode receive(Asked asked) throws Exception {
        byte[] frame = asked.failed == null ? read() : null;
        if (frame == null) {
            return noAnswer();
        }
        if (asked.silent) {
            JsonNode next = codec.answer(ApiKeys.API_VERSIONS, 0, asked.correlationId + 1, frame);
            return Codec.JSON.textNode(next.isObject() ? "no answer" : next.asText());
        }
        JsonNode answer = codec.answer(asked.key, asked.version, asked.correlationId, frame);
        learn(answer);
        return answer;
    }

    /** The next frame, as bytes; null if the broker closed the connection or said nothing for too long. */
    byte[] read() throws IOException {
        try {
            socket.setSoTimeout(patienceMs);
            DataInputStream in = new DataInputStream(socket.getInputStream());
            byte[] frame = new byte[in.readInt()];
            in.readFully(frame);
            return frame;
        } catch (EOFException | SocketException closed) {
            ended = "closed";
            return null;
        } catch (SocketTimeoutException silent) {
            ended = "silence";
            return null;
        }
    }

    /** How long answers are waited for from now on. */
    void setPatience(int milliseconds) {
        patienceMs = milliseconds;
    }

    /** Whatever is sent and received next goes over the other connection. */
    void exchangeConnections() {
        Socket before = socket;
        socket = aside;
        aside = before;
    }

    void disconnect() throws IOException {
        if (socket != null) {
            socket.close();
            socket = null;
        }
    }

    void keep(String as, JsonNode value) {
        kept.put("@" + as, value);
    }

    String topicName(String id) {
        return Uuid.ZERO_UUID.toString().equals(id) ? "zero" : "id:" + topicNames.getOrDefault(id, "?");
    }

    String producer(long id) {
        return producers.computeIfAbsent(id, unknown -> "producer " + producers.size());
    }

    /** A text in which the broker's ports, its own and its controller's, are words. */
    String withoutPorts(String text) {
        return text.replace(":" + port, ":port").replace(":" + (port + 1), ":controller");
    }

    boolean isOwnHost(String text) {
        return text.equals(host);
    }

    /** What came in place of an answer; the connection is used no more. */
    JsonNode noAnswer() throws IOException {
        disconnect();
        return Codec.JSON.textNode(ended);
    }

    private void connect() throws IOException {
        if (socket == null) {
            socket = new Socket(host, port);
            socket.setTcpNoDelay(true);
        }
    }

    /** What a conversation calls by a name: `id:TOPIC`, or `@NAME` for what was kept of an answer. */
    private JsonNode known(String name) {
        JsonNode value = name.startsWith("id:")
            ? Codec.JSON.textNode(topicIds.getOrDefault(name.substring(3), Uuid.ZERO_UUID.toString()))
            : kept.get(name);
        if (value == null || value.isMissingNode()) {
            throw new IllegalArgumentException("nothing is kept as " + name);
        }
        return value;
    }

    /** Remembers which topic has which id, from any answer that tells both. */
    private void learn(JsonNode answer) {
        for (JsonNode child : answer) {
            learn(child);
        }
        String id = answer.path("topicId").asText("");
        if (answer instanceof ObjectNode && answer.path("name").isTextual() && !id.isEmpty()
                && !id.equals(Uuid.ZERO_UUID.toString())) {
            topicIds.put(answer.get("name").asText(), id);
            topicNames.put(id, answer.get("name").asText());
        }
    }
}
