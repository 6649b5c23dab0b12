//! Looks over a shard's connections once a second and ends those that only cost: idle ones, ones that never ask
//! anything, and, when memory is short, ones that hold it and let nothing move.
//!
//! Memory is short in two ways. *Received bytes*: the room is short, at least half of it is unfinished requests, and
//! hardly anything was handled for some seconds: then the unfinished requests go of which no further byte is there
//! to be read, and whatever takes their place and does not move either goes faster. *Unsent answers*: they and the records that the store could let go of if nobody were sending them take more
//! than half of the room, or the requests behind them keep the other room stuck: then peers that took no byte for a
//! second go, those with the most first.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringmain_storage::io::Io;

use super::Net;
use super::open::Open;
use super::room::LITTLE_BYTES;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A room of received bytes that is short for so long and hardly gives anything back is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// In a stuck room a request has so long to arrive whole.
const UNFINISHED_MAX: Duration = Duration::from_secs(1);
/// What a room must have given back in that time to count as moving: this part of its limit.
const MOVING_PART: u64 = 16;
/// A peer that takes no byte for so long is not reading.
const UNREAD_AFTER: Duration = Duration::from_secs(1);

/// When the room of received bytes was last seen to move.
#[derive(Debug, Default)]
struct Progress {
    since: Cell<Duration>,
    freed_bytes: Cell<u64>,
    /// It was stuck the last time it was short.
    was_stuck: Cell<bool>,
}

/// What this shard last added to the process's count of lingering records.
struct Lingering(usize);

impl Lingering {
    /// Looks at the shard's stores and brings the count up to date.
    fn count<I: Io>(&mut self, net: &Net<I>) {
        let now = net.broker.lingering_bytes();
        net.limits.lingering_bytes.fetch_add(now, Relaxed);
        net.limits.lingering_bytes.fetch_sub(self.0, Relaxed);
        self.0 = now;
    }
}

/// Runs until the shard's connections are gone.
pub(super) async fn run<I: Io>(clock: I, net: Weak<Net<I>>) {
    let progress = Progress::default();
    let mut lingering = Lingering(0);
    loop {
        clock.sleep(LOOK_INTERVAL).await;
        let Some(net) = net.upgrade() else { return };
        let now = clock.now();
        let open: Vec<Rc<Open>> =
            net.open.borrow().values().filter(|open| !open.is_ending()).cloned().collect();
        for connection in &open {
            if let Some(why) = connection.overdue(now, &net.limits) {
                end(&net, connection, why);
            }
        }
        lingering.count(&net);
        let is_stuck = is_stuck(&net, &progress, now);
        end_unread(&net, &open, now, is_stuck);
        publish(&net);
        if is_stuck {
            let ended_bytes = end_unfinished(&net, &open, now);
            // What they give back is no progress.
            progress.freed_bytes.set(progress.freed_bytes.get().wrapping_add(ended_bytes));
        }
    }
}

/// Puts what rises and falls where the metrics find it.
fn publish<I: Io>(net: &Net<I>) {
    let counters = net.broker.counters();
    counters.connections.set_len(net.connection_count());
    counters.partitions.set_len(net.broker.partition_count());
    counters.unhandled_bytes.set_len(net.received.held_bytes());
    counters.unsent_bytes.set_len(net.unsent.held_bytes() + net.broker.lingering_bytes());
    counters.mailbox_depth.set_len(net.broker.mailbox_depth());
}

fn end<I: Io>(net: &Net<I>, connection: &Open, why: &str) {
    net.refused(connection.peer.address, why);
    connection.end();
}

/// Whether large requests make the room of received bytes short and hardly anything of them leaves it.
fn is_stuck<I: Io>(net: &Net<I>, progress: &Progress, now: Duration) -> bool {
    let freed_bytes = net.received.freed_bytes();
    let enough = net.received.bytes_max() as u64 / MOVING_PART;
    // What was ended may not have given everything back yet.
    let moves = freed_bytes.checked_sub(progress.freed_bytes.get()).is_some_and(|bytes| bytes >= enough);
    let is_short = net.received.is_short_of_large();
    // A moment in which those that were ended have left and nobody has taken their place is none of rest.
    if moves || !is_short && !progress.was_stuck.take() {
        progress.since.set(now);
        progress.freed_bytes.set(freed_bytes);
    }
    let is_stuck = is_short && now.saturating_sub(progress.since.get()) >= STUCK_AFTER;
    if is_stuck {
        progress.was_stuck.set(true);
    }
    is_stuck
}

/// Ends what does not arrive, if that is at least half of what is held, and says how much it was. Who has sent more
/// than was read waits for us, and stays.
fn end_unfinished<I: Io>(net: &Net<I>, open: &[Rc<Open>], now: Duration) -> u64 {
    let unfinished = || open.iter().filter_map(|open| Some((open.unfinished_request()?, open)));
    let all_bytes: usize = unfinished().map(|((_, bytes), _)| bytes).sum();
    if all_bytes < net.received.held_bytes() / 2 {
        return 0;
    }
    let mut ended_bytes = 0;
    for ((since, bytes), connection) in unfinished() {
        if now.saturating_sub(since) >= UNFINISHED_MAX && !connection.socket.has_unread() {
            ended_bytes += if bytes > LITTLE_BYTES { bytes as u64 } else { 0 };
            end(
                net,
                connection,
                "its request does not arrive whole, and the memory of queued.max.request.bytes is used up",
            );
        }
    }
    ended_bytes
}

fn end_unread<I: Io>(net: &Net<I>, open: &[Rc<Open>], now: Duration, is_stuck: bool) {
    let bytes_max = net.unsent.bytes_max() / 2;
    // Which shard's connections hold a store's records is not known: each looks to its part of all.
    let lingering_bytes = net.limits.lingering_bytes.load(Relaxed) / net.limits.shard_count;
    let mut held_bytes = net.unsent.held_bytes() + lingering_bytes;
    if held_bytes <= bytes_max && !is_stuck {
        return;
    }
    let mut unread: Vec<_> = open
        .iter()
        .filter(|connection| connection.unsent_bytes.get() > 0 && connection.still_for(now) >= UNREAD_AFTER)
        .collect();
    unread.sort_by_key(|connection| std::cmp::Reverse(connection.unsent_bytes.get()));
    for connection in unread {
        if held_bytes <= bytes_max && !is_stuck {
            break;
        }
        held_bytes = held_bytes.saturating_sub(connection.unsent_bytes.get());
        end(
            net,
            connection,
            "it takes no answers, and the memory for answers or for further requests is used up",
        );
    }
}
