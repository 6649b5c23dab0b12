//! How much memory peers may make a shard hold. Two rooms a shard: one for what was received and is not handled,
//! one for answers that wait for a peer to take them.
//!
//! Only bytes that are there count, never a length that was announced. A full room is not read into: sockets stay
//! unread until something is handled. One connection at a time may go on beyond the limit to finish its request,
//! so a room full of unfinished requests cannot lock up: the most a room holds is its limit, one read, and one
//! request. The last quarter is for connections that hold little, so that ordinary clients get through while a few
//! large ones fill the rest. Lives on one shard's thread; each shard has its part of what the process may hold.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use event_listener::{Event, EventListener};
use futures::FutureExt as _;

/// A connection that holds at most so much may use the last quarter of a room.
pub(super) const LITTLE_BYTES: usize = 64 << 10;

/// One shard's room.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    held_bytes: Cell<usize>,
    /// What connections hold of it that hold more than a little.
    large_bytes: Cell<usize>,
    /// All bytes ever given back by connections that held more than a little: whether something moves. Those in the last
    /// quarter always do.
    freed_bytes: Cell<u64>,
    /// The connection that may finish its request beyond the limit, and what it has taken in since then.
    finishing: Cell<Option<(u64, usize)>>,
    freed: Event,
}

impl Room {
    /// An empty room for so many bytes.
    pub(super) fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            bytes_max,
            held_bytes: Cell::new(0),
            large_bytes: Cell::new(0),
            freed_bytes: Cell::new(0),
            finishing: Cell::new(None),
            freed: Event::new(),
        })
    }

    /// The limit.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is held now.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }

    /// Whether it is short, and mostly because of connections that hold more than a little: the others come and go.
    pub(super) fn is_short_of_large(&self) -> bool {
        self.is_short() && self.large_bytes.get() >= self.held_bytes.get() / 2
    }

    /// All bytes ever given back by connections that held more than a little.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed_bytes.get()
    }

    /// Whether only connections that hold little may take more in.
    pub(super) fn is_short(&self) -> bool {
        self.held_bytes.get() >= self.bytes_max / 4 * 3
    }

    /// Whether nobody may take more in but the one that goes beyond the limit. What that one holds beyond leaves
    /// the others their quarter.
    fn is_full(&self) -> bool {
        let beyond_bytes = self.finishing.get().map_or(0, |(_, bytes)| bytes);
        self.held_bytes.get().saturating_sub(beyond_bytes) >= self.bytes_max
    }

    fn add(&self, connection: u64, bytes: usize) {
        self.held_bytes.set(self.held_bytes.get() + bytes);
        if let Some((finishing, beyond_bytes)) = self.finishing.get()
            && finishing == connection
        {
            self.finishing.set(Some((finishing, beyond_bytes + bytes)));
        }
    }

    /// A connection holds so much now instead of so much.
    fn weigh(&self, before: usize, now: usize) {
        let large = |bytes| if bytes > LITTLE_BYTES { bytes } else { 0 };
        self.large_bytes.set(self.large_bytes.get() + large(now) - large(before));
    }

    /// Takes `bytes` back from a connection that held `of_bytes`.
    fn remove(&self, bytes: usize, of_bytes: usize) {
        let was_short = self.is_short();
        self.held_bytes.set(self.held_bytes.get() - bytes);
        if of_bytes > LITTLE_BYTES {
            self.freed_bytes.set(self.freed_bytes.get().wrapping_add(bytes as u64));
        }
        if was_short {
            self.freed.notify(usize::MAX);
        }
    }
}

/// What one connection holds of a room; dropping it gives all of that back.
#[derive(Debug)]
pub(super) struct Account {
    room: Rc<Room>,
    connection: u64,
    bytes: usize,
    wait: Option<EventListener>,
}

impl Account {
    /// An account of the connection with this number, with nothing in it.
    pub(super) fn new(room: &Rc<Room>, connection: u64) -> Self {
        Self { room: Rc::clone(room), connection, bytes: 0, wait: None }
    }

    /// What the connection holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts bytes that are here now, whether there is room or not.
    pub(super) fn add(&mut self, bytes: usize) {
        self.room.weigh(self.bytes, self.bytes + bytes);
        self.bytes += bytes;
        self.room.add(self.connection, bytes);
    }

    /// Counts bytes that are no longer held.
    pub(super) fn remove(&mut self, bytes: usize) {
        self.room.weigh(self.bytes, self.bytes - bytes);
        self.room.remove(bytes, self.bytes);
        self.bytes -= bytes;
    }

    /// Whether the connection may take more in now. One with an unfinished request may if no other goes on beyond
    /// the limit already; that right stays with it until [`finished`](Self::finished).
    pub(super) fn may_take(&self, unfinished: bool) -> bool {
        if !self.room.is_short() || (self.bytes <= LITTLE_BYTES && !self.room.is_full()) {
            return true;
        }
        match self.room.finishing.get() {
            None if unfinished => {
                self.room.finishing.set(Some((self.connection, 0)));
                true
            }
            finishing => finishing.is_some_and(|(connection, _)| connection == self.connection),
        }
    }

    /// Whether the room is not even short: for what can wait, and must not take the last quarter from others.
    pub(super) fn has_plenty(&self) -> bool {
        !self.room.is_short()
    }

    /// Ready when [`may_take`](Self::may_take) says so.
    pub(super) fn poll_may_take(&mut self, cx: &mut Context<'_>, unfinished: bool) -> Poll<()> {
        self.poll_until(cx, |account| account.may_take(unfinished))
    }

    /// Ready when [`has_plenty`](Self::has_plenty) says so.
    pub(super) fn poll_has_plenty(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(cx, Self::has_plenty)
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, holds: impl Fn(&Self) -> bool) -> Poll<()> {
        loop {
            if holds(self) {
                self.wait = None;
                return Poll::Ready(());
            }
            let wait = self.wait.get_or_insert_with(|| self.room.freed.listen());
            match wait.poll_unpin(cx) {
                Poll::Ready(()) => self.wait = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The connection has no unfinished request any more: another one may go on beyond the limit.
    pub(super) fn finished(&self) {
        if self.room.finishing.get().is_some_and(|(connection, _)| connection == self.connection) {
            self.room.finishing.set(None);
            self.room.freed.notify(usize::MAX);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.finished();
        self.room.weigh(self.bytes, 0);
        self.room.remove(self.bytes, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn accounts<const N: usize>(room: &Rc<Room>) -> [Account; N] {
        std::array::from_fn(|number| Account::new(room, number as u64))
    }

    #[test]
    fn a_full_room_opens_when_bytes_are_given_back() {
        let room = Room::new(1000 * KIB);
        let [mut first, second] = accounts(&room);
        first.add(600 * KIB);
        assert!(first.may_take(false) && second.may_take(false));
        first.add(600 * KIB);
        assert!(!first.may_take(false) && !second.may_take(false));
        first.remove(300 * KIB);
        assert!(second.may_take(false), "{room:?}");
        drop(first);
        assert_eq!((room.held_bytes(), room.freed_bytes()), (0, 1200 << 10));
    }

    #[test]
    fn the_last_quarter_is_for_connections_that_hold_little() {
        let room = Room::new(1000 * KIB);
        let [mut large, mut small] = accounts(&room);
        large.add(800 * KIB);
        small.add(60 * KIB);
        assert!(!large.may_take(false));
        assert!(small.may_take(false));
        small.add(60 * KIB);
        assert!(!small.may_take(false), "it holds more than a little now");
    }

    #[test]
    fn one_unfinished_request_at_a_time_goes_on_beyond_the_limit() {
        let room = Room::new(300 * KIB);
        let [mut first, mut second, mut third] = accounts(&room);
        [&mut first, &mut second, &mut third].into_iter().for_each(|account| account.add(100 * KIB));
        assert!(!first.may_take(false), "a new request waits");
        assert!(first.may_take(true));
        assert!(!second.may_take(true) && !third.may_take(true));
        assert!(first.may_take(true), "it may until it has finished");
        first.finished();
        second.add(100 * KIB);
        assert!(second.may_take(true));
        drop(second);
        third.add(100 * KIB);
        assert!(third.may_take(true), "a connection that ends hands the right on");
    }

    #[test]
    fn who_goes_beyond_the_limit_leaves_the_last_quarter_to_the_others() {
        let room = Room::new(1000 * KIB);
        let [mut large, mut small] = accounts(&room);
        large.add(750 * KIB);
        assert!(large.may_take(true));
        large.add(2000 * KIB);
        assert!(small.may_take(false), "{room:?}");
        small.add(260 * KIB);
        assert!(room.is_full() && !small.may_take(true));
    }

    #[test]
    fn small_connections_neither_make_a_room_stuck_nor_hide_that_it_is() {
        let room = Room::new(1000 * KIB);
        let mut small = accounts::<16>(&room);
        small.iter_mut().for_each(|account| account.add(60 * KIB));
        assert!(room.is_short() && !room.is_short_of_large());
        small.iter_mut().for_each(|account| account.remove(60 * KIB));
        assert_eq!(room.freed_bytes(), 0, "they come and go whatever the large ones do");
        let [mut large] = accounts(&room);
        large.add(40 * KIB);
        large.add(760 * KIB);
        assert!(room.is_short_of_large());
        large.remove(750 * KIB);
        assert_eq!((room.freed_bytes(), room.large_bytes.get()), (750 << 10, 0));
    }

    #[test]
    fn whoever_waits_for_room_is_woken_when_there_is_some() {
        let room = Room::new(100);
        let [mut holder, mut waiter] = accounts(&room);
        holder.add(100);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(waiter.poll_may_take(&mut cx, false).is_pending());
        holder.remove(1);
        assert!(waiter.poll_may_take(&mut cx, false).is_ready());
        holder.add(1);
        assert!(waiter.poll_may_take(&mut cx, false).is_pending());
        drop(holder);
        assert!(waiter.poll_may_take(&mut cx, false).is_ready());
    }
}
