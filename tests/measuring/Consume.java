import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a topic from its beginning, several times over: HOST:PORT TOPIC RECORDS LAPS. It is what
 * kafka-consumer-perf-test does, with that tool's settings, but with assigned partitions: the tool
 * joins a group, and then measures that, too.
 */
public final class Consume {
    public static void main(String[] arguments) {
        String topic = arguments[1];
        long records = Long.parseLong(arguments[2]);
        int laps = Integer.parseInt(arguments[3]);
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", arguments[0],
                "receive.buffer.bytes", 2 * 1024 * 1024,
                "max.partition.fetch.bytes", 1024 * 1024,
                "check.crcs", false);
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(partition -> new TopicPartition(topic, partition.partition()))
                    .collect(Collectors.toList());
            consumer.assign(partitions);
            long begun = System.nanoTime();
            for (int lap = 0; lap < laps; lap++) {
                consumer.seekToBeginning(partitions);
                long seen = 0;
                while (seen < records) {
                    seen += consumer.poll(Duration.ofSeconds(10)).count();
                }
            }
            double seconds = (System.nanoTime() - begun) / 1e9;
            System.out.printf("%d records consumed, %.1f records/sec%n", records * laps, records * laps / seconds);
        }
    }
}
