import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** One member of a group, Apache's Java client: HOST:PORT GROUP TOPIC MODE [INSTANCE], as python/member.py says. */
public final class Member implements ConsumerRebalanceListener {
    private final TreeSet<Integer> owned = new TreeSet<>();

    private static void say(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }

    private void sayOwned() {
        StringBuilder line = new StringBuilder("own");
        owned.forEach(partition -> line.append(' ').append(partition));
        say(line.append('\n').toString());
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
        assigned.forEach(partition -> owned.add(partition.partition()));
        sayOwned();
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
        revoked.forEach(partition -> owned.remove(partition.partition()));
        sayOwned();
    }

    private void read(KafkaConsumer<String, String> consumer, String topic) {
        consumer.subscribe(List.of(topic), this);
        while (true) {
            StringBuilder lines = new StringBuilder();
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                lines.append("read ").append(record.partition()).append(' ').append(record.offset());
                lines.append(' ').append(record.value()).append('\n');
            }
            say(lines.toString());
        }
    }

    private static Map<String, Object> settings(String[] arguments) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("group.id", arguments[1]);
        settings.put("auto.offset.reset", "earliest");
        String mode = arguments[3];
        if (arguments.length > 4) {
            settings.put("group.instance.id", arguments[4]);
        }
        if (mode.equals("cooperative")) {
            settings.put("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        }
        String session = System.getenv("SESSION_MS");
        if (mode.equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else if (session != null) {
            settings.put("session.timeout.ms", session);
        }
        return settings;
    }

    public static void main(String[] arguments) {
        KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings(arguments), new StringDeserializer(), new StringDeserializer());
        CountDownLatch left = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                left.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            new Member().read(consumer, arguments[2]);
        } catch (WakeupException told) {
            consumer.close();
        } finally {
            left.countDown();
        }
    }
}
