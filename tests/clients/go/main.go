// franz-go: produces or reads back the content of tests/clients/README.md.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	recordCount     = 200
	autoRecordCount = 100
	partitionCount  = 3
	largeSize       = 900_000
	mib             = 1 << 20
	deadline        = 120 * time.Second
)

var compressions = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func large(size, p int) []byte {
	data := make([]byte, size)
	for j := range data {
		data[j] = byte(j*31 + j/251 + p)
	}
	return data
}

func record(topic string, p, i int, base int64) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: int32(p), Timestamp: time.UnixMilli(base + int64(p*1000+i))}
	switch {
	case i%5 == 0:
	case i%7 == 1:
		r.Key = []byte{}
	default:
		r.Key = fmt.Appendf(nil, "key-%d-%d", p, i)
	}
	switch {
	case i == recordCount-1:
		r.Value = large(largeSize, p)
	case i%11 == 3:
		if strings.HasPrefix(topic, "nonull") && i%5 == 0 {
			r.Value = []byte{}
		}
	case i%13 == 4:
		r.Value = []byte{}
	default:
		r.Value = fmt.Appendf(nil, "value-%d-%d-", p, i)
		for j := range i * 7 % 300 {
			r.Value = append(r.Value, byte(97+(i+j*j)%26))
		}
	}
	for k := range i % 3 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: fmt.Sprintf("h%d", k), Value: fmt.Appendf(nil, "v-%d-%d", i, k)})
	}
	if i%4 == 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "empty", Value: []byte{}})
	}
	if i%17 == 5 && !strings.HasPrefix(topic, "nonull") {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "null"})
	}
	return r
}

func topicRecords(prefix, name string, base int64) [][]*kgo.Record {
	topic := prefix + "-" + name
	switch name {
	case "big":
		var found []*kgo.Record
		for i := range 3 {
			found = append(found, &kgo.Record{
				Topic: topic, Key: fmt.Appendf(nil, "big-%d", i), Value: large(mib, i),
				Timestamp: time.UnixMilli(base + int64(i)),
			})
		}
		return [][]*kgo.Record{found}
	case "auto":
		var found []*kgo.Record
		for i := range autoRecordCount {
			found = append(found, record(topic, 0, i, base))
		}
		return [][]*kgo.Record{found}
	}
	found := make([][]*kgo.Record, partitionCount)
	for p := range found {
		for i := range recordCount {
			found[p] = append(found[p], record(topic, p, i, base))
		}
	}
	return found
}

func create(ctx context.Context, client *kgo.Client, prefix string, names []string) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = prefix+"-"+name, partitionCount, 1
		switch name {
		case "auto":
			continue
		case "big":
			topic.NumPartitions = 1
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = "max.message.bytes", kmsg.StringPtr(strconv.Itoa(4*mib))
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

func produce(ctx context.Context, servers, prefix string, names []string, base int64) error {
	admin, err := kgo.NewClient(kgo.SeedBrokers(servers))
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := create(ctx, admin, prefix, names); err != nil {
		return err
	}
	for _, name := range names {
		options := []kgo.Opt{kgo.SeedBrokers(servers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation()}
		if codec, ok := compressions[name]; ok {
			options = append(options, kgo.ProducerBatchCompression(codec))
		}
		if name == "big" {
			options = append(options, kgo.ProducerBatchMaxBytes(4*mib))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return err
		}
		for p, records := range topicRecords(prefix, name, base) {
			for i, result := range client.ProduceSync(ctx, records...) {
				if result.Err != nil {
					return fmt.Errorf("%s-%s-%d: %w", prefix, name, p, result.Err)
				}
				if result.Record.Offset != int64(i) {
					return fmt.Errorf("%s-%s-%d: record %d acknowledged at %d", prefix, name, p, i, result.Record.Offset)
				}
			}
		}
		client.Close()
	}
	return nil
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func differs(want, got *kgo.Record) string {
	switch {
	case !same(want.Key, got.Key):
		return fmt.Sprintf("key %q, wanted %q", got.Key, want.Key)
	case !same(want.Value, got.Value):
		return fmt.Sprintf("value of %d bytes (nil %v), wanted %d (nil %v)", len(got.Value), got.Value == nil, len(want.Value), want.Value == nil)
	case want.Timestamp.UnixMilli() != got.Timestamp.UnixMilli():
		return fmt.Sprintf("timestamp %v, wanted %v", got.Timestamp, want.Timestamp)
	case len(want.Headers) != len(got.Headers):
		return fmt.Sprintf("%d headers, wanted %d", len(got.Headers), len(want.Headers))
	}
	for k, header := range want.Headers {
		if header.Key != got.Headers[k].Key || !same(header.Value, got.Headers[k].Value) {
			return fmt.Sprintf("header %v, wanted %v", got.Headers[k], header)
		}
	}
	return ""
}

func consume(ctx context.Context, servers, prefix string, names []string, base int64) error {
	for _, name := range names {
		wanted := topicRecords(prefix, name, base)
		starts, left := map[int32]kgo.Offset{}, 0
		for p := range wanted {
			starts[int32(p)] = kgo.NewOffset().AtStart()
			left += len(wanted[p])
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(servers),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{prefix + "-" + name: starts}))
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
				if text := differs(wanted[got.Partition][at], got); text != "" {
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

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: client produce|consume HOST:PORT PREFIX CODECS BASE_MS")
		os.Exit(2)
	}
	base, err := strconv.ParseInt(os.Args[5], 10, 64)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	names := append(strings.Split(os.Args[4], ","), "big", "auto")
	if err == nil {
		work := produce
		if os.Args[1] == "consume" {
			work = consume
		}
		err = work(ctx, os.Args[2], os.Args[3], names, base)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
