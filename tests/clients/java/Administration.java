import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache's admin client over one broker: HOST:PORT PREFIX. Everything here holds on Apache Kafka 4.3, too. */
public final class Administration {
    static final long DEADLINE_S = 60;
    static final int RECORDS = 10;

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(DEADLINE_S, TimeUnit.SECONDS);
    }

    static void same(String what, Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError(what + ": " + found + ", expected " + expected);
        }
    }

    static void refused(String what, Class<?> error, KafkaFuture<?> future) throws Exception {
        try {
            get(future);
        } catch (ExecutionException e) {
            same(what, e.getCause().getClass(), error);
            return;
        }
        throw new AssertionError(what + " was not refused");
    }

    /** Waits until a change that Apache's broker takes over in the background is there. */
    static void eventually(String what, Check check) throws Exception {
        for (int tries = 0; !check.holds(); tries++) {
            if (tries == 300) {
                throw new AssertionError("waited for: " + what);
            }
            Thread.sleep(100);
        }
    }

    interface Check {
        boolean holds() throws Exception;
    }

    final Admin admin;
    final String topic;
    final TopicPartition first;
    final ConfigResource ofTopic;
    final ConfigResource ofAll = new ConfigResource(ConfigResource.Type.BROKER, "");

    Administration(Admin admin, String prefix) {
        this.admin = admin;
        this.topic = prefix + "-admin";
        this.first = new TopicPartition(topic, 0);
        this.ofTopic = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    KafkaFuture<Void> change(ConfigResource resource, String key, AlterConfigOp.OpType type, String value, boolean check) {
        var op = new AlterConfigOp(new ConfigEntry(key, value), type);
        var changes = Map.<ConfigResource, Collection<AlterConfigOp>>of(resource, List.of(op));
        return admin.incrementalAlterConfigs(changes, new AlterConfigsOptions().validateOnly(check)).all();
    }

    ConfigEntry config(ConfigResource resource, String key) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return get(admin.describeConfigs(List.of(resource), options).all()).get(resource).get(key);
    }

    void topics() throws Exception {
        var wanted = new NewTopic(topic, 2, (short) 1).configs(Map.of("segment.bytes", "2000000"));
        var created = admin.createTopics(List.of(wanted));
        get(created.all());
        same("partitions", get(created.numPartitions(topic)), 2);
        same("a setting in the answer", get(created.config(topic)).get("segment.bytes").value(), "2000000");
        refused("the same again", TopicExistsException.class, admin.createTopics(List.of(wanted)).all());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
        refused("fewer", InvalidPartitionsException.class,
                admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all());
        eventually("three partitions", () -> {
            var described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
            return described.partitions().size() == 3
                    && described.partitions().stream().allMatch(partition -> partition.leader() != null);
        });
        refused("no topic", UnknownTopicOrPartitionException.class,
                admin.describeTopics(List.of(topic + "-not")).allTopicNames());
    }

    void configurations() throws Exception {
        get(change(ofTopic, "cleanup.policy", AlterConfigOp.OpType.APPEND, "compact", false));
        eventually("both policies", () -> config(ofTopic, "cleanup.policy").value().equals("delete,compact"));
        same("its source", config(ofTopic, "cleanup.policy").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        same("its type", config(ofTopic, "cleanup.policy").type(), ConfigEntry.ConfigType.LIST);
        get(change(ofTopic, "cleanup.policy", AlterConfigOp.OpType.SUBTRACT, "compact", false));
        eventually("one policy", () -> config(ofTopic, "cleanup.policy").value().equals("delete"));
        get(change(ofTopic, "retention.ms", AlterConfigOp.OpType.SET, "123456", true));
        same("only checked", config(ofTopic, "retention.ms").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        refused("no number", InvalidConfigurationException.class,
                change(ofTopic, "retention.ms", AlterConfigOp.OpType.SET, "x", false));
        refused("no list", InvalidConfigurationException.class,
                change(ofTopic, "retention.ms", AlterConfigOp.OpType.APPEND, "1", false));
        get(change(ofAll, "log.retention.ms", AlterConfigOp.OpType.SET, "7654321", false));
        eventually("the cluster's default at the topic", () -> config(ofTopic, "retention.ms").value().equals("7654321"));
        var synonyms = config(ofTopic, "retention.ms").synonyms();
        same("where it comes from", synonyms.get(0).source(), ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        same("under which name", synonyms.get(0).name(), "log.retention.ms");
        get(change(ofAll, "log.retention.ms", AlterConfigOp.OpType.DELETE, null, false));
        eventually("the default again", () -> config(ofTopic, "retention.ms").value().equals("604800000"));
        refused("what only a start sets", InvalidRequestException.class,
                change(ofAll, "num.partitions", AlterConfigOp.OpType.SET, "3", false));
        var listed = get(admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all());
        same("the topic among the resources", listed.contains(ofTopic), true);
    }

    void records() throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", System.getProperty("servers"));
        settings.put("linger.ms", 0);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < RECORDS; i++) {
                producer.send(new ProducerRecord<>(topic, 0, null, new byte[100])).get(DEADLINE_S, TimeUnit.SECONDS);
            }
        }
        var producers = get(admin.describeProducers(List.of(first)).partitionResult(first)).activeProducers();
        same("producers", producers.size(), 1);
        same("its last sequence", producers.get(0).lastSequence(), RECORDS - 1);
        var deleted = admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(first);
        same("low watermark", get(deleted).lowWatermark(), 4L);
        refused("beyond the end", OffsetOutOfRangeException.class,
                admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(99))).all());
        var start = admin.listOffsets(Map.of(first, OffsetSpec.earliest())).partitionResult(first);
        same("start", get(start).offset(), 4L);
        var all = admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(first);
        same("all of them", get(all).lowWatermark(), (long) RECORDS);
        var directories = get(admin.describeLogDirs(List.of(1)).allDescriptions()).get(1).values();
        long replicas = 0;
        for (var directory : directories) {
            replicas += directory.replicaInfos().keySet().stream().filter(p -> p.topic().equals(topic)).count();
            same("room is told", directory.totalBytes().isPresent() && directory.usableBytes().isPresent(), true);
        }
        same("replicas in the directories", replicas, 3L);
    }

    void placement() throws Exception {
        var election = admin.electLeaders(ElectionType.PREFERRED, Set.of(first)).partitions();
        var error = get(election).get(first).map(Throwable::getClass);
        same("no election is needed", error, Optional.of(ElectionNotNeededException.class));
        get(admin.alterPartitionReassignments(Map.of(first, assignment(1))).all());
        refused("no such broker", InvalidReplicaAssignmentException.class,
                admin.alterPartitionReassignments(Map.of(first, assignment(77))).all());
        refused("nothing to end", NoReassignmentInProgressException.class,
                admin.alterPartitionReassignments(Map.of(first, Optional.empty())).all());
        same("nothing is moving", get(admin.listPartitionReassignments().reassignments()).size(), 0);
    }

    static Optional<NewPartitionReassignment> assignment(Integer broker) {
        return Optional.of(new NewPartitionReassignment(List.of(broker)));
    }

    void features() throws Exception {
        short level = get(admin.describeFeatures().featureMetadata()).finalizedFeatures()
                .get("transaction.version").maxVersionLevel();
        var check = new UpdateFeaturesOptions().validateOnly(true);
        var lower = new FeatureUpdate((short) (level - 1), FeatureUpdate.UpgradeType.SAFE_DOWNGRADE);
        get(admin.updateFeatures(Map.of("transaction.version", lower), check).all());
        var unsaid = new FeatureUpdate((short) (level - 1), FeatureUpdate.UpgradeType.UPGRADE);
        refused("lower without saying so", InvalidUpdateVersionException.class,
                admin.updateFeatures(Map.of("transaction.version", unsaid), check).all());
    }

    void end() throws Exception {
        get(admin.deleteTopics(List.of(topic)).all());
        eventually("the topic is gone", () -> !get(admin.listTopics().names()).contains(topic));
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("servers", args[0]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            var all = new Administration(admin, args[1]);
            all.topics();
            all.configurations();
            all.records();
            all.placement();
            all.features();
            all.end();
        }
        System.out.println("administered");
    }
}
