//! A request that names very many things is worked on in turns, so that the shard's other connections are answered
//! in between. Handlers count what they have done; Produce does not, since what it appends is queued in
//! one go: what it may name is bounded instead.

use std::future::poll_fn;
use std::task::Poll;

/// Entries of a request that are worked on at a stretch: a fraction of a millisecond, and more than ordinary requests
/// name.
const ENTRIES_A_TURN: u32 = 256;

/// How much one handler has done.
#[derive(Debug, Default)]
pub(super) struct Turns {
    entries: u32,
}

impl Turns {
    /// One entry is done: the others' turn, if it was the last of a stretch.
    pub(super) async fn entry_done(&mut self) {
        self.entries += 1;
        if self.entries == ENTRIES_A_TURN {
            self.entries = 0;
            let mut waited = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn others_get_their_turn_after_so_many_entries() {
        let mut work = std::pin::pin!(async {
            let mut turns = Turns::default();
            for _ in 0..1000 {
                turns.entry_done().await;
            }
        });
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1000 / ENTRIES_A_TURN {
            assert!(work.as_mut().poll(&mut cx).is_pending());
        }
        assert!(work.as_mut().poll(&mut cx).is_ready());
    }
}
