import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Function;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.DefaultRecord;
import org.apache.kafka.common.record.internal.LegacyRecord;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/**
 * Record batches from JSON to bytes, honest ones and lying ones, and back.
 *
 * A batch is an object; all its fields may be left out: magic, codec, baseOffset, leaderEpoch, transactional,
 * control, append (the broker's clock), attributes (bits set in addition), producerId, epoch, sequence, time and
 * maxTime; records, each a text (its value) or an object of key, value, size (a value of so many bytes), headers,
 * time, offsetDelta. What is written in place of the truth: count, lastOffsetDelta, length, crc, body (hexadecimal,
 * in place of the records), cut (bytes taken off the end). A list is one batch after the other; a text is bytes in
 * hexadecimal. Times count from Clock.BASE; "abs:N" is N itself.
 */
final class Batches {
    private static final int LENGTH_AT = 8;
    private static final int CRC_AT = 17;
    private static final int ATTRIBUTES_AT = 21;
    private static final int HEADER_BYTES = 61;

    private Batches() {
    }

    static byte[] write(JsonNode spec, Function<String, JsonNode> known) {
        if (spec.isTextual()) {
            return HexFormat.of().parseHex(spec.asText());
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try {
            for (JsonNode batch : spec.isArray() ? spec : Codec.JSON.arrayNode().add(spec)) {
                byte[] whole = batch.path("magic").asInt(2) < 2 ? legacy(batch) : batch(batch, known);
                bytes.write(whole, 0, whole.length - batch.path("cut").asInt(0));
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return bytes.toByteArray();
    }

    private static byte[] batch(JsonNode spec, Function<String, JsonNode> known) throws IOException {
        CompressionType codec = CompressionType.forName(spec.path("codec").asText("none"));
        long base = time(spec, "time", Clock.BASE);
        long max = Long.MIN_VALUE;
        int count = 0;
        ByteBufferOutputStream sink = new ByteBufferOutputStream(1024);
        try (DataOutputStream out = new DataOutputStream(Compression.of(codec).build().wrapForOutput(sink, (byte) 2))) {
            for (JsonNode record : spec.path("records")) {
                long time = time(record, "time", base);
                max = Math.max(max, time);
                int delta = record.path("offsetDelta").asInt(count);
                DefaultRecord.writeTo(out, delta, time - base, bytes(record, "key"), bytes(record, "value"), headers(record));
                count++;
            }
        }
        byte[] body = new byte[sink.buffer().position()];
        sink.buffer().flip().get(body);
        if (spec.has("body")) {
            body = HexFormat.of().parseHex(spec.get("body").asText());
        }
        short attributes = (short) (codec.id | (spec.path("append").asBoolean() ? 8 : 0)
            | (spec.path("transactional").asBoolean() ? 16 : 0) | (spec.path("control").asBoolean() ? 32 : 0)
            | spec.path("attributes").asInt(0));
        ByteBuffer batch = ByteBuffer.allocate(HEADER_BYTES + body.length);
        batch.putLong(spec.path("baseOffset").asLong(0));
        batch.putInt(spec.path("length").asInt(batch.capacity() - LENGTH_AT - 4));
        batch.putInt(spec.path("leaderEpoch").asInt(-1));
        batch.put((byte) spec.path("magic").asInt(2)).putInt(0).putShort(attributes);
        batch.putInt(spec.path("lastOffsetDelta").asInt(count - 1));
        batch.putLong(base).putLong(time(spec, "maxTime", max == Long.MIN_VALUE ? base : max));
        batch.putLong(number(spec, "producerId", known)).putShort((short) number(spec, "epoch", known));
        batch.putInt((int) number(spec, "sequence", known));
        batch.putInt(spec.path("count").asInt(count)).put(body);
        CRC32C crc = new CRC32C();
        crc.update(batch.array(), ATTRIBUTES_AT, batch.capacity() - ATTRIBUTES_AT);
        batch.putInt(CRC_AT, spec.has("crc") ? spec.get("crc").asInt() : (int) crc.getValue());
        return batch.array();
    }

    private static byte[] legacy(JsonNode spec) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        long offset = 0;
        for (JsonNode record : spec.path("records")) {
            byte magic = (byte) spec.path("magic").asInt();
            long time = magic == 0 ? LegacyRecord.NO_TIMESTAMP : time(record, "time", Clock.BASE);
            ByteBuffer key = bytes(record, "key");
            ByteBuffer message = LegacyRecord.create(magic, time, key == null ? null : key.array(),
                bytes(record, "value").array()).buffer();
            out.writeBytes(ByteBuffer.allocate(12).putLong(offset++).putInt(message.remaining()).array());
            out.write(message.array(), message.arrayOffset() + message.position(), message.remaining());
        }
        return out.toByteArray();
    }

    private static long time(JsonNode spec, String name, long missing) {
        JsonNode time = spec.path(name);
        if (time.isTextual()) {
            return Long.parseLong(time.asText().substring("abs:".length()));
        }
        return time.isMissingNode() ? missing : Clock.BASE + time.asLong();
    }

    private static long number(JsonNode spec, String name, Function<String, JsonNode> known) {
        JsonNode value = spec.path(name);
        return value.isTextual() ? known.apply(value.asText()).asLong() : value.asLong(-1);
    }

    private static ByteBuffer bytes(JsonNode record, String name) {
        if (name.equals("value") && record.isTextual()) {
            return ByteBuffer.wrap(record.asText().getBytes(StandardCharsets.UTF_8));
        }
        if (name.equals("value") && record.has("size")) {
            return ByteBuffer.allocate(record.get("size").asInt());
        }
        JsonNode value = record.path(name);
        return value.isTextual() ? ByteBuffer.wrap(value.asText().getBytes(StandardCharsets.UTF_8)) : null;
    }

    private static Header[] headers(JsonNode record) {
        List<Header> headers = new ArrayList<>();
        record.path("headers").fields().forEachRemaining(header -> headers.add(new RecordHeader(header.getKey(),
            header.getValue().isNull() ? null : header.getValue().asText().getBytes(StandardCharsets.UTF_8))));
        return headers.toArray(new Header[0]);
    }

    /** Fetched batches as JSON. What is left after the last whole batch is told as a number of bytes. */
    static JsonNode read(BaseRecords fetched) {
        if (fetched == null) {
            return Codec.JSON.nullNode();
        }
        ArrayNode batches = Codec.JSON.arrayNode();
        int whole = 0;
        try {
            for (MutableRecordBatch batch : ((MemoryRecords) fetched).batches()) {
                batches.add(describe(batch));
                whole += batch.sizeInBytes();
            }
        } catch (RuntimeException error) {
            batches.add(error.getClass().getSimpleName());
        }
        ObjectNode records = Codec.JSON.objectNode();
        records.set("batches", batches);
        return records.put("bytesOfPartOfABatch", fetched.sizeInBytes() - whole);
    }

    private static ObjectNode describe(MutableRecordBatch batch) {
        ObjectNode json = Codec.JSON.objectNode();
        json.put("baseOffset", batch.baseOffset()).put("lastOffset", batch.lastOffset());
        json.put("leaderEpoch", batch.partitionLeaderEpoch()).put("magic", batch.magic());
        json.put("codec", batch.compressionType().name).put("timestampType", batch.timestampType().name);
        json.put("transactional", batch.isTransactional()).put("control", batch.isControlBatch());
        json.put("producerId", batch.producerId()).put("producerEpoch", batch.producerEpoch());
        json.put("sequence", batch.baseSequence()).put("maxTimestamp", batch.maxTimestamp());
        json.put("sizeInBytes", batch.sizeInBytes()).put("crcIsRight", batch.isValid());
        ArrayNode records = json.putArray("records");
        try {
            for (Record record : batch) {
                ObjectNode told = records.addObject().put("offset", record.offset()).put("timestamp", record.timestamp());
                told.put("key", text(record.key())).put("value", text(record.value()));
                for (Header header : record.headers()) {
                    told.withArray("headers").add(header.key() + "=" + text(ByteBuffer.wrap(header.value())));
                }
            }
        } catch (RuntimeException error) {
            records.add(error.getClass().getSimpleName());
        }
        return json;
    }

    private static String text(ByteBuffer bytes) {
        if (bytes == null) {
            return null;
        }
        int shown = Math.min(bytes.remaining(), 40);
        byte[] first = new byte[shown];
        bytes.duplicate().get(first);
        String rest = bytes.remaining() > shown ? " and so on, " + bytes.remaining() + " bytes" : "";
        return new String(first, StandardCharsets.ISO_8859_1) + rest;
    }
}
