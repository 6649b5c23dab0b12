//! Who hears that a log moved: futures that wait once, and watchers that stay.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use event_listener::{Event, EventListener};

/// Hears of every move of the logs it watches, on their shard's thread, within the call that moves them.
pub trait Watcher {
    /// The log's durable offset, high watermark, start or state moved.
    fn moved(&self);
}

/// The listeners of one log.
#[derive(Default)]
pub(crate) struct Changes {
    event: Event,
    watchers: RefCell<Vec<Weak<dyn Watcher>>>,
}

impl Changes {
    /// Tells everyone.
    pub(crate) fn notify(&self, listeners: usize) {
        self.event.notify(listeners);
        let mut gone = false;
        for watcher in self.watchers.borrow().iter() {
            match watcher.upgrade() {
                Some(watcher) => watcher.moved(),
                None => gone = true,
            }
        }
        if gone {
            self.watchers.borrow_mut().retain(|watcher| watcher.strong_count() > 0);
        }
    }

    /// Fires at the next move.
    pub(crate) fn listen(&self) -> EventListener {
        self.event.listen()
    }

    /// Tells the watcher of every move for as long as it lives.
    pub(crate) fn watch(&self, watcher: &Rc<impl Watcher + 'static>) {
        let mut watchers = self.watchers.borrow_mut();
        if watchers.len() == watchers.capacity() {
            watchers.retain(|watcher| watcher.strong_count() > 0);
        }
        let weak: Weak<dyn Watcher> = Rc::<_>::downgrade(watcher) as Weak<dyn Watcher>;
        watchers.push(weak);
    }
}

#[cfg(test)]
mod tests {
    use super::{Changes, Watcher};
    use std::cell::Cell;
    use std::rc::Rc;

    #[derive(Default)]
    struct Count(Cell<u32>);

    impl Watcher for Count {
        fn moved(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_watcher_hears_every_move_and_a_dropped_one_is_forgotten() {
        let changes = Changes::default();
        let (stays, goes) = (Rc::new(Count::default()), Rc::new(Count::default()));
        changes.watch(&stays);
        changes.watch(&goes);
        changes.notify(usize::MAX);
        drop(goes);
        changes.notify(usize::MAX);
        assert_eq!(stays.0.get(), 2);
        assert_eq!(changes.watchers.borrow().len(), 1);
    }
}
