// Writes record batches, indexes, a producer snapshot and an epoch checkpoint with Apache Kafka's own classes,
// and reads batches that ringmain wrote. The records come from a seed, made as in storage/tests/format/corpus.rs.
//
//   RecordFiles write DIR SEEDS   batches of seeds 0..SEEDS in every codec, and the other files
//   RecordFiles check DIR SEEDS   reads ringmain's batches there and compares every record

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.log.EpochEntry;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManager;

public final class RecordFiles {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final long FIRST_TIMESTAMP = 1_700_000_000_000L;
    static final long SEGMENT_BASE_OFFSET = 1000;
    static final int SEGMENT_BATCHES = 200;

    /** The generator splitmix64. */
    static final class Random {
        private long state;

        Random(long seed) {
            state = seed;
        }

        long next() {
            state += 0x9e3779b97f4a7c15L;
            long mixed = state;
            mixed = (mixed ^ (mixed >>> 30)) * 0xbf58476d1ce4e5b9L;
            mixed = (mixed ^ (mixed >>> 27)) * 0x94d049bb133111ebL;
            return mixed ^ (mixed >>> 31);
        }

        long below(long end) {
            return (next() >>> 1) % end;
        }

        byte[] nullable(long lengthEnd) {
            long kind = below(8);
            if (kind == 0) return null;
            if (kind == 1) return new byte[0];
            byte[] bytes = new byte[(int) below(lengthEnd)];
            for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) ('a' + below(6));
            return bytes;
        }
    }

    record Made(long timestamp, byte[] key, byte[] value, Header[] headers) { }

    static List<Made> records(long seed) {
        Random random = new Random(seed);
        long count = 1 + random.below(40);
        List<Made> made = new ArrayList<>();
        for (long index = 0; index < count; index++) {
            long timestamp = FIRST_TIMESTAMP + random.below(100_000);
            byte[] key = random.nullable(40);
            byte[] value = random.nullable(index == 3 ? 70_000 : 300);
            Header[] headers = new Header[(int) random.below(4)];
            for (int h = 0; h < headers.length; h++)
                headers[h] = new RecordHeader("h" + h + "-\u00e9", random.nullable(20));
            made.add(new Made(timestamp, key, value, headers));
        }
        return made;
    }

    static MemoryRecords batch(String codec, long seed, long baseOffset, int leaderEpoch) {
        ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
        MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, RecordBatch.CURRENT_MAGIC_VALUE,
            Compression.of(codec).build(), TimestampType.CREATE_TIME, baseOffset, RecordBatch.NO_TIMESTAMP,
            leaderEpoch);
        for (Made record : records(seed))
            builder.append(record.timestamp, record.key, record.value, record.headers);
        return builder.build();
    }

    static byte[] bytes(ByteBuffer buffer) {
        if (buffer == null) return null;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }

    static void write(Path dir, int seeds) throws Exception {
        Files.createDirectories(dir);
        for (String codec : CODECS)
            for (int seed = 0; seed < seeds; seed++)
                Files.write(dir.resolve(codec + "-" + seed + ".batch"), bytes(batch(codec, seed, 0, -1).buffer()));

        Path segmentDir = Files.createTempDirectory("segment");
        LogConfig config = new LogConfig(java.util.Map.of("index.interval.bytes", "4096"));
        LogSegment segment = LogSegment.open(segmentDir.toFile(), SEGMENT_BASE_OFFSET, config, Time.SYSTEM, 0, false);
        long next = SEGMENT_BASE_OFFSET;
        for (int seed = 0; seed < SEGMENT_BATCHES; seed++) {
            MemoryRecords records = batch("none", seed, next, 0);
            long last = records.batches().iterator().next().lastOffset();
            segment.append(last, records);
            next = last + 1;
        }
        segment.onBecomeInactiveSegment();
        segment.flush();
        segment.close();
        for (String suffix : new String[] {".index", ".timeindex"})
            Files.copy(segmentDir.resolve("00000000000000001000" + suffix), dir.resolve("segment" + suffix),
                java.nio.file.StandardCopyOption.REPLACE_EXISTING);

        TreeMap<Long, ProducerStateEntry> producers = new TreeMap<>();
        ProducerStateEntry one = new ProducerStateEntry(1, (short) 0, -1, -1, OptionalLong.empty());
        addBatch(one, (short) 0, 9, 109, 9, 20);
        producers.put(1L, one);
        producers.put(7L, new ProducerStateEntry(7, (short) 3, 5, -1, OptionalLong.empty()));
        ProducerStateEntry open = new ProducerStateEntry(Long.MAX_VALUE - 1, Short.MAX_VALUE, 2, -1, OptionalLong.of(50));
        addBatch(open, Short.MAX_VALUE, Integer.MAX_VALUE, 60, 10, FIRST_TIMESTAMP);
        producers.put(Long.MAX_VALUE - 1, open);
        File snapshot = dir.resolve("producers.snapshot").toFile();
        snapshot.delete();
        ProducerStateManager.writeSnapshot(snapshot, producers, true);

        new LeaderEpochCheckpointFile(dir.resolve("leader-epoch-checkpoint").toFile(), new LogDirFailureChannel(1))
            .write(List.of(new EpochEntry(0, 0), new EpochEntry(3, 1200), new EpochEntry(9, 1L << 40)));
    }

    /** The method is package-private in 4.3. */
    static void addBatch(ProducerStateEntry entry, short epoch, int lastSequence, long lastOffset, int offsetDelta,
                         long timestamp) throws Exception {
        var method = ProducerStateEntry.class.getDeclaredMethod("addBatch", short.class, int.class, long.class,
            int.class, long.class);
        method.setAccessible(true);
        method.invoke(entry, epoch, lastSequence, lastOffset, offsetDelta, timestamp);
    }

    static void check(Path dir, int seeds) throws Exception {
        int compared = 0;
        for (String codec : CODECS) {
            for (int seed = 0; seed < seeds; seed++) {
                String name = codec + "-" + seed + ".batch";
                MemoryRecords read = MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(dir.resolve(name))));
                List<Made> expected = records(seed);
                int index = 0;
                for (RecordBatch batch : read.batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        Made made = expected.get(index);
                        boolean same = record.offset() == index && record.timestamp() == made.timestamp
                            && Arrays.equals(bytes(record.key()), made.key)
                            && Arrays.equals(bytes(record.value()), made.value)
                            && Arrays.equals(record.headers(), made.headers);
                        if (!same) throw new AssertionError(name + ": record " + index + " differs");
                        index++;
                        compared++;
                    }
                }
                if (index != expected.size()) throw new AssertionError(name + ": " + index + " records");
            }
        }
        System.out.println("Apache read " + compared + " records of ringmain's batches, all equal");
    }

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[1]);
        int seeds = Integer.parseInt(args[2]);
        if (args[0].equals("write")) write(dir, seeds);
        else check(dir, seeds);
    }
}
