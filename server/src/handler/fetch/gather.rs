//! Collects what a fetch gets from the shards that own its partitions, and waits until it is enough.
//!
//! Each shard answers when it has its share of `min_bytes`; the first to do so hurries the others, which then
//! answer with what they have. If all of it together is too little and there is time left, it begins again: reads
//! change nothing. What is still missing is shared anew then, beside what each has already, so that nobody answers
//! before something came: the rounds of a fetch are few, however long it waits.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{FutureExt, LocalBoxFuture, join_all, select, select_all};
use ringmain_storage::io::Io;

use super::super::Broker;
use crate::partition::watch::{FetchLimits, Given, Got, WatchChanges};

/// A fetch as its partitions' shards see it.
pub(super) struct Gathering {
    /// Under which number shards keep its watches between fetches; `None` keeps nothing.
    pub(super) watch: Option<i32>,
    /// What changes, by shard.
    pub(super) changes: Vec<WatchChanges>,
    /// Which shards have partitions of it.
    pub(super) owners: Vec<usize>,
    /// What it asks for.
    pub(super) limits: FetchLimits,
    /// How long it may wait.
    pub(super) wait_max: Duration,
    /// The slot that is served first if there is more than may be given.
    pub(super) first: u32,
}

impl<I: Io> Broker<I> {
    /// This shard's part of a fetch: until enough is there, `wait` has passed, or `hurry` fires or is dropped.
    async fn fetch_here(
        &self,
        number: Option<i32>,
        changes: WatchChanges,
        limits: FetchLimits,
        (wait, hurry): (Duration, oneshot::Receiver<()>),
    ) -> Vec<Got> {
        let kept = number.and_then(|number| self.watches.borrow_mut().insert(number, None));
        let mut watch = kept.flatten().unwrap_or_default();
        watch.change(changes, &self.partitions);
        let deadline = async {
            if !wait.is_zero() {
                select(std::pin::pin!(self.io().sleep(wait)), hurry).await;
            }
        };
        let got = watch.fetch(limits, self.purgatory().end_of_wait(deadline)).await;
        // A session that ended meanwhile has no place for it any more.
        if let Some(number) = number
            && let Some(place) = self.watches.borrow_mut().get_mut(&number)
        {
            *place = Some(watch);
        }
        got
    }

    /// Lets all shards forget a session's watches.
    pub(super) fn forget_watches(&self, number: i32) {
        self.watches.borrow_mut().remove(&number);
        for shard in (0..self.router().shard_count()).filter(|shard| *shard != self.router().me()) {
            drop(self.router().send(shard, async move |broker| {
                broker.watches.borrow_mut().remove(&number);
            }));
        }
    }
}

/// Everything that was looked at, by slot, and which slot the next fetch shall serve first.
pub(super) async fn gather<I: Io>(broker: &Broker<I>, gathering: Gathering) -> (BTreeMap<u32, Got>, u32) {
    let Gathering { watch, mut changes, owners, limits, wait_max, first } = gathering;
    let mut all = BTreeMap::new();
    if owners.is_empty() {
        return (all, first);
    }
    let started = broker.io().now();
    // What each owner gave in the round before.
    let mut given = vec![0; owners.len()];
    loop {
        let wait = wait_max.saturating_sub(broker.io().now().saturating_sub(started));
        let shares = shares(limits, &given);
        let asked = if watch.is_some() {
            changes.iter_mut().map(std::mem::take).collect()
        } else if owners.len() == 1 {
            // Nothing begins again: one shard's share is the whole.
            std::mem::take(&mut changes)
        } else {
            changes.clone()
        };
        let got = one_round(broker, watch, asked, (&owners, &shares, wait)).await;
        given = got.iter().map(|got| got.iter().map(Got::bytes).sum()).collect();
        all.extend(got.into_iter().flatten().map(|got| (got.slot, got)));
        // A shard that has given all it may can only wait for the others, and its readers should not.
        let is_full = given.iter().zip(&shares).any(|(bytes, share)| *bytes >= share.bytes_max);
        let bytes: usize = all.values().map(Got::bytes).sum();
        if owners.len() == 1
            || is_full
            || bytes >= limits.bytes_min
            || wait.is_zero()
            || all.values().any(Got::is_urgent)
            || broker.purgatory().is_stopping()
        {
            break;
        }
    }
    let next = if owners.len() > 1 { trim(&mut all, limits.bytes_max, first) } else { None };
    (all, next.unwrap_or(first))
}

/// What each owner is asked for that gave so much in the round before. Even shares: within its own each shard lets its
/// partitions take turns. Of what is missing, too, so that a shard that gave something does not answer again before
/// there is more of it.
fn shares(limits: FetchLimits, given: &[usize]) -> Vec<FetchLimits> {
    let missing = limits.bytes_min.saturating_sub(given.iter().sum()).div_ceil(given.len());
    let bytes_max = limits.bytes_max.div_ceil(given.len());
    given.iter().map(|bytes| FetchLimits { bytes_min: bytes + missing, bytes_max, ..limits }).collect()
}

/// Asks every owner once; each gives its part, in the order of the owners.
async fn one_round<I: Io>(
    broker: &Broker<I>,
    watch: Option<i32>,
    mut changes: Vec<WatchChanges>,
    (owners, shares, wait): (&[usize], &[FetchLimits], Duration),
) -> Vec<Vec<Got>> {
    let mut hurrying = Vec::new();
    let mut parts: Vec<LocalBoxFuture<'_, (usize, Vec<Got>)>> = Vec::new();
    for (at, (&shard, &share)) in owners.iter().zip(shares).enumerate() {
        let changes = changes.get_mut(shard).map(std::mem::take).unwrap_or_default();
        let (hurry, hurried) = oneshot::channel();
        hurrying.push(hurry);
        let until = (wait, hurried);
        if shard == broker.router().me() {
            let part = broker.fetch_here(watch, changes, share, until);
            parts.push(part.map(move |got| (at, got)).boxed_local());
        } else {
            let sent = broker.router().send(shard, async move |broker: std::rc::Rc<Broker<I>>| {
                broker.fetch_here(watch, changes, share, until).await
            });
            // A shard that has ended gives nothing: the broker stops.
            parts.push(sent.map(move |got| (at, got.unwrap_or_default())).boxed_local());
        }
    }
    let (first, _, others) = select_all(parts).await;
    drop(hurrying);
    let mut got = vec![Vec::new(); owners.len()];
    for (at, part) in std::iter::once(first).chain(join_all(others).await) {
        if let Some(place) = got.get_mut(at) {
            *place = part;
        }
    }
    got
}

/// Several shards, whose first batches may each be larger than their share, may give too much together: that is left
/// for the next fetch. The first batches stay, whatever the limit (KIP-74). Slots are served from `first` on and round;
/// the first that has to wait is given back, whose turn it is then.
fn trim(all: &mut BTreeMap<u32, Got>, bytes_max: usize, first: u32) -> Option<u32> {
    let (mut bytes, mut next) = (0, None);
    let order: Vec<u32> = all.range(first..).chain(all.range(..first)).map(|(slot, _)| *slot).collect();
    for slot in order {
        let Some(got) = all.get_mut(&slot) else { continue };
        let more = got.bytes();
        if bytes > 0 && more > 0 && bytes + more > bytes_max {
            got.given = Given::Batches { slices: Vec::new(), bytes: 0, aborted: Vec::new() };
            next = next.or(Some(slot));
        } else {
            bytes += more;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, FetchLimits, Given, Got, shares, trim};
    use ringmain_storage::types::LeaderEpoch;

    #[test]
    fn the_first_batches_stay_and_what_is_too_much_goes() {
        let got = |slot, bytes| {
            let given = Given::Batches { slices: Vec::new(), bytes, aborted: Vec::new() };
            (slot, Got { slot, offsets: None, leader_epoch: LeaderEpoch(0), given })
        };
        let trimmed = |mut all: BTreeMap<u32, Got>, first| {
            let next = trim(&mut all, 100, first);
            (all.values().map(Got::bytes).collect::<Vec<_>>(), next)
        };
        let all = || BTreeMap::from([got(0, 0), got(1, 500), got(2, 10), got(3, 0)]);
        assert_eq!(trimmed(all(), 0), (vec![0, 500, 0, 0], Some(2)));
        assert_eq!(trimmed(all(), 2), (vec![0, 0, 10, 0], Some(1)), "the one that had to wait is first");
        assert_eq!(trimmed([got(0, 60), got(1, 50), got(2, 40)].into(), 0), (vec![60, 0, 40], Some(1)));
        assert_eq!(trimmed([got(0, 60), got(1, 40)].into(), 1), (vec![60, 40], None));
    }

    #[test]
    fn a_shard_whose_part_is_too_little_is_asked_for_more_than_it_gave() {
        let limits = FetchLimits { bytes_max: 10_000, bytes_min: 1000, committed_only: false };
        let least = |given: &[usize]| {
            let shares = shares(limits, given).into_iter();
            shares.map(|share| share.bytes_min).collect::<Vec<_>>()
        };
        assert_eq!(least(&[0, 0, 0, 0]), [250, 250, 250, 250]);
        // At once it could only say the same again, and would be asked again, and again.
        assert_eq!(least(&[600, 0, 0, 0]), [700, 100, 100, 100]);
        assert_eq!(least(&[600, 100, 100, 199]), [601, 101, 101, 200]);
        assert_eq!(shares(limits, &[0; 4])[0].bytes_max, 2500);
    }
}
