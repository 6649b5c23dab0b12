import java.io.FileWriter;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What librdkafka.py produces, by Apache's Java client: AT TOPIC FIRST COUNT FILE. */
public final class Produce {
    static final int RECORDS_PER_S = 3000;

    static byte[] value(int partition, int number) {
        byte[] head = (partition + "/" + number + "/").getBytes();
        byte[] value = Arrays.copyOf(head, head.length + (int) (number * 131L % 400));
        Arrays.fill(value, head.length, value.length, (byte) ('a' + number % 26));
        return value;
    }

    static void wrong(String what) {
        System.err.println(what);
        Runtime.getRuntime().halt(1);
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        int first = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        var log = new PrintWriter(new FileWriter(arguments[4], true), true);
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", arguments[0],
                "delivery.timeout.ms", Integer.MAX_VALUE,
                "request.timeout.ms", 10000,
                "max.block.ms", 120000,
                "buffer.memory", 1 << 20,
                "linger.ms", 2,
                "reconnect.backoff.ms", 20,
                "reconnect.backoff.max.ms", 200,
                "retry.backoff.ms", 50);
        var bytes = new ByteArraySerializer();
        var producer = new KafkaProducer<>(settings, bytes, bytes);
        var stopping = new AtomicBoolean();
        var sender = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping.set(true);
            try {
                sender.join();
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
            Runtime.getRuntime().halt(0);
        }));
        long begun = System.nanoTime();
        for (int number = 0; !stopping.get(); number++) {
            for (int partition = first; partition < first + count; partition++) {
                int sent = number;
                var key = Integer.toString(number).getBytes();
                var record = new ProducerRecord<>(topic, partition, key, value(partition, number));
                producer.send(record, (metadata, error) -> {
                    if (error != null) {
                        wrong(topic + "-" + record.partition() + ": " + error);
                    } else if (metadata.offset() != sent) {
                        wrong(topic + "-" + record.partition() + ": record " + sent + " was acknowledged at " + metadata.offset());
                    }
                    log.println(record.partition() + " " + sent);
                });
            }
            long ahead = (number + 1L) * count * 1_000_000_000L / RECORDS_PER_S - (System.nanoTime() - begun);
            if (ahead > 0) {
                Thread.sleep(ahead / 1_000_000);
            } else {
                // What the broker was away for is not made up.
                begun -= ahead;
            }
        }
        producer.flush();
        producer.close();
        log.close();
    }
}
