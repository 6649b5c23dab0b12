import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache's Java client: produces or reads back the content of tests/clients/README.md. */
public final class Client {
    static final int RECORDS = 200;
    static final int AUTO_RECORDS = 100;
    static final int PARTITIONS = 3;
    static final int LARGE = 900_000;
    static final int MIB = 1 << 20;
    static final long DEADLINE_S = 120;

    static byte[] large(int size, int p) {
        byte[] data = new byte[size];
        for (int j = 0; j < size; j++) {
            data[j] = (byte) (j * 31 + j / 251 + p);
        }
        return data;
    }

    static byte[] text(String value) {
        return value.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] key(int p, int i) {
        if (i % 5 == 0) {
            return null;
        }
        return text(i % 7 == 1 ? "" : "key-" + p + "-" + i);
    }

    static byte[] value(int p, int i, boolean nulls) {
        if (i == RECORDS - 1) {
            return large(LARGE, p);
        }
        if (i % 11 == 3) {
            return nulls || i % 5 != 0 ? null : new byte[0];
        }
        if (i % 13 == 4) {
            return new byte[0];
        }
        StringBuilder value = new StringBuilder("value-" + p + "-" + i + "-");
        for (int j = 0; j < i * 7 % 300; j++) {
            value.append((char) ('a' + (i + j * j) % 26));
        }
        return text(value.toString());
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int p, int i, long base) {
        boolean nulls = !topic.startsWith("nonull");
        var record = new ProducerRecord<>(topic, p, base + p * 1000L + i, key(p, i), value(p, i, nulls));
        for (int k = 0; k < i % 3; k++) {
            record.headers().add("h" + k, text("v-" + i + "-" + k));
        }
        if (i % 4 == 2) {
            record.headers().add("empty", new byte[0]);
        }
        if (i % 17 == 5 && nulls) {
            record.headers().add("null", null);
        }
        return record;
    }

    /** Topic name to its partitions' records. */
    static Map<String, List<List<ProducerRecord<byte[], byte[]>>>> topics(String prefix, String[] codecs, long base) {
        Map<String, List<List<ProducerRecord<byte[], byte[]>>>> found = new LinkedHashMap<>();
        for (String codec : codecs) {
            String topic = prefix + "-" + codec;
            List<List<ProducerRecord<byte[], byte[]>>> partitions = new ArrayList<>();
            for (int p = 0; p < PARTITIONS; p++) {
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int i = 0; i < RECORDS; i++) {
                    records.add(record(topic, p, i, base));
                }
                partitions.add(records);
            }
            found.put(topic, partitions);
        }
        List<ProducerRecord<byte[], byte[]>> big = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            big.add(new ProducerRecord<>(prefix + "-big", 0, base + i, text("big-" + i), large(MIB, i)));
        }
        found.put(prefix + "-big", List.of(big));
        List<ProducerRecord<byte[], byte[]>> auto = new ArrayList<>();
        for (int i = 0; i < AUTO_RECORDS; i++) {
            auto.add(record(prefix + "-auto", 0, i, base));
        }
        found.put(prefix + "-auto", List.of(auto));
        return found;
    }

    static void produce(String servers, String prefix, String[] codecs, long base) throws Exception {
        var topics = topics(prefix, codecs, base);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", servers))) {
            List<NewTopic> wanted = new ArrayList<>();
            for (String codec : codecs) {
                wanted.add(new NewTopic(prefix + "-" + codec, PARTITIONS, (short) 1));
            }
            wanted.add(new NewTopic(prefix + "-big", 1, (short) 1)
                    .configs(Map.of("max.message.bytes", String.valueOf(4 * MIB))));
            admin.createTopics(wanted).all().get(DEADLINE_S, TimeUnit.SECONDS);
        }
        for (var topic : topics.entrySet()) {
            Map<String, Object> settings = new LinkedHashMap<>();
            settings.put("bootstrap.servers", servers);
            if (topic.getKey().endsWith("-big")) {
                settings.put("max.request.size", 4 * MIB);
            } else if (!topic.getKey().endsWith("-auto")) {
                settings.put("compression.type", topic.getKey().substring(prefix.length() + 1));
            }
            try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
                for (var partition : topic.getValue()) {
                    List<Future<RecordMetadata>> sent = new ArrayList<>();
                    for (var record : partition) {
                        sent.add(producer.send(record));
                    }
                    for (int i = 0; i < sent.size(); i++) {
                        RecordMetadata answer = sent.get(i).get(DEADLINE_S, TimeUnit.SECONDS);
                        check(answer.offset() == i, answer + ": record " + i + " acknowledged at another offset");
                    }
                }
            }
        }
    }

    static void consume(String servers, String prefix, String[] codecs, long base) {
        Map<String, Object> settings = Map.of("bootstrap.servers", servers);
        for (var topic : topics(prefix, codecs, base).entrySet()) {
            List<TopicPartition> assigned = new ArrayList<>();
            int left = 0;
            for (var partition : topic.getValue()) {
                assigned.add(new TopicPartition(topic.getKey(), assigned.size()));
                left += partition.size();
            }
            int[] next = new int[assigned.size()];
            try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer.assign(assigned);
                consumer.seekToBeginning(assigned);
                var ends = consumer.endOffsets(assigned);
                for (TopicPartition at : assigned) {
                    int wanted = topic.getValue().get(at.partition()).size();
                    check(ends.get(at) == wanted, at + ": ends at " + ends.get(at) + ", wanted " + wanted);
                }
                long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_S);
                while (left > 0 && System.nanoTime() < until) {
                    for (ConsumerRecord<byte[], byte[]> got : consumer.poll(Duration.ofSeconds(1))) {
                        var partition = topic.getValue().get(got.partition());
                        int at = next[got.partition()]++;
                        check(got.offset() == at && at < partition.size(), got.topic() + "-" + got.partition()
                                + ": offset " + got.offset() + " where " + at + " was due");
                        compare(partition.get(at), got);
                        left--;
                    }
                }
                check(left == 0, topic.getKey() + ": " + left + " records did not come");
            }
        }
    }

    static void compare(ProducerRecord<byte[], byte[]> want, ConsumerRecord<byte[], byte[]> got) {
        String where = got.topic() + "-" + got.partition() + " offset " + got.offset();
        check(Arrays.equals(want.key(), got.key()), where + ": another key");
        check(Arrays.equals(want.value(), got.value()), where + ": another value");
        check(Objects.equals(want.timestamp(), got.timestamp()), where + ": another timestamp");
        Header[] wanted = want.headers().toArray();
        Header[] found = got.headers().toArray();
        check(wanted.length == found.length, where + ": " + found.length + " headers");
        for (int k = 0; k < wanted.length; k++) {
            check(wanted[k].key().equals(found[k].key()) && Arrays.equals(wanted[k].value(), found[k].value()),
                    where + ": another header " + found[k].key());
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalStateException(otherwise);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[] codecs = arguments[3].split(",");
        long base = Long.parseLong(arguments[4]);
        if (arguments[0].equals("produce")) {
            produce(arguments[1], arguments[2], codecs, base);
        } else {
            consume(arguments[1], arguments[2], codecs, base);
        }
    }
}
