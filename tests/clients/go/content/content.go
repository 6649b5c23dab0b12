// Package content is what every client writes and reads back: see tests/clients/README.md.
package content

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	recordCount     = 200
	autoRecordCount = 100
	partitionCount  = 3
	largeSize       = 900_000
	mib             = 1 << 20
	// BatchBytesMax is max.message.bytes of the topic of large records.
	BatchBytesMax = 4 * mib
	// Deadline bounds a hang.
	Deadline = 120 * time.Second
)

// Header is a record's header; a nil value is null.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record; a nil key or value is null.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Timestamp  time.Time
}

// Topic is one of the topics, with its records by partition.
type Topic struct {
	Name string
	// Codec of its batches, empty if there is none.
	Codec string
	// IsAuto says that the first use makes it, IsBig that its records are large.
	IsAuto, IsBig bool
	Partitions    [][]Record
}

func large(size, p int) []byte {
	data := make([]byte, size)
	for j := range data {
		data[j] = byte(j*31 + j/251 + p)
	}
	return data
}

func record(topic string, p, i int, base int64) Record {
	r := Record{Timestamp: time.UnixMilli(base + int64(p*1000+i))}
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
		r.Headers = append(r.Headers, Header{fmt.Sprintf("h%d", k), fmt.Appendf(nil, "v-%d-%d", i, k)})
	}
	if i%4 == 2 {
		r.Headers = append(r.Headers, Header{"empty", []byte{}})
	}
	if i%17 == 5 && !strings.HasPrefix(topic, "nonull") {
		r.Headers = append(r.Headers, Header{"null", nil})
	}
	return r
}

func topic(prefix, name string, base int64) Topic {
	made := Topic{Name: prefix + "-" + name}
	var count, partitions int
	switch name {
	case "big":
		made.IsBig = true
		var found []Record
		for i := range 3 {
			found = append(found, Record{
				Key: fmt.Appendf(nil, "big-%d", i), Value: large(mib, i), Timestamp: time.UnixMilli(base + int64(i)),
			})
		}
		made.Partitions = [][]Record{found}
		return made
	case "auto":
		made.IsAuto, count, partitions = true, autoRecordCount, 1
	default:
		made.Codec, count, partitions = name, recordCount, partitionCount
	}
	for p := range partitions {
		var found []Record
		for i := range count {
			found = append(found, record(made.Name, p, i, base))
		}
		made.Partitions = append(made.Partitions, found)
	}
	return made
}

// Differs says what is wrong with a record that was read, or nothing.
func (want Record) Differs(got Record) string {
	same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
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

// Run does what the command line says, with the topics that it names.
func Run(produce, consume func(servers string, topics []Topic) error) {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: client produce|consume HOST:PORT PREFIX CODECS BASE_MS")
		os.Exit(2)
	}
	base, err := strconv.ParseInt(os.Args[5], 10, 64)
	var topics []Topic
	for _, name := range append(strings.Split(os.Args[4], ","), "big", "auto") {
		topics = append(topics, topic(os.Args[3], name, base))
	}
	if err == nil {
		work := produce
		if os.Args[1] == "consume" {
			work = consume
		}
		err = work(os.Args[2], topics)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
