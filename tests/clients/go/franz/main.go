// franz-go: produces or reads back the content of tests/clients/README.md.
package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ringmain.test/client/content"
)

var compressions = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func create(ctx context.Context, client *kgo.Client, topics []content.Topic) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	for _, wanted := range topics {
		if wanted.IsAuto {
			continue
		}
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = wanted.Name, int32(len(wanted.Partitions)), 1
		if wanted.IsBig {
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = "max.message.bytes", kmsg.StringPtr(strconv.Itoa(content.BatchBytesMax))
			topic.Configs = append(topic.Configs, config)
		}
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, topic := range response.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return fmt.Errorf("create %s: %w", topic.Topic, err)
		}
	}
	return nil
}

func toSend(topic string, p int, r content.Record) *kgo.Record {
	sent := &kgo.Record{Topic: topic, Partition: int32(p), Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, header := range r.Headers {
		sent.Headers = append(sent.Headers, kgo.RecordHeader(header))
	}
	return sent
}

func produce(servers string, topics []content.Topic) error {
	ctx, cancel := context.WithTimeout(context.Background(), content.Deadline)
	defer cancel()
	admin, err := kgo.NewClient(kgo.SeedBrokers(servers))
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := create(ctx, admin, topics); err != nil {
		return err
	}
	for _, topic := range topics {
		options := []kgo.Opt{kgo.SeedBrokers(servers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation()}
		if codec, ok := compressions[topic.Codec]; ok {
			options = append(options, kgo.ProducerBatchCompression(codec))
		}
		if topic.IsBig {
			options = append(options, kgo.ProducerBatchMaxBytes(content.BatchBytesMax))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return err
		}
		for p, records := range topic.Partitions {
			var sent []*kgo.Record
			for _, record := range records {
				sent = append(sent, toSend(topic.Name, p, record))
			}
			for i, result := range client.ProduceSync(ctx, sent...) {
				if result.Err != nil {
					return fmt.Errorf("%s-%d: %w", topic.Name, p, result.Err)
				}
				if result.Record.Offset != int64(i) {
					return fmt.Errorf("%s-%d: record %d acknowledged at %d", topic.Name, p, i, result.Record.Offset)
				}
			}
		}
		client.Close()
	}
	return nil
}

func received(r *kgo.Record) content.Record {
	got := content.Record{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, header := range r.Headers {
		got.Headers = append(got.Headers, content.Header(header))
	}
	return got
}

func consume(servers string, topics []content.Topic) error {
	ctx, cancel := context.WithTimeout(context.Background(), content.Deadline)
	defer cancel()
	for _, topic := range topics {
		wanted := topic.Partitions
		starts, left := map[int32]kgo.Offset{}, 0
		for p := range wanted {
			starts[int32(p)] = kgo.NewOffset().AtStart()
			left += len(wanted[p])
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(servers),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic.Name: starts}))
		if err != nil {
			return err
		}
		next := make([]int, len(wanted))
		for left > 0 {
			fetches := client.PollFetches(ctx)
			for _, failure := range fetches.Errors() {
				return fmt.Errorf("%s-%d: %w", failure.Topic, failure.Partition, failure.Err)
			}
			for _, got := range fetches.Records() {
				at := next[got.Partition]
				if at >= len(wanted[got.Partition]) || got.Offset != int64(at) {
					return fmt.Errorf("%s-%d: offset %d after %d", got.Topic, got.Partition, got.Offset, at-1)
				}
				if text := wanted[got.Partition][at].Differs(received(got)); text != "" {
					return fmt.Errorf("%s-%d offset %d: %s", got.Topic, got.Partition, at, text)
				}
				next[got.Partition]++
				left--
			}
		}
		client.Close()
	}
	return nil
}

func main() { content.Run(produce, consume) }
