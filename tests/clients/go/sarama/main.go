// Sarama, with its defaults: it asks for no versions and speaks those of Kafka 2.1 whatever the broker has. Produces or
// reads back the content of tests/clients/README.md. SARAMA_VERSION is another version.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"ringmain.test/client/content"
)

var compressions = map[string]sarama.CompressionCodec{
	"":       sarama.CompressionNone,
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func newConfig() (*sarama.Config, error) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	var err error
	if version := os.Getenv("SARAMA_VERSION"); version != "" {
		config.Version, err = sarama.ParseKafkaVersion(version)
	}
	return config, err
}

func create(servers string, topics []content.Topic) error {
	config, err := newConfig()
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdmin([]string{servers}, config)
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, topic := range topics {
		detail := &sarama.TopicDetail{NumPartitions: int32(len(topic.Partitions)), ReplicationFactor: 1}
		if topic.IsBig {
			bytes := strconv.Itoa(content.BatchBytesMax)
			detail.ConfigEntries = map[string]*string{"max.message.bytes": &bytes}
		}
		if topic.IsAuto {
			continue
		}
		if err := admin.CreateTopic(topic.Name, detail, false); err != nil {
			return fmt.Errorf("create %s: %w", topic.Name, err)
		}
	}
	return nil
}

func toSend(topic string, p int, r content.Record) *sarama.ProducerMessage {
	sent := &sarama.ProducerMessage{Topic: topic, Partition: int32(p), Timestamp: r.Timestamp}
	if r.Key != nil {
		sent.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		sent.Value = sarama.ByteEncoder(r.Value)
	}
	for _, header := range r.Headers {
		sent.Headers = append(sent.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
	}
	return sent
}

func produce(servers string, topics []content.Topic) error {
	if err := create(servers, topics); err != nil {
		return err
	}
	for _, topic := range topics {
		config, err := newConfig()
		if err != nil {
			return err
		}
		config.Producer.Compression = compressions[topic.Codec]
		if topic.IsBig {
			config.Producer.MaxMessageBytes = content.BatchBytesMax
		}
		producer, err := sarama.NewSyncProducer([]string{servers}, config)
		if err != nil {
			return err
		}
		for p, records := range topic.Partitions {
			var sent []*sarama.ProducerMessage
			for _, record := range records {
				sent = append(sent, toSend(topic.Name, p, record))
			}
			if err := producer.SendMessages(sent); err != nil {
				return fmt.Errorf("%s-%d: %w", topic.Name, p, err)
			}
			for i, message := range sent {
				if message.Offset != int64(i) {
					return fmt.Errorf("%s-%d: record %d acknowledged at %d", topic.Name, p, i, message.Offset)
				}
			}
		}
		if err := producer.Close(); err != nil {
			return err
		}
	}
	return nil
}

func received(m *sarama.ConsumerMessage) content.Record {
	got := content.Record{Key: m.Key, Value: m.Value, Timestamp: m.Timestamp}
	for _, header := range m.Headers {
		got.Headers = append(got.Headers, content.Header{Key: string(header.Key), Value: header.Value})
	}
	return got
}

func consumePartition(consumer sarama.Consumer, topic string, p int, wanted []content.Record) error {
	partition, err := consumer.ConsumePartition(topic, int32(p), sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("%s-%d: %w", topic, p, err)
	}
	late := time.After(content.Deadline)
	for at, record := range wanted {
		select {
		case failure := <-partition.Errors():
			return failure
		case got := <-partition.Messages():
			if got.Offset != int64(at) {
				return fmt.Errorf("%s-%d: offset %d after %d", topic, p, got.Offset, at-1)
			}
			if text := record.Differs(received(got)); text != "" {
				return fmt.Errorf("%s-%d offset %d: %s", topic, p, at, text)
			}
		case <-late:
			return fmt.Errorf("%s-%d: nothing more after %d records", topic, p, at)
		}
	}
	return partition.Close()
}

func consume(servers string, topics []content.Topic) error {
	config, err := newConfig()
	if err != nil {
		return err
	}
	config.Consumer.Return.Errors = true
	consumer, err := sarama.NewConsumer([]string{servers}, config)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		for p, wanted := range topic.Partitions {
			if err := consumePartition(consumer, topic.Name, p, wanted); err != nil {
				return err
			}
		}
	}
	return consumer.Close()
}

func main() { content.Run(produce, consume) }
