//! Whose partitions a connection uses: how much each shard had to do with it lately. The connection moves to the
//! shard that has most of it.

use std::cell::RefCell;
use std::rc::Rc;

/// What a partition's part of a request counts beside its bytes: the work there is for an empty one, too.
const PART_WEIGHT: u64 = 4096;
/// Weight that has to gather before a connection moves: a megabyte, or some hundred small requests.
const DECISIVE_WEIGHT: u64 = 1 << 20;

/// The traffic of one connection. Clones are of the same one; lives on one shard's thread.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    by_shard: Rc<RefCell<Vec<u64>>>,
}

impl Traffic {
    /// A partition of that shard was read from or written to.
    pub fn add(&self, shard: usize, bytes: usize) {
        let mut by_shard = self.by_shard.borrow_mut();
        if by_shard.len() <= shard {
            by_shard.resize(shard + 1, 0);
        }
        if let Some(weight) = by_shard.get_mut(shard) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            *weight = weight.saturating_add(bytes).saturating_add(PART_WEIGHT);
        }
    }

    /// The shard to which a connection of shard `me` should move: the one with three quarters of the traffic. Once
    /// enough has gathered to say, what is known counts half from then on.
    pub fn better_than(&self, me: usize) -> Option<usize> {
        let mut by_shard = self.by_shard.borrow_mut();
        let sum: u64 = by_shard.iter().copied().fold(0, u64::saturating_add);
        if sum < DECISIVE_WEIGHT {
            return None;
        }
        let most = by_shard.iter().position(|weight| *weight >= sum / 4 * 3);
        by_shard.iter_mut().for_each(|weight| *weight /= 2);
        most.filter(|shard| *shard != me)
    }
}

#[cfg(test)]
mod tests {
    use super::{DECISIVE_WEIGHT, Traffic};

    #[test]
    fn a_connection_moves_to_the_shard_with_most_of_its_traffic() {
        let megabyte = usize::try_from(DECISIVE_WEIGHT).unwrap();
        let traffic = Traffic::default();
        assert_eq!(traffic.better_than(0), None);
        traffic.add(1, megabyte);
        traffic.add(0, 10);
        assert_eq!(traffic.clone().better_than(0), Some(1));
        traffic.add(1, megabyte);
        assert_eq!(traffic.better_than(1), None);
        traffic.add(0, megabyte);
        traffic.add(2, megabyte);
        assert_eq!(traffic.better_than(1), None, "no shard has three quarters");
    }
}
