//! The bytes of one simulated file: what a reader sees now, what is certain to be there after a power cut,
//! and the changes in between, each of which a cut may keep, lose or tear.
//!
//! A change that is complete is not certain: a sync, or a durable write, makes it so. After a failed sync
//! what it covered never becomes certain any more, as the kernel forgets such pages.

use std::collections::VecDeque;

use super::random::Random;
use crate::types::TimestampMs;

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Names one change of one run.
pub(super) type ChangeNumber = u64;

/// How a power cut treats what is uncertain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    /// All of it is lost.
    Loses,
    /// All of it is there.
    Keeps,
    /// Each is kept, lost or torn for itself.
    Mixes,
}

impl Mood {
    /// Whether one uncertain change of a name, a length or a link survives.
    pub(super) fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::Loses => false,
            Self::Keeps => true,
            Self::Mixes => random.one_in(2),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Given to the device, which has not answered.
    InFlight,
    /// Visible to readers; a sync makes it certain.
    Complete,
    /// Survives every power cut.
    Certain,
    /// It, or the sync that covered it, failed: it may or may not be there, and no sync helps.
    Doomed,
}

#[derive(Clone, Debug)]
struct Effect {
    number: ChangeNumber,
    change: Change,
    state: State,
}

/// Live and durable bytes of one file.
#[derive(Clone, Default, Debug)]
pub(super) struct Content {
    live: Vec<u8>,
    base: Vec<u8>,
    effects: VecDeque<Effect>,
    /// Blocks reach up to here.
    allocated: usize,
    /// When it was last written.
    pub(super) modified: TimestampMs,
}

impl Content {
    /// A file that holds `bytes` for certain.
    pub(super) fn certain(bytes: Vec<u8>, modified: TimestampMs) -> Self {
        let allocated = bytes.len();
        Self { live: bytes.clone(), base: bytes, effects: VecDeque::new(), allocated, modified }
    }

    /// What a reader sees now.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// Up to where it has blocks.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }

    /// Gives it blocks up to `end`.
    pub(super) fn allocate(&mut self, end: usize) {
        self.allocated = end.max(self.allocated);
    }

    /// A write is given to the device.
    pub(super) fn begin_write(&mut self, number: ChangeNumber, position: usize, bytes: Vec<u8>) {
        let change = Change::Write { position, bytes };
        self.effects.push_back(Effect { number, change, state: State::InFlight });
    }

    /// The device has the write; with `durable` on stable media.
    pub(super) fn complete_write(&mut self, number: ChangeNumber, durable: bool) {
        let Some(index) = self.effects.iter().position(|effect| effect.number == number) else { return };
        let Some(mut effect) = self.effects.remove(index) else { return };
        apply(&mut self.live, &effect.change);
        effect.state = if durable { State::Certain } else { State::Complete };
        // Of two writes to one place the one that completed last wins.
        self.effects.push_back(effect);
        self.fold();
    }

    /// The length is set; uncertain until a sync.
    pub(super) fn truncate(&mut self, number: ChangeNumber, size: usize) {
        let change = Change::Truncate { size };
        apply(&mut self.live, &change);
        self.allocated = size;
        self.effects.push_back(Effect { number, change, state: State::Complete });
    }

    /// What a sync that begins now covers.
    pub(super) fn complete(&self) -> Vec<ChangeNumber> {
        self.effects
            .iter()
            .filter(|effect| effect.state == State::Complete)
            .map(|effect| effect.number)
            .collect()
    }

    /// A sync that covered these has returned.
    pub(super) fn make_certain(&mut self, numbers: &[ChangeNumber]) {
        self.move_to(numbers, State::Complete, State::Certain);
        self.fold();
    }

    /// A write or a sync that covered these has failed.
    pub(super) fn doom(&mut self, numbers: &[ChangeNumber]) {
        self.move_to(numbers, State::Complete, State::Doomed);
        self.move_to(numbers, State::InFlight, State::Doomed);
    }

    /// The process that wrote is gone: what was in flight lands whole or not at all, and nothing is any more
    /// certain than before.
    pub(super) fn abandon(&mut self, random: &mut Random) {
        let in_flight = self.effects.iter().filter(|effect| effect.state == State::InFlight);
        for number in in_flight.map(|effect| effect.number).collect::<Vec<_>>() {
            if random.one_in(2) {
                self.complete_write(number, false);
            } else {
                self.effects.retain(|effect| effect.number != number);
            }
        }
    }

    /// Changes one bit of what is live and certain, as a rotting medium does.
    pub(super) fn flip_bit(&mut self, position: usize) {
        for bytes in [&mut self.live, &mut self.base] {
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= 1;
            }
        }
    }

    /// The bytes as a power cut may leave them.
    pub(super) fn crashed(&self, mood: Mood, random: &mut Random) -> Vec<u8> {
        let mut content = self.base.clone();
        for effect in &self.effects {
            match (effect.state, mood, &effect.change) {
                (State::Certain, _, change) | (_, Mood::Keeps, change) => apply(&mut content, change),
                (_, Mood::Loses, _) => {}
                (_, Mood::Mixes, Change::Truncate { .. }) => {
                    if random.one_in(2) {
                        apply(&mut content, &effect.change);
                    }
                }
                (_, Mood::Mixes, Change::Write { position, bytes }) => {
                    apply_torn(&mut content, *position, bytes, random);
                }
            }
        }
        content
    }

    fn move_to(&mut self, numbers: &[ChangeNumber], from: State, to: State) {
        for effect in &mut self.effects {
            if effect.state == from && numbers.contains(&effect.number) {
                effect.state = to;
            }
        }
    }

    fn fold(&mut self) {
        while self.effects.front().is_some_and(|effect| effect.state == State::Certain) {
            if let Some(effect) = self.effects.pop_front() {
                apply(&mut self.base, &effect.change);
            }
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate { size } => content.resize(*size, 0),
        Change::Write { position, bytes } => {
            let end = position + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*position..end].copy_from_slice(bytes);
        }
    }
}

/// Writes some sectors and perhaps not the length that makes them visible.
fn apply_torn(content: &mut Vec<u8>, position: usize, bytes: &[u8], random: &mut Random) {
    let end = position + bytes.len();
    let length_landed = random.one_in(2);
    if length_landed && content.len() < end {
        content.resize(end, 0);
    }
    let sectors = bytes.len().div_ceil(SECTOR_BYTES);
    let shape = random.below(4);
    let prefix = random.index(sectors + 1);
    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
        let landed = match shape {
            0 => false,
            1 => true,
            2 => index < prefix,
            _ => random.one_in(2),
        };
        let start = position + index * SECTOR_BYTES;
        if landed && let Some(place) = content.get_mut(start..start + sector.len()) {
            place.copy_from_slice(sector);
        }
    }
}
