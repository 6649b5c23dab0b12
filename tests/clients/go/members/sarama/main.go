// One member of a group, Sarama: HOST:PORT GROUP TOPIC MODE [INSTANCE], as ../../../python/member.py says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"ringmain.test/client/members/voice"
)

type handler struct {
	topic string
	said  *voice.Voice
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.said.Change(session.Claims()[h.topic], true)
	return nil
}

func (h handler) Cleanup(session sarama.ConsumerGroupSession) error {
	h.said.Change(session.Claims()[h.topic], false)
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			voice.Say(voice.Read(message.Partition, message.Offset, message.Value))
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if session, err := strconv.Atoi(os.Getenv("SESSION_MS")); err == nil {
		config.Consumer.Group.Session.Timeout = time.Duration(session) * time.Millisecond
	}
	if len(os.Args) > 5 {
		// Static members came with Kafka 2.3; Sarama speaks 2.1 unless told.
		config.Version = sarama.V2_3_0_0
		config.Consumer.Group.InstanceId = os.Args[5]
	}
	return config
}

func run(ctx context.Context, topic string) error {
	group, err := sarama.NewConsumerGroup([]string{os.Args[1]}, os.Args[2], settings())
	if err != nil {
		return err
	}
	said := handler{topic, voice.New()}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, said); err != nil {
			if errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return nil
			}
			// The broker is away or the session is over: its users try again.
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return group.Close()
}

func main() {
	if mode := os.Args[4]; mode != "default" {
		fmt.Fprintln(os.Stderr, "Sarama has no", mode)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
