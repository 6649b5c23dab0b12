import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Records for a directory that Apache Kafka and ringmain use in turn.
 *
 * <p>write HOST:PORT: a topic with a partition for each kind of records; of the first some are deleted.
 *
 * <p>read HOST:PORT: prints all of them, as far as they are committed too, and what ListOffsets says.
 */
public final class Records {
    static final String TOPIC = "records";
    static final String[] KINDS =
        {"plain", "none", "gzip", "snappy", "lz4", "zstd", "committed", "aborted", "open"};
    static final int ABORTED = 7;
    static final int COUNT = 600;
    static final long BEGIN = 1_700_000_000_000L;
    static final byte[] FILLING = "what a record has besides its number, ".repeat(8).getBytes();
    /** Of each record among those that are aborted, so that they fill several segments. */
    static final int ABORTED_BYTES = 6000;

    static Properties at(String address) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", address);
        return properties;
    }

    static ProducerRecord<byte[], byte[]> record(int partition, int number) {
        byte[] key = number % 3 == 0 ? null : ("key " + number).getBytes();
        int size = partition == ABORTED ? ABORTED_BYTES : number % FILLING.length;
        byte[] value = number % 50 == 7 ? null : Arrays.copyOf(FILLING, size);
        ProducerRecord<byte[], byte[]> record =
            new ProducerRecord<>(TOPIC, partition, BEGIN + number * 1000L, key, value);
        if (number % 5 == 0) {
            record.headers().add(new RecordHeader("number", Integer.toString(number).getBytes()));
        }
        return record;
    }

    static KafkaProducer<byte[], byte[]> producer(String address, String kind) {
        Properties properties = at(address);
        boolean plain = kind.equals("plain");
        boolean transactional = List.of("committed", "aborted", "aborted beside", "open").contains(kind);
        properties.put("enable.idempotence", Boolean.toString(!plain));
        properties.put("compression.type", plain || transactional ? "none" : kind);
        properties.put("batch.size", 4000);
        properties.put("linger.ms", 20);
        if (transactional) {
            properties.put("transactional.id", kind);
            properties.put("transaction.timeout.ms", 900_000);
        }
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /**
     * Two producers by turns, whose transactions overlap: of the first one the second of three is committed, of the
     * other one the first and the third of four.
     */
    static void writeAborted(String address) {
        var one = producer(address, "aborted");
        var other = producer(address, "aborted beside");
        one.initTransactions();
        other.initTransactions();
        for (int number = 0; number < COUNT; number++) {
            if (number % 200 == 0) {
                one.beginTransaction();
            }
            if (number % 150 == 0) {
                other.beginTransaction();
            }
            KafkaProducer<byte[], byte[]> turn = number % 3 == 1 ? other : one;
            turn.send(record(ABORTED, number));
            turn.flush();
            if (number % 200 == 199) {
                end(one, number / 200 == 1);
            }
            if (number % 150 == 149) {
                end(other, number / 150 % 2 == 0);
            }
        }
        one.close();
        other.close();
    }

    static void end(KafkaProducer<byte[], byte[]> producer, boolean commits) {
        if (commits) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
    }

    static void write(String address) throws Exception {
        try (Admin admin = Admin.create(at(address))) {
            NewTopic topic = new NewTopic(TOPIC, KINDS.length, (short) 1);
            Map<String, String> small = Map.of("segment.bytes", "1048576", "retention.ms", "-1");
            admin.createTopics(List.of(topic.configs(small))).all().get();
            for (int partition = 0; partition < KINDS.length; partition++) {
                if (partition == ABORTED) {
                    writeAborted(address);
                    continue;
                }
                KafkaProducer<byte[], byte[]> producer = producer(address, KINDS[partition]);
                boolean transactional = partition >= ABORTED - 1;
                if (transactional) {
                    producer.initTransactions();
                }
                for (int number = 0; number < COUNT; number++) {
                    if (transactional && number % 200 == 0) {
                        producer.beginTransaction();
                    }
                    producer.send(record(partition, number));
                    boolean open = KINDS[partition].equals("open") && number >= 400;
                    if (transactional && number % 200 == 199 && !open) {
                        producer.commitTransaction();
                    }
                }
                producer.flush();
                if (!KINDS[partition].equals("open")) {
                    producer.close();
                }
            }
            TopicPartition first = new TopicPartition(TOPIC, 0);
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(123))).all().get();
        }
        // What is open stays open.
        Runtime.getRuntime().halt(0);
    }

    static void read(String address, String isolation) throws Exception {
        Properties properties = at(address);
        properties.put("isolation.level", isolation);
        properties.put("check.crcs", "true");
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < KINDS.length; partition++) {
                partitions.add(new TopicPartition(TOPIC, partition));
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, List<String>> found = new HashMap<>();
            long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("not all records came");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    TopicPartition partition = new TopicPartition(TOPIC, record.partition());
                    found.computeIfAbsent(partition, one -> new ArrayList<>()).add(line(record));
                }
            }
            for (TopicPartition partition : partitions) {
                List<String> lines = found.getOrDefault(partition, List.of());
                System.out.println(isolation + " " + partition + " from " + begins.get(partition) + " to "
                    + ends.get(partition) + ", " + lines.size() + " records");
                lines.forEach(System.out::println);
            }
        }
    }

    static String line(ConsumerRecord<byte[], byte[]> record) {
        return record.offset() + " " + record.timestampType() + " " + record.timestamp() + " "
            + Arrays.hashCode(record.key()) + " " + Arrays.hashCode(record.value()) + " " + record.headers();
    }

    static void offsets(String address) throws Exception {
        List<OffsetSpec> specs = new ArrayList<>(
            List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.maxTimestamp()));
        for (int number = -1; number <= COUNT; number += 150) {
            specs.add(OffsetSpec.forTimestamp(BEGIN + number * 1000L + 1));
        }
        try (Admin admin = Admin.create(at(address))) {
            for (int partition = 0; partition < KINDS.length; partition++) {
                for (OffsetSpec spec : specs) {
                    TopicPartition one = new TopicPartition(TOPIC, partition);
                    var info = admin.listOffsets(Map.of(one, spec)).partitionResult(one).get();
                    System.out.println(one + " " + spec.getClass().getSimpleName() + " " + info.offset() + " "
                        + info.timestamp());
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("write")) {
            write(arguments[1]);
        } else {
            read(arguments[1], "read_uncommitted");
            read(arguments[1], "read_committed");
            offsets(arguments[1]);
        }
    }
}
