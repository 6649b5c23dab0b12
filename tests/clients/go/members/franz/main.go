// One member of a group, franz-go: HOST:PORT GROUP TOPIC MODE [INSTANCE], as ../../../python/member.py says.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ringmain.test/client/members/voice"
)

func options(topic string, said *voice.Voice) []kgo.Opt {
	change := func(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			said.Change(partitions[topic], owned)
		}
	}
	found := []kgo.Opt{
		kgo.SeedBrokers(os.Args[1]),
		kgo.ConsumerGroup(os.Args[2]),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)),
	}
	if len(os.Args) > 5 {
		found = append(found, kgo.InstanceID(os.Args[5]))
	}
	if session, err := strconv.Atoi(os.Getenv("SESSION_MS")); err == nil {
		found = append(found, kgo.SessionTimeout(time.Duration(session)*time.Millisecond))
	}
	return found
}

func main() {
	// What it does by default is cooperative.
	if mode := os.Args[4]; mode != "default" && mode != "cooperative" {
		fmt.Fprintln(os.Stderr, "franz-go has no", mode)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := kgo.NewClient(options(os.Args[3], voice.New())...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		var lines []string
		for _, record := range fetches.Records() {
			lines = append(lines, voice.Read(record.Partition, record.Offset, record.Value))
		}
		voice.Say(lines...)
	}
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	client.Close()
}
