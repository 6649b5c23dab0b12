//! Random values for tests. Edges come often: empty, null, the extremes of integers, text of several bytes
//! per character, lengths on both sides of one-byte varints and of the size that is no longer copied.

use bytes::Bytes;

use crate::wire::{Records, Str, Uuid};

/// A type of which random values can be made that are writable in a given version.
pub trait Sample {
    /// A random value.
    fn sample(sampler: &mut Sampler, version: i16) -> Self;
}

/// A source of randomness: `SplitMix64`, so that a seed gives the same values everywhere.
#[derive(Clone, Debug)]
pub struct Sampler {
    state: u64,
}

impl Sampler {
    /// A source that gives the same values for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u16) -> u16 {
        u16::try_from(self.bits() % u64::from(end)).unwrap_or(0)
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// A random value of any type.
    pub fn value<T: Sample>(&mut self, version: i16) -> T {
        T::sample(self, version)
    }

    /// A random value, or none where that is allowed.
    pub fn nullable<T: Sample>(&mut self, allowed: bool, version: i16) -> Option<T> {
        (!allowed || self.coin()).then(|| self.value(version))
    }

    /// Random record bytes, or null where that is allowed.
    pub fn nullable_records(&mut self, allowed: bool, version: i16) -> Records {
        self.nullable::<Bytes>(allowed, version).map_or(Records::Null, Records::Bytes)
    }

    fn length(&mut self) -> u16 {
        match self.below(12) {
            0..=2 => 0,
            3..=8 => self.below(20),
            9 | 10 => 120 + self.below(20),
            _ => 1000 + self.below(50),
        }
    }
}

impl Sample for bool {
    fn sample(sampler: &mut Sampler, _version: i16) -> Self {
        sampler.coin()
    }
}

impl Sample for f64 {
    fn sample(sampler: &mut Sampler, _version: i16) -> Self {
        f64::from(i32::sample(sampler, 0)) / 8.0
    }
}

macro_rules! sample_integers {
    ($($integer:ty),*) => {
        $(impl Sample for $integer {
            fn sample(sampler: &mut Sampler, _version: i16) -> Self {
                let [.., last] = sampler.bits().to_be_bytes();
                match sampler.below(6) {
                    0 => 0,
                    1 => (0 as $integer).wrapping_sub(1),
                    2 => <$integer>::MIN,
                    3 => <$integer>::MAX,
                    4 => <$integer>::try_from(last & 0x7f).unwrap_or(0),
                    _ => {
                        let bytes = sampler.bits().to_be_bytes();
                        bytes.first_chunk().map_or(0, |chunk| <$integer>::from_be_bytes(*chunk))
                    }
                }
            }
        })*
    };
}
sample_integers!(i8, i16, u16, i32, u32, i64);

impl Sample for Uuid {
    fn sample(sampler: &mut Sampler, _version: i16) -> Self {
        match sampler.below(4) {
            0 => Self::ZERO,
            1 => Self::METADATA_TOPIC_ID,
            _ => Self::from_u128((u128::from(sampler.bits()) << 64) | u128::from(sampler.bits())),
        }
    }
}

impl Sample for Str {
    fn sample(sampler: &mut Sampler, _version: i16) -> Self {
        const LETTERS: [char; 8] = ['a', 'Z', '0', '-', '.', 'ß', '中', '🦀'];
        let letters = sampler.length();
        let text: String = (0..letters)
            .map(|_| LETTERS.get(usize::from(sampler.below(8))).copied().unwrap_or('a'))
            .collect();
        Self::from(text)
    }
}

impl Sample for Bytes {
    fn sample(sampler: &mut Sampler, _version: i16) -> Self {
        (0..sampler.length()).map(|_| u8::try_from(sampler.below(256)).unwrap_or(0)).collect()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(sampler: &mut Sampler, version: i16) -> Self {
        (0..sampler.below(4)).map(|_| sampler.value(version)).collect()
    }
}
